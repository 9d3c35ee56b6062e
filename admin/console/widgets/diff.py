"""Word differences as a person reads them: what went is struck out, what came is underlined, and so without colours.

Where a terminal shows no colours, or only its own sixteen, what went and came also stands in brackets, as ``git diff
--word-diff`` has it. Texts in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.text.safety import visible

#: Lines of a conversation that are shown: laying out ten thousand would keep every key waiting.
MOST_LINES = 1_000

_GONE, _NEW = "red strike", "green underline"


def differences(diff: Sequence[Sequence[str]], *, brackets: bool = False) -> Text:
    """Differences as :func:`engine.learning.differences.difference` gives them, in one text."""
    text = Text()
    for what, old, new in diff:
        if what == "equal":
            text.append(visible(new))
            continue
        for part, style, signs in ((old, _GONE, ("[-", "-]")), (new, _NEW, ("{+", "+}"))):
            words = visible(part)
            if not words:
                continue
            # The white space behind a word is no part of the difference that a person sees.
            core = words.rstrip()
            text.append(f"{signs[0]}{core}{signs[1]}" if brackets else core, style=style)
            text.append(words[len(core) :] or " ")
    return text


def between(old: str, new: str, *, brackets: bool = False) -> tuple[Text, float]:
    """The differences of two texts, and how far apart they are as a share of the first one's words."""
    from engine.learning.differences import difference

    found = difference(old, new)
    return differences(found.diff, brackets=brackets), found.distance


def dialogue(text: str) -> Text:
    """``Name: text`` lines with the names made to stand out; of very many the first ones, and how many more."""
    told = Text()
    lines = visible(text).splitlines()
    for at, line in enumerate(lines[:MOST_LINES]):
        name, colon, rest = line.partition(":")
        if at:
            told.append("\n")
        if colon and len(name) <= 40:
            told.append(f"{name}:", style="bold").append(rest)
        else:
            told.append(line)
    if len(lines) > MOST_LINES:
        told.append(f"\n… and {len(lines) - MOST_LINES:,} more lines", "dim")
    return told
