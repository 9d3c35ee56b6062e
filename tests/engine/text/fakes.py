"""A hand-written model and queue for tests of the text code: small, deterministic, no weights.

:class:`CopyModel` answers each prompt with the first sentence of each of its first lines, so that what a summary rests
on shows which messages went into the prompt. A token is a word or a mark of punctuation.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence

from engine.protocols import Generated, Listener, Row
from engine.requests import ModelInfo
from storage.errors import EngineBusy, EngineError

PLAIN = ModelInfo("copy", "", "bart", encoder_decoder=True, chat=False, context_tokens=200, max_new_tokens=60)
CHAT = ModelInfo("copy-chat", "", "qwen3", encoder_decoder=False, chat=True, context_tokens=900, max_new_tokens=100)


def copied(prompt: str) -> str:
    """The first sentence of each line that says `Name: text`, or of each line where none does."""
    found = re.findall(r"^[^:\n]{1,40}: (.+?(?:[.!?](?=\s|$)|$))", prompt, re.MULTILINE)
    found = found or re.findall(r"(.+?(?:[.!?](?=\s|$)|$))", prompt, re.MULTILINE)
    return " ".join(text.strip() + ("" if text.strip()[-1] in ".!?" else ".") for text in found[:5] if text.strip())


class CopyModel:
    """A :class:`engine.protocols.TextModel` that copies."""

    def __init__(self, info: ModelInfo = PLAIN, answer: Callable[[str], str] = copied) -> None:
        self.info = info
        self.answer = answer
        self.prompts: list[Row] = []
        self.counted: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.counted.extend(texts)
        return [len(re.findall(r"\w{1,8}|[^\w\s]", text)) + 2 for text in texts]

    def render_chat(self, system: str, user: str) -> str:
        return f"<system>{system}</system>\n<user>{user}</user>\n"

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        for at, row in enumerate(rows):
            self.prompts.append(row)
            pieces = re.findall(r"\s*\S+", self.answer(row.prompt))
            taken = pieces[: row.max_new_tokens]
            stopped = "length" if len(pieces) > len(taken) else "end"
            written = ""
            for piece in taken:
                if listener.cancelled(at):
                    stopped = "cancelled"
                    break
                written += piece
                listener.wrote(at, written)
            listener.finished(at, Generated(written, row.prompt_tokens, len(taken), stopped))


class FakeHandle:
    """A row whose text grows one word each time the event loop comes round."""

    def __init__(self, row: Row, text: str, *, ahead: int, hold: asyncio.Event | None, fails: bool) -> None:
        self.ahead = ahead
        self.row = row
        self.cancelled = False
        self._pieces = re.findall(r"\s*\S+", text)
        self._taken = self._pieces[: row.max_new_tokens]
        self._fails = fails
        self._hold = hold
        self._written = ""

    async def texts(self) -> AsyncIterator[str]:
        if self._hold is not None:
            await self._hold.wait()
        for piece in self._taken:
            if self.cancelled or self._fails:
                return
            self._written += piece
            yield self._written
            await asyncio.sleep(0)

    async def result(self) -> Generated:
        if self._hold is not None:
            await self._hold.wait()
        if self._fails:
            raise EngineError("The batch failed.")
        if self.cancelled:
            return Generated(self._written, self.row.prompt_tokens, len(self._written.split()), "cancelled")
        stopped = "length" if len(self._pieces) > len(self._taken) else "end"
        return Generated("".join(self._taken), self.row.prompt_tokens, len(self._taken), stopped)

    def cancel(self) -> None:
        self.cancelled = True
        if self._hold is not None:
            self._hold.set()


class FakeSubmitter:
    """A :class:`engine.protocols.RowSubmitter` that answers through a :class:`CopyModel`'s ``answer``."""

    def __init__(
        self,
        model: CopyModel,
        *,
        ahead: int = 0,
        hold: asyncio.Event | None = None,
        fails_at: int = -1,
        busy: bool = False,
    ) -> None:
        self._model = model
        self._ahead = ahead
        self._hold = hold
        self._fails_at = fails_at
        self._busy = busy
        self.handles: list[FakeHandle] = []
        self.submissions: list[list[Row]] = []
        self.keys: list[str] = []

    async def submit(self, rows: Sequence[Row], request_key: str) -> Sequence[FakeHandle]:
        if self._busy:
            raise EngineBusy(3)
        self.submissions.append(list(rows))
        self.keys.append(request_key)
        made = []
        for row in rows:
            fails = len(self.handles) == self._fails_at
            text = self._model.answer(row.prompt)
            made.append(FakeHandle(row, text, ahead=self._ahead, hold=self._hold, fails=fails))
            self.handles.append(made[-1])
        return made
