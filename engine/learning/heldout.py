"""From held-out pairs to what an evaluation measures on: one item a conversation, with all its human references.

It reads no rows itself and knows no model; which pairs are held out in a scope is :mod:`engine.learning.selection`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from engine.learning.dialogues import conversation_of
from engine.requests import Style, SummaryRequest
from engine.scoring.measuring import Item
from storage.learning_tables import PairRow

#: Origins whose authors had seen no draft.
BLIND = frozenset({"blind", "imported", "case"})


@dataclass(frozen=True, slots=True)
class Held:
    """One held-out conversation and how its references were asked for.

    Attributes:
        key: what the split goes by; see :class:`storage.learning_tables.PairRow`.
        dialogue: ``Name: text`` lines.
        blind: references by people who had seen no draft.
        edited: references that are edits of a draft.
        pairs: ids of the pairs that they come from.
        private: whether it was told in a private channel; see :func:`is_private`.
    """

    key: str
    dialogue: str
    style: str = "standard"
    focus: str = ""
    output_language: str = ""
    blind: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    private: bool = False

    @property
    def item(self) -> Item:
        """What the gate's figures are made from."""
        return Item(self.dialogue, self.blind, self.edited)

    def request(self, adapter: str) -> SummaryRequest:
        """What the engine is asked.

        Raises:
            InputError: no line of the dialogue says who speaks.
        """
        return SummaryRequest(
            conversation_of(self.dialogue, key=self.key),
            style=cast("Style", self.style),
            focus=self.focus,
            output_language=self.output_language,
            adapter=adapter,
        )


@dataclass(slots=True)
class _Group:
    pair: PairRow
    blind: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)


def is_private(pair: PairRow) -> bool:
    """Whether whoever sees a pair's texts, but for its author, has opened a private conversation."""
    return pair.platform != "file" and not pair.public


def is_blind(pair: PairRow) -> bool:
    """Whether a pair's author wrote without having seen a draft; only such references decide."""
    return pair.origin in BLIND and not pair.seen_draft


def references_of(pair: PairRow) -> tuple[str, ...]:
    """All human references of a pair: the one that is trained on, and further ones."""
    return (pair.summary, *(text for text in pair.summaries if isinstance(text, str) and text.strip()))


def held_out(pairs: Iterable[PairRow], *, most: int) -> list[Held]:
    """The newest conversations of held-out pairs, newest first, each once.

    Pairs of one conversation that were asked for differently (in another style, with a focus) are no references of one
    another: those that have most blind references are taken, then most of any kind, then the newest.
    """
    conversations: dict[str, dict[tuple[str, str, str], _Group]] = {}
    private: set[str] = set()
    for pair in sorted(pairs, key=lambda pair: (pair.created_at, pair.id), reverse=True):
        groups = conversations.setdefault(pair.conversation_key, {})
        group = groups.setdefault((pair.style, pair.focus, pair.output_language), _Group(pair))
        (group.blind if is_blind(pair) else group.edited).extend(references_of(pair))
        group.pairs.append(pair.id)
        if is_private(pair):
            private.add(pair.conversation_key)
    newest = list(conversations.items())[:most]
    return [_best(list(groups.values()), private=key in private) for key, groups in newest]


def _best(groups: Sequence[_Group], *, private: bool) -> Held:
    best = max(groups, key=lambda group: (len(group.blind), len(group.edited)))
    return Held(
        key=best.pair.conversation_key,
        dialogue=best.pair.dialogue,
        style=best.pair.style,
        focus=best.pair.focus,
        output_language=best.pair.output_language,
        blind=tuple(dict.fromkeys(best.blind)),
        edited=tuple(dict.fromkeys(best.edited)),
        pairs=tuple(best.pairs),
        private=private,
    )
