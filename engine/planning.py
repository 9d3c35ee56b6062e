"""From a request to the prompts it begins with: messages selected, cut into parts that fit, rendered, counted.

What serves and what trains goes through here, so that a fine-tune reads exactly what the engine will read. Knows
neither the model nor the batcher, only the tokenizer's counts and the chat template's words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.conversation import Message
from engine.protocols import Row
from engine.requests import ModelInfo, SummaryRequest
from engine.text.focus import select
from engine.text.parts import CountTokens, Turn, lines, pack, tidy, turns_of
from engine.text.prompts import Options, Prompter
from storage.errors import EngineError, InputError

#: Longest summary of a part that will be merged, and longest brief answer, in tokens.
PART_TOKENS = 160
BRIEF_TOKENS = 96
#: Below this many tokens for the conversation a prompt is not worth sending.
_LEAST_ROOM = 48
#: Fewest tokens of a part of a detailed summary: about two short messages, below which there is nothing to go through.
_LEAST_PART = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request begins with.

    Attributes:
        messages: those that the prompts have.
        left_out: how many messages of the conversation they have not.
        options: as the model honours them.
        rows: one prompt for each part; a single one where the conversation fits.
        keep_parts: the parts' answers are the summary, one after the other; otherwise they are merged.
    """

    messages: list[Message]
    left_out: int
    options: Options
    rows: list[Row]
    keep_parts: bool


class Planner:
    """Makes plans for one model; safe from any thread.

    Args:
        info: the model.
        count_tokens: see :meth:`engine.protocols.TextModel.count_tokens`.
        render_chat: see :meth:`engine.protocols.TextModel.render_chat`.
    """

    def __init__(self, info: ModelInfo, count_tokens: CountTokens, render_chat: Callable[[str, str], str]) -> None:
        self._info = info
        self._count = count_tokens
        self.prompter = Prompter(info, render_chat)

    def plan(self, request: SummaryRequest, options: Options, adapter: str = "base") -> Plan:
        """The plan of a request whose options have been checked.

        Raises:
            InputError: nothing in the conversation can be summarised, or nothing is about the focus.
            EngineError: the model reads too few tokens to summarise anything.
        """
        messages = _selected(request)
        if options.focus and self.prompter.family != "chat":
            messages = [messages[at] for at in select(messages, options.focus)]
        keep_parts = options.style == "detailed"
        parts = self._parts(messages, options, shorter=keep_parts and self.prompter.family != "chat")
        longest = self._info.max_new_tokens
        if options.style == "brief":
            longest = min(longest, BRIEF_TOKENS)
        elif len(parts) > 1 and not keep_parts:
            longest = min(longest, PART_TOKENS, max(32, self.room(options) // 3))
        rows = [Row(prompt, longest, adapter=adapter, prompt_tokens=tokens) for prompt, tokens in parts]
        left_out = len(request.conversation.messages) - len(messages)
        return Plan(messages, left_out, options, rows, keep_parts)

    def room(self, options: Options, *, merging: bool = False) -> int:
        """Tokens of a prompt that the conversation (or the part summaries) may take."""
        empty = self.prompter.merge([""], options) if merging else self.prompter.conversation("", options, parts=2)
        room = self._info.context_tokens - self._count([empty])[0] - 8
        if not self._info.encoder_decoder:
            room -= self._info.max_new_tokens
        if room < _LEAST_ROOM:
            raise EngineError(
                f"The model {self._info.name} reads only {self._info.context_tokens} tokens, too few to summarise.",
                "Configure a model with a longer context as ENGINE_MODEL.",
            )
        return room

    def _parts(self, messages: Sequence[Message], options: Options, *, shorter: bool) -> list[tuple[str, int]]:
        """The prompts of the parts with their lengths in tokens."""
        room = self.room(options)
        turns = list(turns_of(messages, room=room, count_tokens=self._count, multiline=self.prompter.multiline))
        largest = None
        if shorter:
            # Two parts at least: a short conversation read in one piece would be written as if nothing had been asked.
            total = sum(turn.tokens + turn.name_tokens + 1 for turn in turns)
            largest = max(_LEAST_PART, min(room // 2, math.ceil(total / 2)))
        cut = pack(turns, budget=room, largest=largest)
        limit = self._info.context_tokens
        if not self._info.encoder_decoder:
            limit -= self._info.max_new_tokens
        finished: list[tuple[str, int]] = []
        total = len(cut)
        for at in range(0, total, 64):
            batch = cut[at : at + 64]
            prompts = [self._prompt(turns, options, at + i + 1, total) for i, turns in enumerate(batch)]
            for i, (prompt, tokens) in enumerate(zip(prompts, self._count(prompts), strict=True)):
                if tokens <= limit:
                    finished.append((prompt, tokens))
                else:
                    finished.extend(self._halved(batch[i], options, at + i + 1, total, limit))
        return finished

    def _prompt(self, turns: Sequence[Turn], options: Options, part: int, parts: int) -> str:
        return self.prompter.conversation(lines(turns), options, part=part, parts=parts)

    def _halved(
        self, turns: Sequence[Turn], options: Options, part: int, parts: int, limit: int
    ) -> list[tuple[str, int]]:
        """A part whose prompt came out longer than the sum of its turns, in as many as needed."""
        prompt = self._prompt(turns, options, part, parts)
        tokens = self._count([prompt])[0]
        if tokens <= limit or len(turns) < 2:
            return [(prompt, tokens)]
        middle = len(turns) // 2
        return [
            *self._halved(turns[:middle], options, part, parts, limit),
            *self._halved(turns[middle:], options, part, parts, limit),
        ]


def _selected(request: SummaryRequest) -> list[Message]:
    """The messages that a prompt may have.

    Raises:
        InputError: there is none, with the reason.
    """
    everything = request.conversation.messages
    readable = [message for message in everything if tidy(message.text, multiline=False)]
    if not readable:
        raise InputError("There is nothing to summarise: no message has any text.", "Choose another conversation.")
    if request.include_bots:
        return readable
    people = [message for message in readable if message.kind == "person"]
    if not people:
        raise InputError(
            "There is nothing to summarise: only bots and the system wrote here.",
            "Ask for bot messages to be included.",
        )
    return people
