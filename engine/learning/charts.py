"""Small line charts as SVG, drawn without a library: for reports, and for benchmarks' plots.

Numbers and labels in, one ``<svg>`` element out. Colours are CSS variables with a fallback each, so that a page decides
on light and dark; text is escaped; nothing is loaded from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 44
#: Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MOST_POINTS = 600
#: Beyond it a figure is a failure, and no axis is drawn to it.
_LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        label: for the legend.
        points: x and y, in order of x; those that are no finite numbers are left out.
        spread: a low and a high for each point, drawn as a band, or nothing.
        marks: draw a dot at every point.
        dashed: draw it dashed, as what others are held against.
    """

    label: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[tuple[float, float]] = ()
    marks: bool = False
    dashed: bool = False


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str) -> str:
    """The chart as an ``<svg>`` element that scales to the width it is given; says so where there is nothing to draw.

    Args:
        lines: drawn in order, later ones on top.
        title: what a screen reader is told.
        x: label of the horizontal axis.
        y: label of the vertical axis.
    """
    kept = [line for line in map(_finite, lines) if line.points]
    head = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg" style="max-width:100%;height:auto;font:12px system-ui,sans-serif">'
    )
    if not kept:
        return f"{head}{_text(_WIDTH / 2, _HEIGHT / 2, 'Nothing to draw yet.', 'middle')}</svg>"
    xs = [at for line in kept for at, _ in line.points]
    ys = [value for line in kept for _, value in line.points]
    ys += [value for line in kept for pair in line.spread for value in pair]
    across, up = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT), _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [head, *_grid(across, up, x, y)]
    for number, line in enumerate(kept):
        parts.extend(_drawn(line, across, up, _COLOURS[number % len(_COLOURS)]))
    parts.extend(_legend(kept))
    return "".join(parts) + "</svg>"


class _Axis:
    """From values to places on the paper, over round numbers."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if high - low < 1e-9 * max(1.0, abs(low)):
            low, high = low - 0.5, high + 0.5
        raw = (high - low) / 5
        size = math.pow(10, math.floor(math.log10(raw)))
        self._step = next(size * factor for factor in (1, 2, 2.5, 5, 10, 20) if size * factor >= raw)
        self._low = math.floor(low / self._step) * self._step
        self._high = math.ceil(high / self._step) * self._step
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        count = round((self._high - self._low) / self._step)
        return [self._low + at * self._step for at in range(count + 1)]


def _finite(line: Line) -> Line:
    """A line without points that cannot be drawn, thinned out to what can be seen."""
    spread = line.spread if len(line.spread) == len(line.points) else ()
    kept = [
        at for at, point in enumerate(line.points) if all(map(_drawable, (*point, *(spread[at] if spread else ()))))
    ]
    step = max(1, math.ceil(len(kept) / _MOST_POINTS))
    kept = kept[::step] + ([kept[-1]] if kept and (len(kept) - 1) % step else [])
    points = [line.points[at] for at in kept]
    return Line(line.label, points, [spread[at] for at in kept] if spread else (), line.marks, line.dashed)


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= _LARGEST


def _grid(across: _Axis, up: _Axis, x: str, y: str) -> list[str]:
    grid = "var(--grid, #8884)"
    parts = []
    for value in up.ticks():
        at = up.place(value)
        parts.append(f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="{grid}"/>')
        parts.append(_text(_LEFT - 6, at + 4, f"{value:.6g}", "end"))
    for value in across.ticks():
        at = across.place(value)
        parts.append(f'<path d="M{at} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="{grid}"/>')
        parts.append(_text(at, _HEIGHT - _BOTTOM + 16, f"{value:.6g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x, "middle"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(_text(14, middle, y, "middle", f' transform="rotate(-90 14 {middle})"'))
    return parts


def _drawn(line: Line, across: _Axis, up: _Axis, colour: str) -> list[str]:
    places = [(across.place(at), up.place(value)) for at, value in line.points]
    parts = []
    if line.spread:
        edge = [f"{a} {up.place(high)}" for (a, _), (_, high) in zip(places, line.spread, strict=True)]
        edge += [f"{a} {up.place(low)}" for (a, _), (low, _) in reversed(list(zip(places, line.spread, strict=True)))]
        parts.append(f'<path d="M{"L".join(edge)}Z" fill="{colour}" fill-opacity="0.15"/>')
    path = "L".join(f"{a} {b}" for a, b in places)
    dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
    parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
    if line.marks or len(places) == 1:
        parts.extend(f'<circle cx="{a}" cy="{b}" r="3.5" fill="{colour}"/>' for a, b in places)
    return parts


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, at = [], float(_LEFT)
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<path d="M{at} 16h16" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(at + 21, 20, line.label, "start"))
        at += 34 + 7 * len(line.label)
    return parts


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="var(--ink, #444)"{more}>{escape(text)}</text>'
