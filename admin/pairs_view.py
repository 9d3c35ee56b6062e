"""How pairs look on a terminal and as JSON. It translates what it is given and asks the database nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.text.safety import visible

if TYPE_CHECKING:
    from engine.learning.stats import ScopeStats
    from storage.learning_tables import PairRow
    from storage.pair_queries import PairLine

_SHOWN = 70


def place(pair: PairRow | PairLine) -> str:
    """Where a pair is from, as a scope is written; ``file`` for files."""
    if not pair.workspace:
        return pair.platform
    return f"{pair.platform}:{pair.workspace}" + (f"/{pair.channel}" if pair.channel else "")


def told_line(line: PairLine) -> str:
    """One pair on one line."""
    state = f"{line.state}, replaced" if line.superseded_by else line.state
    where = place(line) + ("" if line.platform == "file" or line.public else " (private)")
    who = line.author or line.author_id or line.source
    changed = f"{line.distance:.0%} changed" if line.distance is not None else line.origin
    begins = visible(line.beginning, keep_newlines=False)
    begins = begins if len(begins) <= _SHOWN else f"{begins[:_SHOWN]}…"
    cells = (line.id[:12], f"{line.created_at:%Y-%m-%d}", state, line.split, changed, where, who, begins)
    return "  ".join(visible(cell, keep_newlines=False) for cell in cells if cell)


def line_document(line: PairLine) -> dict[str, Any]:
    """One pair of a list as JSON."""
    found = asdict(line)
    decided = line.decided_at.isoformat() if line.decided_at else None
    return {**found, "created_at": line.created_at.isoformat(), "decided_at": decided}


def pair_document(pair: PairRow) -> dict[str, Any]:
    """One pair whole, as JSON; ``seen`` is what a decision on it may be held against."""
    from engine.learning.pairs import mark_of

    return {**pair.model_dump(mode="json"), "seen": mark_of(pair)}


def told_pair(pair: PairRow) -> str:
    """One pair with its texts."""
    facts = [
        ("pair", pair.id),
        ("state", _state(pair)),
        ("split", pair.split),
        ("origin", pair.origin + (f", {pair.distance:.0%} of the draft changed" if pair.distance is not None else "")),
        ("from", place(pair) + ("" if pair.platform == "file" or pair.public else ", private")),
        ("author", " ".join(filter(None, (pair.author, f"({pair.author_id})" if pair.author_id else "")))),
        ("edited by", pair.editor_id),
        ("draft by", pair.draft_adapter),
        ("source", ", ".join(filter(None, (pair.source, pair.name, pair.licence)))),
        ("asked for", ", ".join(filter(None, (pair.style, pair.focus, pair.output_language)))),
    ]
    lines = [f"{name:<10} {visible(value, keep_newlines=False)}" for name, value in facts if value]
    references = [pair.summary, *(text for text in pair.summaries if isinstance(text, str))]
    texts = [visible(pair.dialogue), *(f"Summary: {visible(text)}" for text in references)]
    return "\n\n".join(["\n".join(lines), *texts])


def _state(pair: PairRow) -> str:
    told = pair.state
    if pair.decided_by:
        told += f" by {pair.decided_by}"
    if pair.reject_reason:
        told += f": {pair.reject_reason}"
    return f"{told}; replaced by {pair.superseded_by[:12]}" if pair.superseded_by else told


def told_stats(found: ScopeStats) -> str:
    """One scope's figures in words."""
    from engine.learning.selection import REASONS

    lines = [f"{found.scope}: {found.pairs:,} {'pair' if found.pairs == 1 else 'pairs'}"]
    for name, counts in (("state", found.states), ("split", found.splits), ("origin", found.origins)):
        if counts:
            lines.append(f"  {name:<8}" + ", ".join(f"{counts[one]:,} {one}" for one in sorted(counts)))
    left = ", ".join(f"{found.left_out[one]:,} {words}" for one, words in REASONS.items() if found.left_out.get(one))
    lines.append(f"  {'trains':<8}{found.trainable:,}" + (f"; not: {left}" if left else ""))
    lines.append(f"  {'gate':<8}{found.sentence}")
    if not found.authorised:
        platform = found.scope.partition(":")[0]
        lines.append(f"  Nobody authorised training on {platform}'s messages: see `redraft training authorize --help`.")
    return "\n".join(lines)


def stats_document(found: ScopeStats) -> dict[str, Any]:
    """One scope's figures as JSON."""
    day = found.decides_on.isoformat() if found.decides_on else None
    return {**asdict(found), "per_day": round(found.per_day, 3), "decides_on": day, "sentence": found.sentence}
