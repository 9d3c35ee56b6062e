"""Writers take turns: bounded, in an order that starves nobody, free when a holder dies."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.turn import Turns


def turn_to_write(home: Path, wait_s: float, where: str = "the database") -> AbstractContextManager[None]:
    """A turn as another process would take it: nothing is shared but the files."""
    return Turns(home, wait_s, where).take()


def test_a_turn_that_does_not_come_is_told_in_time(tmp_path: Path) -> None:
    with (
        turn_to_write(tmp_path, 5, "the database"),
        pytest.raises(StorageError, match="The database is being written by another process for too long"),
        turn_to_write(tmp_path, 0.1, "the database"),
    ):
        pass
    with turn_to_write(tmp_path, 0.1, "the database"):
        pass


def test_whoever_has_just_written_comes_after_the_one_who_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def wait_and_write() -> None:
        with turn_to_write(tmp_path, 20, "the database"):
            order.append("who waited")

    waiting = threading.Thread(target=wait_and_write)
    with turn_to_write(tmp_path, 20, "the database"):
        waiting.start()
        _until_somebody_is_next(tmp_path)
    with turn_to_write(tmp_path, 20, "the database"):
        order.append("who had just written")
    waiting.join(20)
    assert order == ["who waited", "who had just written"]


def _until_somebody_is_next(home: Path) -> None:
    looked = threading.Event()
    with (home / "write-next.lock").open() as file:
        for _ in range(2_000):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            looked.wait(0.005)
    raise AssertionError("nobody queued for the next turn")


def test_a_turn_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from storage.turn import Turns\n"
        "with Turns(Path(sys.argv[1]), 5, 'x').take(): print('held', flush=True); sys.stdin.read()"
    )
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(StorageError), turn_to_write(tmp_path, 0.05, "the database"):
        pass
    holder.kill()
    holder.communicate(timeout=10)
    with turn_to_write(tmp_path, 1, "the database"):
        pass


def test_lock_files_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="The database cannot be opened"),
        turn_to_write(tmp_path / "missing", 1, "the database"),
    ):
        pass


def test_threads_that_share_a_database_take_turns_and_are_told_in_time(tmp_path: Path) -> None:
    turns = Turns(tmp_path, 20, "the database")
    inside, most, done = 0, 0, []
    counting = threading.Lock()

    def write() -> None:
        nonlocal inside, most
        for _ in range(20):
            with turns.take():
                with counting:
                    inside += 1
                    most = max(most, inside)
                with counting:
                    inside -= 1
        done.append(True)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(done), most) == (8, 1)

    impatient = Turns(tmp_path, 0.1, "the database")
    told: list[str] = []

    def wait_in_vain() -> None:
        try:
            with impatient.take():
                told.append("")
        except StorageError as error:
            told.append(error.message)

    with impatient.take():
        second = threading.Thread(target=wait_in_vain)
        second.start()
        second.join(10)
    assert told == ["The database is being written by another process for too long."]
    with impatient.take():
        pass
