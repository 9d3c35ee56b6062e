"""One fine-tune at a time on a machine, whoever starts it and in whatever environment."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.learning import locks
from engine.learning.locks import held, machine_lock, taken
from engine.learning.settings import LearningSettings
from storage.errors import StorageError

_WHERE = "from engine.learning import locks, settings; print(locks.machine_lock(settings.LearningSettings.load()))"
_HOLDS = """
import os, sys
from pathlib import Path
from engine.learning.locks import taken
os.umask(0o077)
with taken(Path(sys.argv[1]), wait=lambda: False) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def common(tmp_path: Path) -> Path:
    """A directory as /tmp is."""
    directory = tmp_path / "common"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def now(path: Path) -> bool:
    """Whether it can be had at once."""
    with taken(path, wait=lambda: False) as mine:
        return mine


def test_users_with_temporary_directories_of_their_own_wait_for_one_another(tmp_path: Path) -> None:
    found = set()
    for name in ("ana", "tomas"):
        (tmp_path / name).mkdir()
        given = {key: value for key, value in os.environ.items() if key != "TRAIN_LOCK"}
        given |= {"TMPDIR": str(tmp_path / name), "HOME": str(tmp_path / name), "XDG_RUNTIME_DIR": str(tmp_path / name)}
        done = subprocess.run([sys.executable, "-c", _WHERE], env=given, capture_output=True, text=True, check=True)
        found.add(done.stdout.strip())
    (path,) = found
    mode = Path(path).parent.stat().st_mode
    assert mode & stat.S_ISVTX and mode & stat.S_IWOTH
    assert machine_lock(LearningSettings(train_lock=tmp_path / "own")) == tmp_path / "own"


def test_the_common_place_is_one_in_which_nobody_can_remove_anothers_lock(tmp_path: Path, common: Path) -> None:
    for name, mode in (("closed", 0o1755), ("open", 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (tmp_path / "file").touch()
    candidates = [tmp_path / name for name in ("none", "closed", "open", "file")]
    assert locks._shared([*candidates, common, tmp_path]) == common
    assert locks._shared(candidates) == candidates[-1]  # and there it is told that it cannot be made


def test_others_can_open_the_lock_of_a_user_who_keeps_files_private_and_it_is_held_while_they_run(common: Path) -> None:
    path = common / "train.lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "True\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert held(path)
        assert not now(path)
        other.stdin.close()
    assert now(path)


def test_a_lock_that_may_not_be_written_can_be_held(common: Path) -> None:
    path = common / "train.lock"
    path.touch()
    path.chmod(0o444)
    assert now(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory"])
def test_what_somebody_else_put_in_its_place_is_refused_untouched_and_at_once(common: Path, kind: str) -> None:
    path, theirs = common / "train.lock", common / "theirs"
    if kind == "link":
        theirs.write_text("precious")
        theirs.chmod(0o600)
    if kind in ("link", "dangling"):
        path.symlink_to(theirs)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StorageError) as told:
        now(path)
    assert told.value.message.startswith(f"The lock file {path} cannot be opened: ")
    assert "TRAIN_LOCK" in told.value.hint
    assert not held(path)
    assert theirs.exists() == (kind == "link")
    if kind == "link":
        assert (theirs.read_text(), stat.S_IMODE(theirs.stat().st_mode)) == ("precious", 0o600)


def test_one_who_waited_for_a_lock_that_was_removed_meanwhile_takes_the_one_that_is_there_now(common: Path) -> None:
    path = common / "train.lock"
    with taken(path, wait=lambda: False) as first:
        assert first

        def wait() -> bool:
            """Whoever cleans up takes the file away, and its holder ends."""
            path.unlink()
            holder.close()
            return True

        holder = path.open("rb")
    fcntl.flock(holder, fcntl.LOCK_EX)
    with taken(path, wait=wait) as mine:
        assert mine
        assert not now(path), "it holds a file that nobody else finds"
