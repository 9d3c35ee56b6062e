"""Cutting a conversation into parts that fit a model, and part summaries into groups that do.

Every message is counted once, by the served model's own tokenizer, in batches, so that time grows linearly with the
conversation. It is cut at message boundaries; only a message that is itself longer than a part is cut further, at
sentence, then word, then character boundaries, its author's name repeated. Knows nothing of prompts or of the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.conversation import Message
from engine.text.escape import split_text
from engine.text.safety import visible

CountTokens = Callable[[Sequence[str]], list[int]]

#: Texts a call of the tokenizer; enough to make its own batching worth while, few enough to hold little memory.
_BATCH = 256
#: Longest author name in a prompt, in characters.
_NAME_LIMIT = 60
#: Messages of one author share the name up to about this many characters of text.
_SHARED_LIMIT = 600


@dataclass(frozen=True, slots=True)
class Turn:
    """A message, or a piece of one, as it goes into a prompt.

    Attributes:
        author: display name, on one line.
        text: readable text without control characters.
        tokens: of the text, without the tokenizer's special tokens.
        name_tokens: of the `Name: ` in front.
    """

    author: str
    text: str
    tokens: int
    name_tokens: int


def tidy(text: str, *, multiline: bool) -> str:
    """A message's text as prompts have it: nothing invisible, white space collapsed, line breaks kept or not.

    Lines after the first are indented by two spaces, so that none of them can pose as the line of somebody else.
    """
    text = visible(text)
    if not multiline:
        return " ".join(text.split())
    text = re.sub(r"[^\S\n]+", " ", text).strip()
    return re.sub(r" ?\n[ \n]*", lambda gap: "\n\n  " if gap.group().count("\n") > 1 else "\n  ", text)


def tidy_name(name: str) -> str:
    """An author's name on one line, without a colon that would look like the end of it."""
    return " ".join(visible(name).replace(":", " ").split())[:_NAME_LIMIT].strip() or "Someone"


def turns_of(
    messages: Sequence[Message], *, room: int, count_tokens: CountTokens, multiline: bool = False
) -> Iterator[Turn]:
    """The messages as counted turns, each of at most about `room` tokens, name included."""
    special = count_tokens([""])[0]
    names: dict[str, int] = {}
    for at in range(0, len(messages), _BATCH):
        batch = [(tidy_name(m.author), tidy(m.text, multiline=multiline)) for m in messages[at : at + _BATCH]]
        fresh = [name for name in dict.fromkeys(name for name, _ in batch) if name not in names]
        if fresh:
            counted = count_tokens([f"{name}:" for name in fresh])
            names.update((name, count - special + 1) for name, count in zip(fresh, counted, strict=True))
        # A text of more characters than twice the room in tokens is cut before it is counted: tokenizers are slow, and
        # hungry, on megabytes.
        short = [text if len(text) <= 2 * room else "" for _, text in batch]
        for (name, text), ready, count in zip(batch, short, count_tokens(short), strict=True):
            space = max(8, room - names[name])
            if ready and count - special <= space:
                yield Turn(name, text, count - special, names[name])
            else:
                for piece, tokens in _pieces(text, space, special, count_tokens):
                    yield Turn(name, piece, tokens, names[name])


def _pieces(text: str, space: int, special: int, count_tokens: CountTokens) -> Iterator[tuple[str, int]]:
    """The text in pieces of at most `space` tokens, in order."""
    pieces = split_text(text, max(2, 2 * space))
    for at in range(0, len(pieces), _BATCH):
        batch = pieces[at : at + _BATCH]
        for piece, count in zip(batch, count_tokens(batch), strict=True):
            if count - special <= space or len(piece) < 2:
                yield piece, count - special
            else:
                yield from _halved(piece, space, special, count_tokens)


def _halved(text: str, space: int, special: int, count_tokens: CountTokens) -> Iterator[tuple[str, int]]:
    pieces = split_text(text, max(2, math.ceil(len(text) / 2)))
    for piece, count in zip(pieces, count_tokens(pieces), strict=True):
        if count - special <= space or len(piece) < 2 or len(pieces) == 1:
            yield piece, count - special
        else:
            yield from _halved(piece, space, special, count_tokens)


def lines(turns: Iterable[Turn]) -> str:
    """`Name: text` lines; consecutive short messages of one author share the name."""
    written: list[list[str]] = []
    author, size = None, 0
    for turn in turns:
        if turn.author == author and size + len(turn.text) <= _SHARED_LIMIT and "\n" not in turn.text:
            written[-1].append(turn.text)
            size += len(turn.text)
        else:
            written.append([f"{turn.author}: {turn.text}"])
            author, size = turn.author, len(turn.text)
    return "\n".join(" ".join(line) for line in written)


def pack(turns: Iterable[Turn], *, budget: int, largest: int | None = None) -> list[list[Turn]]:
    """Group consecutive turns into parts of about equal size.

    Args:
        turns: each of at most `budget` tokens.
        budget: most tokens in a part.
        largest: aim for parts no larger than this; `budget` itself when None.
    """
    all_turns = list(turns)
    total = sum(turn.tokens + turn.name_tokens + 1 for turn in all_turns)
    aim = min(budget, largest or budget)
    aim = min(budget, math.ceil(total / max(1, math.ceil(total / aim)) * 1.05))
    parts: list[list[Turn]] = []
    room = 0
    for turn in all_turns:
        # Sharing a name only ever makes a part smaller than counted here.
        cost = turn.tokens + turn.name_tokens + 1
        if not parts or cost > room:
            parts.append([])
            room = aim if cost <= aim else budget
        parts[-1].append(turn)
        room -= cost
    return parts


def groups(summaries: Sequence[str], *, budget: int, count_tokens: CountTokens) -> list[list[str]]:
    """Group consecutive part summaries so that each group fits `budget` tokens, two or more to a group.

    A summary longer than half the budget is cut, so that merging always ends.
    """
    fitted: list[tuple[str, int]] = []
    half = max(8, budget // 2 - 8)
    for at in range(0, len(summaries), _BATCH):
        batch = list(summaries[at : at + _BATCH])
        for text, count in zip(batch, count_tokens(batch), strict=True):
            fitted.append((text, count) if count <= half else next(_pieces(text, half, 0, count_tokens)))
    total = sum(count + 6 for _, count in fitted)
    aim = min(budget, total / max(1, math.ceil(total / budget)) * 1.1)
    grouped: list[list[str]] = []
    size = 0.0
    for text, count in fitted:
        cost = count + 6
        full = size + cost > (aim if grouped and len(grouped[-1]) >= 2 else budget)
        if not grouped or (full and len(grouped[-1]) >= 2):
            grouped.append([])
            size = 0.0
        grouped[-1].append(text)
        size += cost
    if len(grouped) > 1 and len(grouped[-1]) == 1 and len(grouped[-2]) > 2:
        grouped[-1].insert(0, grouped[-2].pop())
    return grouped
