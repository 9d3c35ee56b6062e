"""From pairs to what the model reads and what it is to write, by the very code that serves.

The prompt comes from :class:`engine.planning.Planner`, as every summary's does; a pair whose prompt the engine would
cut, or whose wish the model's prompt cannot express, teaches nothing that will be asked for and is left out, counted.
Knows the tokenizer, neither weights nor batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.learning.dialogues import conversation_of
from engine.model.tokens import Tokens
from engine.planning import Planner
from engine.requests import ModelInfo, SummaryRequest
from engine.text.prompts import family, options_of
from engine.text.safety import visible
from engine.training.job import Pair
from storage.errors import InputError, OptionNotHonoured

#: No tokenizer gets this many characters of readable text into a token: longer texts are refused without counting.
_CHARACTERS_A_TOKEN = 16
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn.

    Attributes:
        prompt: as the engine would send it.
        answer: as the model is to write it.
        source: ids of the prompt.
        target: ids of the answer with the token that ends it; loss is on these only.
        references: the answer and further human ones.
    """

    prompt: str
    answer: str
    source: list[int]
    target: list[int]
    references: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Tokens of both."""
        return len(self.source) + len(self.target)


class Renderer:
    """Makes examples for one model.

    Args:
        info: the model.
        tokens: its tokenizer.
        end: id of the token that ends an answer.
        first: id of the token that an answer begins with before any word, where the model writes one.
    """

    def __init__(self, info: ModelInfo, tokens: Tokens, *, end: int, first: int | None = None) -> None:
        self._info = info
        self._tokens = tokens
        self._end = end
        self._first = first
        self._family = family(info)
        self._planner = Planner(info, self._count, tokens.render_chat)

    def examples(self, pairs: Sequence[Pair]) -> tuple[list[Example], dict[str, int]]:
        """The examples, in the order of the pairs, and how many pairs were left out, by reason.

        Reasons are ``too_long``, ``no_summary``, ``summary_too_long``, ``style``, ``language``, ``no_dialogue`` and
        ``focus``.
        """
        left_out: Counter[str] = Counter()
        rendered: list[tuple[str, str, tuple[str, ...]]] = []
        for pair in pairs:
            found = self._rendered(pair)
            if isinstance(found, str):
                left_out[found] += 1
            else:
                rendered.append((*found, (pair.summary, *pair.references)))
        examples = []
        for example in self._encoded(rendered):
            if len(example.target) > self._info.max_new_tokens:
                left_out["summary_too_long"] += 1
            else:
                examples.append(example)
        return examples, dict(left_out)

    def _rendered(self, pair: Pair) -> tuple[str, str] | str:
        """Prompt and answer, or the reason why there is none."""
        answer = self.answer(pair.summary)
        if not answer:
            return "no_summary"
        if len(answer) > _CHARACTERS_A_TOKEN * self._info.max_new_tokens:
            return "summary_too_long"
        if len(pair.dialogue) > _CHARACTERS_A_TOKEN * self._info.context_tokens:
            return "too_long"
        if not self._expresses(pair.style):
            return "style"
        try:
            request = SummaryRequest(
                conversation_of(pair.dialogue, key="pair"),
                style=pair.style,
                focus=pair.focus,
                output_language=pair.output_language,
            )
            options = options_of(request, self._info)
        except OptionNotHonoured:
            return "language"
        except InputError:
            return "no_dialogue"
        try:
            plan = self._planner.plan(request, options)
        except InputError:
            return "focus" if options.focus else "no_dialogue"
        (row, *others) = plan.rows
        room = self._info.context_tokens - (0 if self._info.encoder_decoder else self._info.max_new_tokens)
        return "too_long" if others or row.prompt_tokens > room else (row.prompt, answer)

    def _expresses(self, style: str) -> bool:
        """Whether the model can tell from its prompt that this style is asked for, in one piece.

        A detailed summary of a model without chat is made part by part, and a pair's covers the whole.
        """
        if self._family == "chat":
            return True
        return style == "standard" or (style == "brief" and self._family == "t5")

    def answer(self, summary: str) -> str:
        """A summary as the model is to write it: readable, lines kept only where prompts may have them."""
        text = visible(summary)
        if self._family != "chat":
            return " ".join(text.split())
        lines = [" ".join(line.split()) for line in text.strip().split("\n")]
        return "\n".join(line for i, line in enumerate(lines) if line or (i and lines[i - 1]))

    def _encoded(self, rendered: Sequence[tuple[str, str, tuple[str, ...]]]) -> Iterator[Example]:
        first = [] if self._first is None else [self._first]
        for at in range(0, len(rendered), _BATCH):
            part = rendered[at : at + _BATCH]
            sources = self._tokens.encode([prompt for prompt, _, _ in part])
            answers = self._tokens.encode_answers(
                [answer for _, answer, _ in part], spaced=self._family == "completion"
            )
            for (prompt, answer, references), source, ids in zip(part, sources, answers, strict=True):
                yield Example(prompt, answer, source, [*first, *ids, self._end], references)

    def _count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._tokens.encode(texts)]


def begun_with(examples: Sequence[Example], first: int) -> list[Example]:
    """The examples with a first token in front of each answer."""
    return [replace(example, target=[first, *example.target]) for example in examples]
