"""Small plots for a terminal: curves in braille dots with axes, and a bar for each day. Figures in, lines of text out.

Series are told apart by a sign on their line and in the legend, not by their colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Series:
    """A curve.

    Attributes:
        points: ``(x, y)``, in order of x.
        marked: every point gets the sign, rather than a line through them: for few points beside many.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = "cyan"
    sign: str = "─"
    marked: bool = False


class Plot(Widget):
    """Curves over one pair of axes.

    Args:
        form: how figures at the left axis are written.
        empty: what stands there while there is no point.
    """

    series: reactive[tuple[Series, ...]] = reactive(())

    def __init__(
        self, *, form: str = ".2f", unit: str = "", empty: str = "", id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._form, self._unit, self._empty = form, unit, empty

    def render(self) -> Text:
        """The plot at the widget's size."""
        return curves(
            self.series, self.size.width, self.size.height, form=self._form, unit=self._unit, empty=self._empty
        )


def curves(
    series: Sequence[Series], width: int, height: int, *, form: str = ".2f", unit: str = "", empty: str = ""
) -> Text:
    """Curves as text of a size: the plot, its axes with figures, and a legend under it."""
    points = [point for one in series for point in one.points if math.isfinite(point[1])]
    if not points or width < 16 or height < 4:
        return Text(empty, style="dim")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    left, right = min(xs), max(max(xs), min(xs) + 1)
    labels = [f"{high:{form}}", f"{(low + high) / 2:{form}}", f"{low:{form}}"]
    margin = max(len(one) for one in labels) + 1
    wide, tall = width - margin - 1, height - 3
    dots = [[0] * wide for _ in range(tall)]
    styles = [[""] * wide for _ in range(tall)]
    signs: dict[tuple[int, int], tuple[str, str]] = {}

    def at(x: float, y: float) -> tuple[int, int]:
        across = round((x - left) / (right - left) * (2 * wide - 1))
        down = round((high - y) / (high - low) * (4 * tall - 1))
        return min(max(across, 0), 2 * wide - 1), min(max(down, 0), 4 * tall - 1)

    for one in series:
        last: tuple[int, int] | None = None
        for x, y in one.points:
            if not math.isfinite(y):
                last = None
                continue
            here = at(x, y)
            if one.marked:
                signs[here[1] // 4, here[0] // 2] = (one.sign, one.colour)
                continue
            for across, down in _between(last or here, here):
                dots[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
                styles[down // 4][across // 2] = one.colour
            last = here
    text = Text(no_wrap=True, end="")
    for row in range(tall):
        label = labels[0] if row == 0 else labels[2] if row == tall - 1 else labels[1] if row == tall // 2 else ""
        text.append(f"{label:>{margin}}", style="dim").append("┤" if label else "│", style="dim")
        run, style = "", ""
        for column in range(wide):
            sign, colour = signs.get((row, column), ("", styles[row][column]))
            dot = dots[row][column]
            # Cells of one colour in one piece: a piece each would take most of the time of a frame.
            if colour != style and run:
                text.append(run, style=style)
                run = ""
            style = colour
            run += sign or (chr(0x2800 + dot) if dot else " ")
        text.append(run + "\n", style=style)
    text.append(" " * margin + "└" + "─" * wide + "\n", style="dim")
    first, last_label = f"{left:,.0f}", f"{right:,.0f}{unit}"
    text.append(" " * (margin + 1) + first + last_label.rjust(wide - len(first)) + "\n", style="dim")
    legend = Text("  ").join(
        Text.assemble((f"{one.sign} ", one.colour), (one.name, "")) for one in series if one.points
    )
    text.append(" " * (margin + 1)).append(legend)
    return text


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots of a straight line."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(steps + 1)
    ]


def bars(values: Sequence[float], width: int, height: int, *, colour: str = "cyan", form: str = ".0f") -> Text:
    """A bar for each value, the newest at the right, the highest figure at the left; as many as there is room for."""
    top = max(values, default=0.0)
    label = f"{top:{form}}"
    room = max(1, width - len(label) - 1)
    each = 2 if len(values) * 2 <= room else 1
    shown = list(values)[-(room // each) :]
    text = Text(no_wrap=True, end="")
    for row in range(height):
        text.append((label if row == 0 else "0" if row == height - 1 else "").rjust(len(label)), style="dim")
        text.append("┤" if row in (0, height - 1) else "│", style="dim")
        for value in shown:
            eighths = round(value / top * 8 * height) if top > 0 else 0
            if value > 0:
                eighths = max(1, eighths)
            here = min(8, max(0, eighths - 8 * (height - 1 - row)))
            text.append(_EIGHTHS[here] + " " * (each - 1), style=colour)
        if row < height - 1:
            text.append("\n")
    return text
