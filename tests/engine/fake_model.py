"""A hand-written model for tests of what stands around one: it writes numbered words, a step at a time, on demand.

It keeps the promises of :class:`engine.protocols.TextModel` (cancelled rows leave, each row ends once, every step is
told) and lets a test hold it between steps, see the batches that it was given, and make a batch fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.protocols import Generated, Listener, Row
from engine.requests import ModelInfo
from storage.errors import AdapterError

INFO = ModelInfo(
    name="fake",
    revision="",
    model_type="bart",
    encoder_decoder=True,
    chat=False,
    context_tokens=512,
    max_new_tokens=32,
    uncased=False,
)


def _words(row: Row) -> str:
    last = row.prompt.split()[-1]
    words = [f"{last}{n}" for n in range(row.max_new_tokens)]
    return " ".join(words if row.adapter == "base" else [row.adapter, *words[1:]])


class FakeModel:
    """Answers each row with ``max_new_tokens`` words made from its prompt's last word, by an adapter with its id first.

    Attributes:
        batches: prompts of every batch, in order.
        gate: a step waits for it; set from the start.
        fail: called with the prompts of a batch before it is written; may raise.
        started: set when a batch has begun.
        attached: adapters that rows may name.
        refuse: reasons by the name of the adapter's directory; such a one is refused.
        unloaded: whether it was let go of.
    """

    def __init__(self, info: ModelInfo = INFO, write: Callable[[Row], str] | None = None) -> None:
        self.info = info
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.fail: Callable[[list[str]], None] | None = None
        self.threads: set[str] = set()
        self.attached: tuple[str, ...] = ()
        self.refuse: dict[str, str] = {}
        self.unloaded = False
        self._write = write or _words

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]

    def render_chat(self, system: str, user: str) -> str:
        return f"{system}\n\n{user}"

    def prepare(self, directory: Path) -> str:
        if reason := self.refuse.get(directory.name):
            raise AdapterError(f"The adapter {directory.name} was refused: {reason}.")
        return directory.name

    def attach(self, prepared: str) -> None:
        self.threads.add(threading.current_thread().name)
        if prepared not in self.attached:
            self.attached = (*self.attached, prepared)

    def detach(self, name: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.attached = tuple(each for each in self.attached if each != name)

    def unload(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.unloaded = True

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        self.threads.add(threading.current_thread().name)
        self.batches.append([row.prompt for row in rows])
        self.started.set()
        if self.fail is not None:
            self.fail([row.prompt for row in rows])
        assert not self.unloaded, "asked to write after it was let go of"
        for row in rows:
            assert row.adapter == "base" or row.adapter in self.attached, f"{row.adapter} is not attached"
        words = [self._write(row).split(" ") for row in rows]
        written = [0] * len(rows)
        left = set(range(len(rows)))
        while left:
            assert self.gate.wait(20), "the test left the model waiting"
            for index in sorted(left):
                row, text = rows[index], " ".join(words[index][: written[index]])
                if listener.cancelled(index):
                    left.discard(index)
                    listener.finished(index, Generated(text, row.prompt_tokens, written[index], "cancelled"))
                elif written[index] == len(words[index]):
                    left.discard(index)
                    listener.finished(index, Generated(text, row.prompt_tokens, written[index], "end"))
                else:
                    written[index] += 1
                    listener.wrote(index, " ".join(words[index][: written[index]]))
