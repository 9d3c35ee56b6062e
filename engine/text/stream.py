"""From a model's growing text to finished sentences: split, restored, made safe, tied to their messages.

A sentence that has left here never changes: what was streamed is what is final. Loops are cut off. Knows nothing of
prompts, rows or requests; it is fed the text so far, as :meth:`engine.protocols.RowHandle.texts` gives it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from engine.conversation import Message
from engine.requests import SummarySentence
from engine.text.parts import tidy_name
from engine.text.safety import OutputFilter, visible
from engine.text.sentences import complete, next_end
from engine.text.support import SupportIndex
from engine.text.surface import Surface
from engine.text.words import fold, words

NOTE_LOOP = "The model began to repeat itself; the repetition was cut off."
NOTE_LENGTH = "The model reached its length limit before it had finished."

_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
#: An unfinished sentence of this many characters is looked at for loops while it is being written.
_LONG = 300
#: Share of words in common from which on a sentence that adds nothing of the conversation is an earlier one again.
_ALIKE = 0.75


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What sentences are checked against: one conversation's words, links and messages."""

    surface: Surface | None
    output_filter: OutputFilter
    support: SupportIndex

    @classmethod
    def of(cls, messages: Sequence[Message], *, uncased: bool) -> Knowledge:
        """Index the messages; takes time linear in their text."""
        names = [tidy_name(message.author) for message in messages]
        return cls(
            Surface((visible(message.text) for message in messages), names) if uncased else None,
            OutputFilter([*(message.text for message in messages), *dict.fromkeys(names)]),
            SupportIndex(messages),
        )


def cut_loop(text: str) -> str:
    """The text up to where a run of words begins to come for the third time in a row; the whole text if none does."""
    spans = list(re.finditer(r"\S+", text))
    folded = [fold(match.group()).strip(".,;:!?\"'()") for match in spans]
    for at in range(len(folded)):
        for size in range(1, min(20, (len(folded) - at) // 3) + 1):
            times = 4 if size == 1 else 3
            run = folded[at : at + size]
            if any(run) and folded[at : at + size * times] == run * times:
                return text[: spans[at + size - 1].end()]
    return text


class SentenceStream:
    """The sentences of one row.

    Args:
        knowledge: see :class:`Knowledge`.
        most: stop after this many sentences; None for all.
        one_paragraph: stop at the first blank line (for models that go on writing the conversation).
        judge: tie sentences to messages; part summaries, which are only read by the model again, need it not.
    """

    def __init__(
        self, knowledge: Knowledge, *, most: int | None = None, one_paragraph: bool = False, judge: bool = True
    ) -> None:
        self._knowledge = knowledge
        self._most = most
        self._one_paragraph = one_paragraph
        self._judge = judge
        self._at = 0
        self._seen: set[tuple[str, ...]] = set()
        self._near = 0
        self.sentences: list[SummarySentence] = []
        self.notes: list[str] = []
        self.stopped = False

    def feed(self, text: str) -> list[SummarySentence]:
        """New sentences of the text so far; its last word may still change and is held back."""
        text = _THOUGHT.sub("", text)
        stable = re.search(r"\A.*\s", text, re.DOTALL)
        return self._take(stable.group() if stable else "", final=False)

    def finish(self, text: str, *, cut_short: bool) -> list[SummarySentence]:
        """The rest of the whole text; `cut_short` tells that it ran into its length limit.

        An unfinished last sentence is left out when there are others, and marked by an ellipsis otherwise.
        """
        found = self._take(_THOUGHT.sub("", text), final=True, cut_short=cut_short)
        if cut_short and not self.stopped:
            self._note(NOTE_LENGTH)
        return found

    def _take(self, text: str, *, final: bool, cut_short: bool = False) -> list[SummarySentence]:
        ended = re.search(r"\S\s*?\n\s*\n", text) if self._one_paragraph else None
        if ended:
            text, final, cut_short = text[: ended.start() + 1], True, False
        found: list[SummarySentence] = []
        surface = self._knowledge.surface
        uncased, keeps = surface is not None, surface.keeps if surface is not None else None
        while not self.stopped:
            end_at = next_end(text, self._at, final=final, uncased=uncased, keeps=keeps)
            if end_at is None:
                break
            raw = text[self._at : end_at]
            self._at = end_at
            last = final and not text[end_at:].strip()
            sentence = self._finished(raw, unfinished=last and cut_short)
            if sentence is not None:
                found.append(sentence)
                self.sentences.append(sentence)
                self.stopped = self.stopped or (self._most is not None and len(self.sentences) >= self._most)
        self.stopped = self.stopped or ended is not None
        pending = text[self._at :]
        if not final and not self.stopped and len(pending) > _LONG and (kept := cut_loop(pending)) != pending:
            self._loops()
            sentence = self._finished(kept, unfinished=True)
            if sentence is not None:
                found.append(sentence)
                self.sentences.append(sentence)
        return found

    def _finished(self, raw: str, *, unfinished: bool) -> SummarySentence | None:
        shortened = cut_loop(raw)
        if shortened != raw:
            self._loops()
            unfinished = True
        text = self._knowledge.output_filter.clean(shortened)
        if self._knowledge.surface is not None:
            text = self._knowledge.output_filter.clean(self._knowledge.surface.restore(visible(shortened)))
        if not re.search(r"\w", text) and not any(ord(c) > 0x2000 for c in text):
            return None
        if unfinished and not complete(text):
            if self.sentences:
                return None
            text = f"{text.rstrip(' ,;:')}…"
        if self._repeats(text):
            return None
        return self._knowledge.support.judge(text) if self._judge else SummarySentence(text)

    def _repeats(self, text: str) -> bool:
        """Whether a sentence is an earlier one again; one that changes small words only stops a row the second time."""
        key = tuple(map(fold, words(text)))
        if key in self._seen and len(key) > 3:
            self._loops()
            return True
        self._seen.add(key)
        for earlier in self._seen - {key}:
            shared = (Counter(key) & Counter(earlier)).total()
            near = len(key) > 4 and 2 * shared >= _ALIKE * (len(key) + len(earlier))
            if near and not self._knowledge.support.adds(text, " ".join(earlier)):
                self._near += 1
                if self._near > 1:
                    self._loops()
                self._note(NOTE_LOOP)
                return True
        return False

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _loops(self) -> None:
        self.stopped = True
        self._note(NOTE_LOOP)
