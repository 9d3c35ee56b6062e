"""Real `redraft` processes for tests: started with a tiny model and a home of their own, ended without fail.

A test waits for what a process says, with a bound; nothing is polled for longer than it takes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

from engine.conversation import Conversation, Message
from storage.home import Home
from tests import warm

ROOT = Path(__file__).resolve().parent.parent.parent
#: Loading torch on two busy cores takes a while.
PATIENCE_S = 120.0


class Command:
    """A running `redraft` command and what it has said on standard error."""

    def __init__(self, *arguments: str, home: Home, **settings: str) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment = {
            **kept,
            "REDRAFT_HOME": str(home.root),
            "REDRAFT_ENV_FILE": os.devnull,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self.home = home
        self.said: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        reads, writes = os.pipe()
        with Path(os.devnull).open("r+b") as nothing:
            self.process = warm.Process(
                *arguments,
                environment=environment,
                directory=home.root,
                streams=(nothing.fileno(), nothing.fileno(), writes),
                own_session=True,
            )
        os.close(writes)
        self._stderr = os.fdopen(reads, encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._stderr:
            for line in self._stderr:
                self.said.append(line.rstrip("\n"))
                self._new.put(line)
        self._new.put(None)

    def until_it_says(self, words: str, patience: float = PATIENCE_S) -> str:
        """Wait for a line with these words that was not waited for before."""
        end = time.monotonic() + patience
        while True:
            try:
                line = self._new.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"waited in vain for {words!r}; it said:\n" + "\n".join(self.said))
            if words in line:
                return line

    def ends(self, patience: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended and everything it said was read."""
        code = self.process.wait(patience)
        self._reader.join(10)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextlib.contextmanager
def redraft(*arguments: str, home: Home, **settings: str) -> Generator[Command, None, None]:
    """A `redraft` command for the time of a test."""
    command = Command(*arguments, home=home, **settings)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            # SIGTERM rather than SIGKILL, so that a supervisor takes its children along.
            command.signal(signal.SIGTERM)
            try:
                command.process.wait(30)
            except subprocess.TimeoutExpired:
                command.process.kill()
                command.process.wait(10)
        command._reader.join(10)


def wait_until(holds: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
    """Wait for something that no process says."""
    end = time.monotonic() + patience
    pause = threading.Event()
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain until {what}")
        pause.wait(0.02)


def talk(messages: int, name: str = "talk") -> Conversation:
    """A conversation of so many messages by invented people."""
    people = ("Ana", "Tomas", "Priya", "Kofi")
    return Conversation(
        name,
        tuple(
            Message(str(n), people[n % 4], f"{people[(n + 1) % 4]} checked the export job number {n} before lunch.")
            for n in range(messages)
        ),
    )
