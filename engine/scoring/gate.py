"""The gate: whether a candidate is better than what it would replace, worse, or whether that cannot be told.

Figures in, a verdict with its reasons out; it holds no word of anybody's, and knows no database and no model. Only
blind references decide: an edit of a system's own draft favours that system, so edited ones are reported apart.

The rules, each on the paired difference to what is active (to the base where nothing is) with its 95% interval:

- *Inconclusive* with fewer than 60 conversations that have a blind reference, or with references that do not fit their
  conversations (:mod:`engine.scoring.references`): whoever poisons the pairs before the split poisons both sides.
- *Worse*: ROUGE-L or content F1 is below by more than a point even at the favourable end of the interval. Equal systems
  come there about once in a thousand times, not once in forty as with an interval merely below 0. Also worse: clearly
  more than 5 points more empty or looping summaries.
- *Better*: ROUGE-L and content F1 are *not worse* (the mean at most a point below, and the interval not wholly below
  0), and one of them has its interval wholly above 0. To show of two equals that the whole interval lies above -1 would
  take several hundred conversations; the clear gain that is asked for beside it is what keeps chance out. And none of
  these has gone up: empty or looping summaries (by more than 2 points), unsupported numbers and names (clearly, by more
  than 3 points), novelty.
- *Novelty is up* when it is clearly above what is active **and** clearly above people's own in these references. A base
  that only copies has almost none, people have a fifth: learning to write as they do must not count against a
  candidate, inventing more than they do must.
- A candidate that would do for any conversation is never better: its content F1 against its own references must be
  clearly above what it reaches against those of other conversations. A parrot of the house style is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.scoring.bootstrap import RESAMPLES, SEED, Column, Interval, differences, intervals
from engine.scoring.measuring import COLUMNS, OWN_CONTENT, Measured, System
from engine.scoring.references import ReferenceCheck

Verdict = Literal["better", "worse", "inconclusive"]
Against = Literal["active", "base"]

#: Conversations with a blind reference that a verdict takes: a gain of 4 points is then seen with 88% power.
MIN_BLIND = 60
#: Points below zero that a mean may be and still count as not worse, and that clearly worse begins below.
TOLERATED = 1.0
#: Points that the share of empty or looping summaries may rise, and above which, clearly, a candidate is broken.
BROKEN_TOLERATED, BROKEN = 2.0, 5.0
#: Points that the share of unsupported numbers and names may clearly rise.
UNSUPPORTED_TOLERATED = 3.0

#: What the figures are called in sentences and tables.
LABELS: Mapping[str, str] = {
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "content_f1": "content F1",
    "novelty": "novelty %",
    "length_ratio": "length ratio",
    "unsupported": "unsupported %",
    "empty": "empty %",
    "looping": "looping %",
    OWN_CONTENT: "own content F1",
}
_DECIDING = ("rougeL", "content_f1")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Figures against references of one kind.

    Attributes:
        conversations, references: how many.
        systems: by system and figure; None where a figure applies to no summary. ``people`` has those of the references
            themselves: novelty, and numbers and names not in the conversation.
        differences: candidate less what it is held against, by figure.
    """

    conversations: int = 0
    references: int = 0
    systems: Mapping[str, Mapping[str, Interval | None]] = field(default_factory=dict)
    differences: Mapping[str, Interval | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate says; :meth:`as_json` is what is stored.

    Attributes:
        against: whether the candidate is held against what is active or, where nothing is, the base.
        reasons: plain sentences on why the verdict is what it is.
        notes: plain sentences on what else should be known before anybody decides.
        missing: conversations with a blind reference that a verdict still lacks.
        minimum: how many it takes.
        references: what was found about the blind references; None where there are none.
    """

    verdict: Verdict
    against: Against
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    missing: int = 0
    minimum: int = MIN_BLIND
    blind: Table = field(default_factory=Table)
    edited: Table = field(default_factory=Table)
    references: ReferenceCheck | None = None
    resamples: int = RESAMPLES
    seed: int = SEED

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it; figures to three decimals."""
        return {"format": _FORMAT, **_rounded(asdict(self))}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> GateReport:
        """The report that :meth:`as_json` made.

        Raises:
            ValueError: it is of another format.
        """
        if found.get("format") != _FORMAT:
            raise ValueError("not a gate's report of this format")
        check = found["references"]
        return cls(
            verdict=found["verdict"],
            against=found["against"],
            reasons=tuple(found["reasons"]),
            notes=tuple(found["notes"]),
            missing=found["missing"],
            minimum=found["minimum"],
            blind=_table(found["blind"]),
            edited=_table(found["edited"]),
            references=ReferenceCheck(**(check | {"faults": tuple(check["faults"])})) if check else None,
            resamples=found["resamples"],
            seed=found["seed"],
        )


def judge(
    blind: Measured,
    edited: Measured | None = None,
    *,
    against: Against,
    minimum: int = MIN_BLIND,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> GateReport:
    """The verdict on a candidate.

    Args:
        blind: figures against blind references, of ``candidate`` and of what it is held ``against`` at least.
        edited: figures against edited references, for the report.
        against: ``active``, or ``base`` where nothing is active.
        minimum: conversations with a blind reference that a verdict takes.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    table, beside = _tabled(blind, against, resamples, seed)
    other = _tabled(edited, against, resamples, seed)[0] if edited is not None else Table()
    missing = max(0, minimum - table.conversations)
    name = "what is active" if against == "active" else "the base"
    verdict, reasons = _verdict(table, beside, blind.check, missing, minimum, name)
    return GateReport(
        verdict=verdict,
        against=against,
        reasons=tuple(reasons),
        notes=tuple(_notes(table, against)),
        missing=missing,
        minimum=minimum,
        blind=table,
        edited=other,
        references=blind.check,
        resamples=resamples,
        seed=seed,
    )


def _tabled(
    measured: Measured, against: System, resamples: int, seed: int
) -> tuple[Table, Mapping[str, Interval | None]]:
    """The table of figures, and how far the candidate is above people in those that people's references have too."""
    columns: dict[tuple[str, str], Column] = {
        (system, name): column for system, figures in measured.figures.items() for name, column in figures.items()
    }
    columns |= {("people", name): column for name, column in measured.people.items()}
    ours, theirs = measured.figures.get("candidate"), measured.figures.get(against)
    if ours is not None and theirs is not None:
        columns |= {("difference", name): differences(ours[name], theirs[name]) for name in COLUMNS}
    if ours is not None:
        columns |= {("beside", name): differences(ours[name], column) for name, column in measured.people.items()}
    keys = list(columns)
    found = intervals({str(at): columns[key] for at, key in enumerate(keys)}, resamples=resamples, seed=seed)
    systems: dict[str, dict[str, Interval | None]] = {}
    for at, (system, name) in enumerate(keys):
        systems.setdefault(system, {})[name] = found[str(at)]
    difference, beside = systems.pop("difference", {}), systems.pop("beside", {})
    return Table(len(measured.conversations), measured.references, systems, difference), beside


def _verdict(
    table: Table,
    beside: Mapping[str, Interval | None],
    check: ReferenceCheck | None,
    missing: int,
    minimum: int,
    name: str,
) -> tuple[Verdict, list[str]]:
    if missing:
        return "inconclusive", [
            f"A verdict takes held-out conversations with a blind reference, {minimum} of them; there "
            f"{'is' if table.conversations == 1 else 'are'} {table.conversations}, so {missing} "
            f"{'is' if missing == 1 else 'are'} missing."
        ]
    broken = _broken(table, name)
    if broken:
        return "worse", broken
    if check is not None and not check.sound:
        return "inconclusive", list(check.faults)
    worse = [
        f"{_capital(LABELS[metric])} is clearly below {name}: {_told(found)}."
        for metric in _DECIDING
        if (found := table.differences.get(metric)) is not None and found.high < -TOLERATED
    ]
    if worse:
        return "worse", worse
    better = [metric for metric in _DECIDING if (found := table.differences.get(metric)) and found.low > 0]
    against = _in_the_way(table, beside, name)
    if better and not against:
        reasons = [
            f"{_capital(LABELS[metric])} is clearly above {name}: {_told(table.differences[metric])}."
            for metric in better
        ]
        reasons += [
            f"{_capital(LABELS[metric])} is not worse: {_told(table.differences[metric])}."
            for metric in _DECIDING
            if metric not in better
        ]
        return "better", reasons
    if not better:
        against = [
            f"{_capital(LABELS[metric])} is not clearly above {name}: {_told(table.differences.get(metric))}."
            for metric in _DECIDING
            if not any(LABELS[metric] in sentence for sentence in against)
        ] + against
    else:
        against = [
            f"{_capital(LABELS[metric])} is clearly above {name} ({_told(table.differences[metric])}), but:"
            for metric in better
        ] + against
    return "inconclusive", against


def _broken(table: Table, name: str) -> list[str]:
    """Sentences on output that is broken clearly more often."""
    return [
        f"{_capital(word)} summaries are clearly more than with {name}: {_told(found)}."
        for metric, word in (("empty", "empty"), ("looping", "looping"))
        if (found := table.differences.get(metric)) is not None and found.low > BROKEN
    ]


def _in_the_way(table: Table, beside: Mapping[str, Interval | None], name: str) -> list[str]:
    """Sentences on everything that keeps a candidate from being better, whatever it has gained."""
    found: list[str] = []
    for metric in _DECIDING:
        difference = table.differences.get(metric)
        if difference is None or difference.mean < -TOLERATED or difference.high < 0:
            found.append(f"{_capital(LABELS[metric])} may be worse than {name}: {_told(difference)}.")
    own = table.systems.get("candidate", {}).get(OWN_CONTENT)
    if own is None or own.low <= 0:
        found.append("Its summaries fit their own conversations no better than others: it says the same of all.")
    novelty, more = table.differences.get("novelty"), beside.get("novelty")
    if table.systems.get("candidate", {}).get("novelty") is None:
        found.append("Its summaries have no content words at all.")
    elif novelty is not None and novelty.low > 0 and (more is None or more.low > 0):
        found.append(
            f"Words that the conversation lacks are up on {name} ({_told(novelty)}) and more than people use "
            f"({_told(more)})."
        )
    for metric, word in (("empty", "empty"), ("looping", "looping")):
        difference = table.differences.get(metric)
        if difference is not None and difference.mean > BROKEN_TOLERATED:
            found.append(f"{_capital(word)} summaries are more than with {name}: {_told(difference)}.")
    facts = table.differences.get("unsupported")
    if facts is not None and facts.low > UNSUPPORTED_TOLERATED:
        found.append(f"Numbers and names that the conversation lacks are up on {name}: {_told(facts)}.")
    return found


def _notes(table: Table, against: Against) -> list[str]:
    """What an administrator should know beside the verdict."""
    found = []
    ours = table.systems.get("candidate", {}).get("content_f1")
    for system, label in (("trivial", "the first three turns of each conversation"), ("base", "the base")):
        theirs = table.systems.get(system, {}).get("content_f1")
        if ours and theirs and ours.mean < theirs.mean and system != against:
            found.append(f"Its content F1, {ours.mean:.1f}, is below that of {label}, {theirs.mean:.1f}.")
    return found


def _told(found: Interval | None) -> str:
    if found is None:
        return "nothing to compare"
    return f"{found.mean:+.1f} points, 95% interval {found.low:+.1f} to {found.high:+.1f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(found: Mapping[str, Any]) -> Table:
    def row(values: Mapping[str, Any]) -> dict[str, Interval | None]:
        return {name: Interval(**value) if value else None for name, value in values.items()}

    return Table(
        found["conversations"],
        found["references"],
        {system: row(values) for system, values in found["systems"].items()},
        row(found["differences"]),
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
