"""A process killed in the middle of `redraft forget`: the command run again ends it, and nothing of the words is left.

A child is the command line itself; it is killed from outside at a random moment, or kills itself at a chosen step.
Right afterwards the rows are all there or all gone, and an adapter in service is still one whole adapter. Then the
command is run again: no column and no file holds the words, others' words are there, the ledger is a whole chain with
one line about one erasure, and nothing names any more whom it was about.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from engine.learning import erasure, erasure_files, ledger
from engine.learning import erasure_journal as journal
from engine.learning.ledger_check import show, verify
from engine.learning.pointers import pointer
from engine.learning.promotion import promote, verify_files
from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.learning_tables import AdapterRow
from storage.settings import StorageSettings
from tests.engine.learning.planting import (
    ACCOUNT,
    IMKE,
    NOW,
    OTHERS,
    SENTENCE,
    columns_with,
    files_with,
    learn,
    plant,
)

FULL_ROUNDS = 20
_ROOT = Path(__file__).resolve().parent.parent.parent
_TRACES = (SENTENCE, ACCOUNT)
#: Conversations beside those that are planted anyhow, so that the file has thousands of pages to write anew.
_MUCH = 120
#: What an erasure is made of. At `commit` the database has not got it yet, at `witness` it has and no file knows;
#: in `sweep` and `rewrite` the kill comes while they are at work, or just after.
_STEPS = (
    "witness", "rewrite", "commit", "sweep", "begin", "blank_log_lines", "remember", "remove", "remove_copies", "end",
)  # fmt: skip
_LONG = ("sweep", "rewrite")


def run(rounds: int, seed: int) -> dict[str, object]:
    """Half of the kills at a random moment, half at a chosen step.

    Raises:
        AssertionError: something did not survive.
    """
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        planted = Path(folder) / "planted"
        adapter = _planted(planted)
        for number in range(rounds):
            home = Path(folder) / f"home-{number}"
            shutil.copytree(planted, home)
            step = "" if number % 2 == 0 else _STEPS[(number // 2) % len(_STEPS)]
            in_time = _kill(home, step, chance)
            killed[f"at_{step}" if step else "at_a_random_moment" if in_time else "too_late"] += 1
            killed[_between(home, adapter)] += 1
            _again(home)
            _gone(home)
            shutil.rmtree(home)
    return {"kills": rounds - killed["too_late"], **killed}


def _planted(home: Path) -> str:
    """A data directory full of the words, with an adapter in service that has learnt from them."""
    with closing(Database.open(StorageSettings(redraft_home=home))) as database:
        plant(database, much=_MUCH)
        adapter = learn(database)
        promote(
            database, database.home, LearningSettings(), adapter_id=adapter, by="local:ana", force=True, reason="x",
            now=NOW,
        )  # fmt: skip
    return adapter


def _start(home: Path, step: str, delay: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.erasure_kill", step, str(delay)],
        cwd=_ROOT,
        env={**os.environ, "REDRAFT_HOME": str(home), "REDRAFT_ENV_FILE": os.devnull, "LOGNAME": "ana"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _kill(home: Path, step: str, chance: random.Random) -> bool:
    """Have a child forget and be killed on the way; whether it was, and had not ended before."""
    with _start(home, step, chance.uniform(0, 0.03)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n", "the child did not begin"
        if not step:
            with suppress(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.1, 0.8))
            child.kill()
        code = child.wait(60)
    if step:
        assert code == -signal.SIGKILL, f"the child was to die at {step} and ended with {code}"
    return code == -signal.SIGKILL


def _between(home: Path, adapter: str) -> str:
    """What whoever comes by before the next try finds; which of the two it is."""
    with closing(Database.open(StorageSettings(redraft_home=home))) as database:
        there = columns_with(database, *_TRACES)
        begun = [line.action for line in show(database, actions=["erasure"]).lines]
        assert bool(there) is not bool(begun), f"half of the rows are gone: {there}"
        assert not there or "messages.text" in there
        with database.read() as session:
            row = session.get(AdapterRow, adapter)
            assert row is not None
            assert pointer(session, "default") == adapter
        verify_files(database.home, row)
        assert not (findings := verify(database).findings), findings[0].sentence
    return "rows_there" if there else "rows_gone"


def _again(home: Path) -> None:
    """The same command, to its end."""
    with _start(home, "", 0.0) as child:
        _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said


def _gone(home: Path) -> None:
    """Everything that has to hold, wherever the first one was killed.

    Raises:
        AssertionError: it does not.
    """
    with closing(Database.open(StorageSettings(redraft_home=home))) as database:
        assert not (left := columns_with(database, *_TRACES)), f"left in {left}"
        assert columns_with(database, OTHERS), "others' words are gone"
        assert journal.pending(database.home) is None
        lines = show(database, actions=["erasure"]).lines
        # One that had ended before it was killed leaves nothing to go on with: the next is an erasure of its own.
        assert len(lines) == len(journal.remembered(database.home)) in (1, 2)
        assert len([line for line in lines if line.details["counts"]]) == 1
        assert not (findings := verify(database).findings), findings[0].sentence
        assert database.check() == ""
    assert not (left := files_with(home, *_TRACES)), f"left in {left}"


# The child ----------------------------------------------------------------------------------------------------------


def _die_at(step: str, delay: float) -> None:
    """Have this process kill itself when a step is done or, where it takes long, while it is at work."""

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            if step in _LONG:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
                real(*args, **given)
                threading.Event().wait()
            if step not in ("commit", "witness"):
                real(*args, **given)
            os.kill(os.getpid(), signal.SIGKILL)

        return call

    if step == "commit":
        from sqlmodel import Session

        Session.commit = dying(Session.commit)  # type: ignore[method-assign]
    elif step == "rewrite":
        Database.rewrite = dying(Database.rewrite)  # type: ignore[method-assign]
    else:
        places = (ledger, journal, erasure_files, erasure)
        place = next(place for place in places if callable(getattr(place, step, None)))
        setattr(place, step, dying(getattr(place, step)))


def main(step: str, delay: str) -> None:
    from admin.cli import main as redraft

    if step:
        _die_at(step, float(delay))
    sys.argv = ["redraft", "forget", "--user", IMKE, "--yes", "--json"]
    print("begun", flush=True)
    redraft()


if __name__ == "__main__":
    main(*sys.argv[1:])
