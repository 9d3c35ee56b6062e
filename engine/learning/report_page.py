"""A run's report as one self-contained HTML page: for people who would rather look than read tables in a terminal.

Plain values in, text out. Nothing is loaded from anywhere and nothing runs in it, which its own content security policy
forbids too; whatever people or models wrote is escaped, without invisible characters. It reads on a phone and in the
dark. It knows no database and no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from engine.learning.charts import Line, line_chart
from engine.learning.differences import difference
from engine.learning.heldout import Held
from engine.scoring.bootstrap import Interval
from engine.scoring.gate import LABELS, GateReport, Table
from engine.scoring.measuring import COLUMNS
from engine.text.safety import visible

#: Held-out conversations that are shown, those whose summary changed most first.
MOST_EXAMPLES = 20
#: Characters of a conversation, and of a summary or reference, that are shown.
_DIALOGUE, _TEXT = 6_000, 4_000
_SYSTEMS = (
    ("candidate", "candidate"),
    ("active", "active"),
    ("base", "base"),
    ("trivial", "first three turns"),
    ("people", "people"),
)

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2229;--soft:#5b6573;--page:#fff;--box:#f5f6f8;--line:#d9dde3;--grid:#0000001c;
--better:#11693c;--worse:#a4262c;--unsure:#7a5200;--ins:#c9efd4;--del:#f8d3d0}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--page:#14171c;--box:#1d2229;--line:#333b46;
--grid:#ffffff22;--better:#5fd394;--worse:#ff8a86;--unsure:#e3b04b;--ins:#1c4a2e;--del:#5a2422}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:68rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}
.verdict{display:inline-block;padding:.1rem .6rem;border:2px solid;border-radius:1rem;font-weight:600}
.better{color:var(--better)}.worse{color:var(--worse)}.inconclusive{color:var(--unsure)}
.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}dt{color:var(--soft)}dd{margin:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td small{color:var(--soft)}
.example{border-top:1px solid var(--line);padding:.5rem 0}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
@media (max-width:40rem){.pair,dl{grid-template-columns:1fr}dt{margin-top:.3rem}}
.pair>div{background:var(--box);border-radius:.5rem;padding:.6rem .8rem}
.pair p,details p{margin:.25rem 0;white-space:pre-wrap}
ins{background:var(--ins);text-decoration:none;border-radius:.2rem}
del{background:var(--del);border-radius:.2rem}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft)}
pre{white-space:pre-wrap;font:inherit;background:var(--box);border-radius:.5rem;padding:.6rem .8rem;margin:.3rem 0}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One held-out conversation with the summary that it has and the one that it would have."""

    held: Held
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that a report shows.

    Attributes:
        title: its heading.
        facts: what the run was, as label and value.
        settings: of the fine-tune.
        training, validation: step and loss, in nats a target token.
        gate: the newest evaluation; None before one.
        before: what wrote the summaries on the left, in words.
        examples: any number; the most changed are shown. None of a private conversation: nobody knows who looks.
        private: how many private conversations the figures are of besides.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    training: Sequence[tuple[float, float]] = ()
    validation: Sequence[tuple[float, float]] = ()
    gate: GateReport | None = None
    before: str = "base"
    examples: Sequence[Example] = ()
    private: int = 0


def render(page: Page) -> str:
    """The page's HTML."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
        f"<title>{_safe(page.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_safe(page.title)}</h1>",
        *_verdict(page.gate),
        _facts(page.facts),
        *_settings(page.settings),
        "<h2>Curves</h2>",
        line_chart(
            [Line("training", page.training), Line("validation", page.validation, marks=True)],
            title="Loss over the steps of the fine-tune",
            x="step",
            y="loss, nats a token",
        ),
        *_figures(page.gate),
        *_examples(page),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _verdict(gate: GateReport | None) -> list[str]:
    if gate is None:
        return ['<p class="soft">Not evaluated yet.</p>']
    parts = [f'<p><span class="verdict {gate.verdict}">{gate.verdict}</span></p><ul>']
    parts += [f"<li>{_safe(reason)}</li>" for reason in gate.reasons]
    parts += [f'<li class="soft">{_safe(note)}</li>' for note in gate.notes]
    return [*parts, "</ul>"]


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_safe(label)}</dt><dd>{_safe(value)}</dd>" for label, value in facts if value)
    return f"<dl>{rows}</dl>" if rows else ""


def _settings(settings: Mapping[str, object]) -> list[str]:
    if not settings:
        return []
    return [
        "<details><summary>Settings</summary>",
        _facts((name, str(value)) for name, value in settings.items()),
        "</details>",
    ]


def _figures(gate: GateReport | None) -> list[str]:
    if gate is None:
        return []
    parts = ["<h2>Figures</h2>"]
    tables = (
        (gate.blind, "Blind references", "Written without a draft in sight; only these decide."),
        (gate.edited, "Edited references", "Edits of a draft favour whatever wrote the draft; they decide nothing."),
    )
    for table, title, why in tables:
        if table.conversations:
            count = f"{_counted(table.conversations, 'conversation')}, {_counted(table.references, 'reference')}."
            parts += [f"<h3>{title}</h3>", f'<p class="soft">{why} {count}</p>', _table(table, gate.against)]
    if gate.references is not None:
        found = gate.references
        parts.append(
            f'<p class="soft">The blind references fit their own conversations better than {found.fit:.0f}% of others; '
            f"{found.misfits:.0f}% fit no better than chance, {found.novelty:.0f}% of their words are their own.</p>"
        )
    parts.append('<p class="soft">In brackets: 95% interval, paired bootstrap over conversations.</p>')
    return parts


def _table(table: Table, against: str) -> str:
    systems = [(key, label) for key, label in _SYSTEMS if key in table.systems]
    head = "".join(f"<th>{label}</th>" for _, label in systems)
    rows = []
    for name in COLUMNS:
        cells = "".join(f"<td>{_cell(table.systems[key].get(name), name)}</td>" for key, _ in systems)
        rows.append(
            f"<tr><th scope=row>{escape(LABELS[name])}</th>{cells}"
            f"<td>{_cell(table.differences.get(name), name, sign='+')}</td></tr>"
        )
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}<th>candidate − {escape(against)}</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(found: Interval | None, name: str, *, sign: str = "") -> str:
    if found is None:
        return ""
    form = f"{sign}.{2 if name == 'length_ratio' else 1}f"
    return f"{found.mean:{form}} <small>[{found.low:{form}}, {found.high:{form}}]</small>"


def _examples(page: Page) -> list[str]:
    compared = [(one, difference(_shown(one.before), _shown(one.after))) for one in page.examples]
    ranked = sorted(compared, key=lambda found: found[1].distance, reverse=True)[:MOST_EXAMPLES]
    if not ranked and not page.private:
        return []
    parts = ["<h2>Before and after</h2>"]
    if ranked:
        shown = f"{len(ranked)} of {_counted(len(page.examples), 'held-out conversation')}"
        parts.append(f'<p class="soft">{shown}, those whose summary changed most first.</p>')
    if page.private:
        left_out = _counted(page.private, "private conversation") + (" is" if page.private == 1 else " are")
        parts.append(
            f'<p class="soft">{left_out} in the figures and left out here, because a page cannot record who reads it; '
            "`redraft pairs show` shows the pairs of such, with a line in the ledger.</p>"
        )
    for one, found in ranked:
        left, right = _marked(found.diff, 1, "del"), _marked(found.diff, 2, "ins")
        parts.append(
            f'<section class="example"><div class="pair"><div><b>{_safe(page.before)}</b><p>{left}</p></div>'
            f"<div><b>candidate</b><p>{right}</p></div></div>{_references(one.held)}"
            f"<details><summary>Conversation</summary><pre>{_safe(one.held.dialogue, _DIALOGUE)}</pre></details>"
            "</section>"
        )
    return parts


def _marked(changes: Iterable[Sequence[str]], which: int, mark: str) -> str:
    """One side of a comparison: 1 is the old text, 2 the new one, its own words marked."""
    parts = [
        escape(change[which]) if change[0] == "equal" else f"<{mark}>{escape(change[which])}</{mark}>"
        for change in changes
        if change[which]
    ]
    return "".join(parts) or '<span class="soft">(nothing)</span>'


def _references(held: Held) -> str:
    parts = [
        f"<p><b>{kind}</b> {_safe(text, _TEXT)}</p>"
        for kind, texts in (("blind", held.blind), ("edited", held.edited))
        for text in texts
    ]
    return f"<details><summary>What people wrote</summary>{''.join(parts)}</details>" if parts else ""


def _shown(text: str) -> str:
    return _cut(visible(text), _TEXT)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def _safe(text: str, limit: int = 500) -> str:
    return escape(_cut(visible(text), limit))
