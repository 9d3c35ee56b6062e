"""A table that is brought up to date in place: the selection and the scroll position stay where they are.

Rows have keys. What changed in a row is changed in its cells; where rows came or went, the cursor stays on the row
that it was on, and the row on the line of the screen that it was on. Columns have fixed widths but for one, which
takes what is left; those that a narrow terminal has no room for are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from admin.console.defects import Guarded

Cell = Text | str

#: Rows beyond those that can be seen that are put into the table at once; the others follow between keys.
_AT_ONCE = 40
_GROW_EVERY_S = 0.03


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        width: in cells; of the flexible one the least.
        flexible: takes what the others leave.
        from_width: the least width of the table in which it is shown.
        right: figures are on the right.
    """

    label: str
    width: int
    flexible: bool = False
    from_width: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row's key and a cell for every column, those that are left out included."""

    key: str
    cells: Sequence[Cell]


class LiveTable(Guarded, DataTable[Cell], inherit_bindings=False):
    """See the file. ``End`` in the last rows asks for more with :class:`More`, where there is more."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Without DataTable's own: Enter is for the screen, which says in its footer what it does.
        Binding("down,j", "cursor_down", "Down", show=False),
        Binding("up,k", "cursor_up", "Up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "A page down", show=False),
        Binding("pageup,ctrl+b", "page_up", "A page up", show=False),
        Binding("home,g", "scroll_top", "First", show=False),
        Binding("end,G", "scroll_bottom", "Last", show=False),
    ]

    class More(Message):
        """The cursor is near the end of what is loaded."""

        def __init__(self, table: LiveTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LiveTable:
            """The table that wants more."""
            return self.table

    class Moved(Message):
        """The cursor is on another row than before; sent once a row, whatever was redrawn."""

        def __init__(self, table: LiveTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> LiveTable:
            """The table whose cursor moved."""
            return self.table

    def __init__(self, *columns: Column, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, cursor_type="row", zebra_stripes=False, cell_padding=0)
        self._specs = columns
        self._rows: list[Row] = []
        self._shown: tuple[int, ...] = ()
        self._wide = [spec.width for spec in columns]
        self._laid_out = 0
        self._on = ""
        self._filling = self._growing = False
        self.has_more = False

    @property
    def current(self) -> str:
        """The key of the row under the cursor, empty where there is none."""
        return self._rows[self.cursor_row].key if 0 <= self.cursor_row < len(self._rows) else ""

    @property
    def laid_out(self) -> bool:
        """Whether it has had its place on the screen."""
        return bool(self._laid_out)

    @property
    def keys(self) -> list[str]:
        """The keys of all rows, in order."""
        return [row.key for row in self._rows]

    def on_resize(self, event: events.Resize) -> None:
        """Lay the columns out anew where the width is another."""
        if event.size.width != self._laid_out and event.size.width:
            self._lay_out(event.size.width)

    def sync(self, rows: Sequence[Row], *, more: bool = False) -> None:
        """Show these rows."""
        before, self.has_more = self._rows, more
        if not self._laid_out:
            self._rows = list(rows)
            if self.size.width:
                self._lay_out(self.size.width)
            return
        if [row.key for row in before] == [row.key for row in rows]:
            self._rows = list(rows)
            self._change(before, rows)
            return
        appended = len(rows) > len(before) > 0 and all(
            old.key == new.key for old, new in zip(before, rows, strict=False)
        )
        if appended:
            self._rows = list(rows)
            self._change(before, rows)
            self._grow_on()
            return
        self._fill(list(rows))

    def _change(self, before: Sequence[Row], rows: Sequence[Row]) -> None:
        """Bring the cells of rows that were there already up to date."""
        for at, (old, new) in enumerate(zip(before[: self.row_count], rows, strict=False)):
            if old.cells == new.cells:
                continue
            for place, column in enumerate(self._shown):
                if old.cells[column] != new.cells[column]:
                    self.update_cell_at(Coordinate(at, place), self._cell(new, column))

    def select(self, key: str) -> bool:
        """Put the cursor on a row; whether it is there."""
        keys = self.keys
        if key not in keys:
            return False
        self._grow(keys.index(key) + self._page + 1)
        self.move_cursor(row=keys.index(key))
        return True

    def _lay_out(self, width: int) -> None:
        self._laid_out = width
        room = width - self.styles.scrollbar_size_vertical
        self._shown = tuple(at for at, spec in enumerate(self._specs) if width >= spec.from_width)
        fixed = sum(self._specs[at].width + 1 for at in self._shown if not self._specs[at].flexible)
        with self._quietly():
            self.clear(columns=True)
            for at in self._shown:
                spec = self._specs[at]
                wide = max(spec.width, room - fixed - 1) if spec.flexible else spec.width
                self._wide[at] = wide
                label = Text(spec.label.rjust(spec.width) if spec.right else spec.label, no_wrap=True, end="")
                # The gap between columns is part of the width: padding on both sides would cost two.
                self.add_column(label, width=wide + 1, key=str(at))
        self._fill(self._rows)

    def _fill(self, rows: list[Row]) -> None:
        on, at = self._on, self.cursor_row
        line = at - round(self.scroll_y)
        before = [row.key for row in self._rows]
        self._rows = rows
        keys = [row.key for row in rows]
        target = 0
        if on in keys:
            target = keys.index(on)
        elif on and on in before:
            # The one it was on is gone: the next of those that were after it, else the last.
            left = [key for key in before[before.index(on) + 1 :] if key in set(keys)]
            target = keys.index(left[0]) if left else max(0, len(keys) - 1)
        with self._quietly(), self.app.batch_update():
            self.clear()
            self._grow(target + self._page + _AT_ONCE)
            if rows:
                self.move_cursor(row=target, scroll=False)
        self.call_after_refresh(self._settle, target, line)
        self._grow_on()
        self._tell()

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self.header_height)

    def _grow(self, until: int) -> None:
        """Have at least so many of the rows in the table."""
        for row in self._rows[self.row_count : until]:
            self.add_row(*(self._cell(row, column) for column in self._shown), key=row.key)

    def _grow_on(self) -> None:
        """Put the rows that nobody sees yet into the table a few at a time, between keys."""
        if self.row_count < len(self._rows) and not self._growing:
            self._growing = True
            self.set_timer(_GROW_EVERY_S, self._grow_some)

    def _grow_some(self) -> None:
        self._growing = False
        self._grow(self.row_count + _AT_ONCE)
        self._grow_on()

    def action_scroll_bottom(self) -> None:
        """The last row, which may not be in the table yet."""
        self._grow(len(self._rows))
        super().action_scroll_bottom()

    def _settle(self, target: int, line: int) -> None:
        """Back to where the row was on the screen."""
        self.scroll_to(y=max(0, target - min(max(0, line), self._page - 1)), animate=False, force=True)

    def _cell(self, row: Row, column: int) -> Cell:
        cell, width = row.cells[column], self._wide[column]
        right = self._specs[column].right
        if isinstance(cell, str):
            if len(cell) > width:
                cell = Text(cell, no_wrap=True, overflow="ellipsis", end="")
                cell.truncate(width, overflow="ellipsis")
                return cell
            # Put to the right by hand: rich takes the gap for white space that it may drop.
            return Text(cell.rjust(width) if right else cell, no_wrap=True, end="")
        if cell.cell_len > width:
            cell = cell.copy()
            cell.truncate(width, overflow="ellipsis")
        elif right:
            cell = cell.copy()
            cell.pad_left(width - cell.cell_len)
        return cell

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Tell of a cursor that a person moved."""
        event.stop()
        if not self._filling:
            self._tell()

    def _tell(self) -> None:
        current = self.current
        if current != self._on:
            self._on = current
            self.post_message(self.Moved(self, current))
        if self.has_more and self.cursor_row >= len(self._rows) - 40:
            self.post_message(self.More(self))

    def _quietly(self) -> _Quietly:
        return _Quietly(self)


class _Quietly:
    """While rows are put anew, the cursor passes over some that nobody chose."""

    def __init__(self, table: LiveTable) -> None:
        self._table = table

    def __enter__(self) -> None:
        self._table._filling = True

    def __exit__(self, *_: object) -> None:
        self._table._filling = False
