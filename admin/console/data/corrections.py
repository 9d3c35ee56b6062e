"""What the review queue shows and does: a page of pairs by filter and order, one pair with its draft, and decisions.

A decision hands in the mark of the pair as it was shown; whoever was quicker is told by the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin.console.store import Store
from storage.learning_tables import PairRow
from storage.pair_filters import PairFilter
from storage.pair_queries import Order, PairLine

if TYPE_CHECKING:
    from engine.learning.pairs import Many

PAGE = 200
#: What waits, and of what was edited meanwhile the last version.
TO_REVIEW = PairFilter(state="pending", newest=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which pairs, in which order, and how many of them are wanted."""

    wanted: PairFilter
    order: Order = "newest"
    rows: int = PAGE


@dataclass(frozen=True, slots=True)
class Queue:
    """Pairs without their texts, how many there are in all, and what was asked for."""

    lines: Sequence[PairLine]
    total: int
    asked: Asked


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair with its texts.

    Attributes:
        draft: what the model wrote and its author saw, or empty where there was none or it is gone.
        mark: what a decision on it is held against.
    """

    pair: PairRow
    draft: str
    mark: str


def queue(store: Store, asked: Asked) -> Queue:
    """The first so many pairs."""
    from storage.pair_queries import count_pairs, pair_page

    with store.database().read() as session:
        lines = pair_page(session=session, wanted=asked.wanted, order=asked.order, limit=asked.rows)
        total = len(lines) if len(lines) < asked.rows else count_pairs(session=session, wanted=asked.wanted)
    return Queue(lines, total, asked)


def covered(line: PairLine, by: str) -> bool:
    """Whether its texts are covered until somebody opens them, which the ledger keeps."""
    return line.platform != "file" and not line.public and line.author_id != by


def open_pair(store: Store, pair_id: str, *, asked: bool = False) -> Shown:
    """A pair with its texts.

    Args:
        asked: whether a person asked for it; otherwise one that is private, by now perhaps, is refused. The opening is
            recorded first, which a console that only reads cannot do.
    """
    from engine.learning import pairs
    from storage.queries import get_summary

    database = store.writable() if asked else store.database()
    pair = pairs.open_pair(database, pair_id=pair_id, by=store.by, asked=asked, now=store.clock)
    draft = ""
    if pair.draft_summary_id:
        with database.read() as session:
            summary = get_summary(session=session, summary_id=pair.draft_summary_id)
        draft = summary.text if summary is not None else ""
    return Shown(pair, draft, pairs.mark_of(pair))


def approve(store: Store, shown: Shown) -> list[PairRow]:
    """Approve the pair that was shown."""
    from engine.learning import pairs

    return pairs.approve(
        store.writable(), pair_ids=[shown.pair.id], by=store.by, administrator=True, seen=shown.mark, now=store.clock
    )


def reject(store: Store, shown: Shown, reason: str) -> list[PairRow]:
    """Reject the pair that was shown."""
    from engine.learning import pairs

    return pairs.reject(
        store.writable(), pair_ids=[shown.pair.id], by=store.by, reason=reason, seen=shown.mark, now=store.clock
    )


def reopen(store: Store, decided: PairRow) -> PairRow:
    """Take a decision back, as it was taken: one that somebody else has taken since is not ours to take back."""
    from engine.learning import pairs

    return pairs.reopen(store.writable(), pair_id=decided.id, by=store.by, seen=pairs.mark_of(decided), now=store.clock)


def edit(store: Store, shown: Shown, text: str) -> PairRow:
    """An administrator's own version of the pair that was shown."""
    from engine.learning import pairs

    return pairs.edit_pair(
        store.writable(),
        store.learning(),
        pair_id=shown.pair.id,
        text=text,
        by=store.by,
        seen=shown.mark,
        now=store.clock,
    )


def waiting(store: Store, wanted: PairFilter) -> Many:
    """Which pairs of a filter wait, to be held against what is decided."""
    from engine.learning import pairs

    with store.database().read() as session:
        return pairs.waiting(session, wanted)


def decide_all(store: Store, wanted: PairFilter, to: str, reason: str, seen: Many) -> int:
    """Approve or reject all that wait and that a filter finds; refused where they are not those that were counted."""
    from engine.learning import pairs

    return pairs.decide_matching(
        store.writable(),
        wanted=wanted,
        to=to,
        by=store.by,
        reason=reason,
        administrator=True,
        expected=seen,
        now=store.clock,
    )


def filter_of(store: Store, said: dict[str, str]) -> PairFilter:
    """A filter out of what a person typed.

    Raises:
        InputError: there is no such state, origin, platform or scope.
        SettingsError: a setting cannot be used.
    """
    from engine.learning.selection import place_of
    from storage.errors import InputError

    known = {
        "state": ("pending", "approved", "rejected"),
        "origin": ("blind", "edited", "imported", "case"),
        "platform": ("file", "slack", "discord"),
    }
    for name, values in known.items():
        if said.get(name) and said[name] not in values:
            raise InputError(f"{said[name][:40]!r} is no {name} of a pair.", f"Say one of: {', '.join(values)}.")
    state = said.get("state")
    return PairFilter(
        state=state,
        # Of what was edited and waits, the last version; those before it are reached from there.
        newest=True if state == "pending" else None,
        begins=said.get("pair"),
        origin=said.get("origin"),
        platform=said.get("platform"),
        channel=said.get("channel"),
        author_id=said.get("author"),
        within=place_of(said["scope"], store.learning()) if said.get("scope") else None,
        text=said.get("text"),
    )
