"""From held-out conversations and the summaries that systems wrote of them to figures, conversation by conversation.

Texts in, numbers out: what comes out of here holds no word of anybody's. It knows no database and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from engine.scoring.metrics import FIGURES, Bag, Source, Yardstick, bag_f1, content, trivial_extract
from engine.scoring.references import ReferenceCheck, check_references

System = Literal["candidate", "active", "base", "trivial"]
SYSTEMS: tuple[System, ...] = ("candidate", "active", "base", "trivial")
#: How far a summary's content F1 is above what it reaches against the references of other conversations.
OWN_CONTENT = "own_content"
#: The figures of a table, in order.
COLUMNS = (*FIGURES, OWN_CONTENT)
#: Other conversations that a summary is held against for it.
_OTHERS = 8


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out conversation.

    Attributes:
        dialogue: ``Name: text`` lines.
        blind: references by people who had seen no draft; only these decide.
        edited: references that are somebody's edit of a draft.
    """

    dialogue: str
    blind: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures against references of one kind.

    Attributes:
        conversations: positions of the items that have such references.
        references: how many references those have together.
        figures: by system and figure, one value a conversation, in the order of ``conversations``.
        people: novelty and unsupported facts of the references themselves, the mean of each conversation's.
        check: whether the references can be trusted.
    """

    conversations: tuple[int, ...] = ()
    references: int = 0
    figures: Mapping[str, Mapping[str, Sequence[float | None]]] = field(default_factory=dict)
    people: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    check: ReferenceCheck | None = None


def measure(
    items: Sequence[Item],
    summaries: Mapping[System, Sequence[str]],
    house: frozenset[str],
    *,
    kind: Literal["blind", "edited"] = "blind",
) -> Measured:
    """Hold the summaries of every system against the references of one kind.

    Args:
        items: the held-out conversations.
        summaries: by system, one an item in their order; the trivial extract is added where it is missing.
        house: the scope's house stems.
        kind: which references.

    Raises:
        ValueError: a system has not one summary an item.
    """
    if any(len(written) != len(items) for written in summaries.values()):
        raise ValueError("not one summary an item")
    chosen = [at for at, item in enumerate(items) if getattr(item, kind)]
    if not chosen:
        return Measured()
    references: list[tuple[str, ...]] = [getattr(items[at], kind) for at in chosen]
    sources = [Source(items[at].dialogue) for at in chosen]
    yardstick = Yardstick(house)
    bags = [[content(text, house) for text in row] for row in references]
    figures: dict[str, dict[str, list[float | None]]] = {}
    for system in SYSTEMS:
        if system in summaries:
            written = [summaries[system][at] for at in chosen]
        elif system == "trivial":
            written = [trivial_extract(items[at].dialogue) for at in chosen]
        else:
            continue
        each = [yardstick.figures(*row) for row in zip(written, references, sources, strict=True)]
        figures[system] = {name: [found[name] for found in each] for name in FIGURES}
        figures[system][OWN_CONTENT] = list(_own_content([content(text, house) for text in written], bags))
    return Measured(
        conversations=tuple(chosen),
        references=sum(map(len, references)),
        figures=figures,
        people=_people(references, sources, yardstick),
        check=check_references(references, sources, house),
    )


def _own_content(written: Sequence[Bag], references: Sequence[Sequence[Bag]]) -> Sequence[float | None]:
    """Content F1 against a conversation's own references, less its mean against those of others, the best of each.

    A summary that would do for any conversation is at 0, however much of the house style it has. The others are those
    that come next in order, evenly spread, so that each is taken equally often.
    """
    count = len(written)
    others = sorted({max(1, step * count // (_OTHERS + 1)) for step in range(1, _OTHERS + 1)} - {count})
    if count < 2:
        return [None] * count

    def best(ours: Bag, theirs: Sequence[Bag]) -> float:
        return max(bag_f1(ours, bag) for bag in theirs)

    return [
        best(ours, references[at]) - fmean(best(ours, references[(at + other) % count]) for other in others)
        for at, ours in enumerate(written)
    ]


def _people(
    references: Sequence[Sequence[str]], sources: Sequence[Source], yardstick: Yardstick
) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {"novelty": [], "unsupported": []}
    for row, source in zip(references, sources, strict=True):
        shares = [share for text in row if (share := source.novelty(text, yardstick.house)) is not None]
        found["novelty"].append(fmean(shares) if shares else None)
        found["unsupported"].append(fmean(source.unsupported(text) for text in row))
    return found
