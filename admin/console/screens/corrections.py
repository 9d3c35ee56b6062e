"""The review queue: what people corrected, one pair after the other, with the keys of a person who has many to do.

What is private is covered until it is opened, and the opening is a line of the ledger; reading ahead opens nothing.
How decisions are made is :mod:`admin.console.screens.deciding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from admin.console import words
from admin.console.data import corrections as data
from admin.console.screens.deciding import DecidingScreen
from admin.console.widgets.dialogs import Choose, Field, Form
from admin.console.widgets.pair_texts import PairTexts
from admin.console.widgets.table import Column, LiveTable, Row
from storage.errors import NotPermitted, RedraftError
from storage.pair_queries import Order, PairLine

_ORDERS: tuple[tuple[Order, str], ...] = (
    ("newest", "newest first"),
    ("oldest", "oldest first"),
    ("author", "by author"),
    ("largest", "largest change first"),
    ("smallest", "smallest change first"),
)
_WAITING = {"state": "pending"}
#: Pairs after the one under the cursor that are read before anybody asks for them.
_AHEAD = 3
_KEPT = 64


class CorrectionsScreen(DecidingScreen):
    """See the file."""

    KEY = "corrections"
    ABOUT = (
        "Pairs that wait for a decision: at the left the conversation, at the right what the model wrote and what the "
        "person made of it; struck out is what they took away, underlined what they put in. a approves and goes on, x "
        "rejects with a reason (a digit takes one that is offered), e edits, space goes on without deciding, u takes "
        "the last decision back. f filters, s sorts, A and X decide on all that the filter leaves, after saying how "
        "many. Of a pair that was edited the last version waits here; o shows the one before. A private conversation "
        "is covered until Enter opens it; the ledger keeps that."
    )
    CHANGES = frozenset({"approve", "reject", "edit", "undo", "approve_all", "reject_all"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "approve", "Approve"),
        Binding("x", "reject", "Reject"),
        Binding("e", "edit", "Edit"),
        Binding("space", "skip", "Skip"),
        Binding("u", "undo", "Undo"),
        Binding("f", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("A", "approve_all", "All…", tooltip="Approve all that the filter leaves"),
        Binding("X", "reject_all", "Reject all", show=False, tooltip="Reject all that the filter leaves"),
        Binding("enter", "uncover", "Open", show=False, tooltip="Open a private conversation; the ledger keeps it"),
        Binding("o", "before", "Version before", show=False, tooltip="The pair that this one replaces"),
        Binding("escape", "clear_filter", "All pairs", show=False),
        Binding("y", "copy", "Copy id", show=False),
        Binding("K", "scroll_texts(-1)", "Texts up", show=False),
        Binding("J", "scroll_texts(1)", "Texts down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._filters = dict(_WAITING)
        #: Public when the list was read, and private when their texts were.
        self._private: set[str] = set()
        self._total = 0

    def body(self) -> ComposeResult:
        """The queue over the two texts."""
        with Vertical(classes="pane", id="queue-pane") as pane:
            pane.border_title = "To review"
            yield LiveTable(
                Column("age", 6, right=True),
                Column("state", 10, from_width=90),
                Column("author", 16),
                Column("change", 7, right=True),
                Column("origin", 8),
                Column("split", 8, from_width=110),
                Column("from", 22, from_width=110),
                Column("begins", 20, flexible=True),
                id="queue",
            )
        yield PairTexts(id="texts")

    def on_mount(self) -> None:
        """The keys work on the queue."""
        self.query_one(LiveTable).focus()

    # Showing ------------------------------------------------------------------------------------------------------

    def question(self) -> Callable[[], tuple[int, data.Queue]]:
        """The filter and the order that hold now, and the number of the look."""
        self._looks += 1
        asked, look = self._asked, self._looks
        return lambda: (look, data.queue(self.store, asked))

    def show(self, found: tuple[int, data.Queue]) -> None:
        """The queue; the texts of the pair under the cursor are looked at anew."""
        look, queue = found
        if queue.asked != self._asked:
            return
        before, self._lines = self._lines, {line.id: line for line in queue.lines}
        for pair_id, line in self._lines.items():
            # Somebody has decided on it, it was edited, or its channel is private now: what was read is out of date.
            if before.get(pair_id) != line:
                self._shown.pop(pair_id, None)
                self._private.discard(pair_id)
        # Written before this look, and so out of the queue by itself, or back in it by somebody else's hand.
        self._gone = {pair_id: done for pair_id, done in self._gone.items() if done is None or done >= look}
        self._total = queue.total
        self.sync()
        self._read_ahead()

    def sync(self) -> None:
        """The queue without what was decided here; then the texts."""
        lines = [line for line in self._lines.values() if line.id not in self._gone]
        table = self.query_one(LiveTable)
        table.sync([self._row(line) for line in lines], more=self._total > len(self._lines))
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        left = max(0, self._total - len(self._gone.keys() & self._lines.keys()))
        told = "" if self._filters == _WAITING else f": {self.filter_told()}"
        what = "To review" if self._asked.wanted.state == "pending" else "Pairs"
        order = dict(_ORDERS)[self._asked.order]
        self.query_one("#queue-pane").border_title = Text(f"{what} ({left:,}){words.line_of(told, 60)}, {order}")
        self._show_texts()

    def _row(self, line: PairLine) -> Row:
        from admin.pairs_view import place

        private = line.platform != "file" and not line.public
        begins = words.line_of(line.beginning, 160) if not private else Text("private, covered", "dim italic")
        return Row(
            line.id,
            (
                words.ago(line.created_at, self.store.now()),
                words.state(line.state),
                words.line_of(line.author or line.author_id or line.source or "–", 40),
                f"{line.distance:.0%}" if line.distance is not None else "–",
                line.origin,
                line.split,
                place(line),
                begins,
            ),
        )

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self._show_texts()
        self._read_ahead()

    @on(LiveTable.More)
    def _more(self) -> None:
        if self._total > len(self._lines):
            wanted = len(self._lines) + data.PAGE
            if self._asked.rows < wanted:
                self._asked = replace(self._asked, rows=wanted)
                self.reload()

    def is_covered(self, line: PairLine) -> bool:
        """See :func:`admin.console.data.corrections.covered`."""
        return line.id in self._private or data.covered(line, self.store.by)

    def _show_texts(self) -> None:
        line, texts = self.current_line(), self.query_one(PairTexts)
        shown = self._shown.get(line.id) if line is not None else None
        if shown is not None:
            texts.show(shown)
        elif not self.loaded:
            texts.say("Looking …")
        elif line is None:
            texts.say("Nothing waits for a decision." if self._filters == _WAITING else "No pair is so.")
        elif self.is_covered(line):
            texts.say("A private conversation. Enter opens it; the ledger keeps that you did.")
        else:
            texts.say("Reading …")

    @work(group="texts", exclusive=True)
    async def _read_ahead(self) -> None:
        """Read the pair under the cursor and the next few; private ones only when somebody opens them."""
        table = self.query_one(LiveTable)
        at = table.cursor_row
        for pair_id in table.keys[at : at + 1 + _AHEAD]:
            line = self._lines.get(pair_id)
            if line is not None and pair_id not in self._shown and not self.is_covered(line):
                await self._read(pair_id)

    async def _read(self, pair_id: str) -> None:
        try:
            shown = await self.ask(lambda: data.open_pair(self.store, pair_id))
        except NotPermitted:
            self._private.add(pair_id)
        except RedraftError as error:
            self.console_app.refused(error)
            return
        else:
            self._shown[pair_id] = shown
            while len(self._shown) > _KEPT:
                del self._shown[next(iter(self._shown))]
        if self.query_one(LiveTable).current == pair_id:
            self._show_texts()

    def action_scroll_texts(self, by: int) -> None:
        """A page of the texts up or down, without leaving the queue."""
        self.query_one(PairTexts).page(by)

    def go_to(self, pair_id: str) -> None:
        """Show one pair, whatever its state."""
        self._wanted_row = pair_id
        self._set_filters({"pair": pair_id})

    def action_before(self) -> None:
        """The pair that the one under the cursor replaces."""
        line = self.current_line()
        shown = self._shown.get(line.id) if line is not None else None
        if shown is not None and shown.pair.supersedes:
            self.go_to(shown.pair.supersedes)
        elif shown is not None:
            self.notify("It replaces no other.", severity="warning")

    # Filters ------------------------------------------------------------------------------------------------------

    def filter_told(self) -> str:
        """The filter in words."""
        return ", ".join(f"{name} {value}" for name, value in self._filters.items())

    @work(group="ask")
    async def action_filter(self) -> None:
        """Which pairs."""
        kept = self._filters.get
        fields = [
            Field("state", "State", kept("state", ""), "pending, approved, rejected; empty is any"),
            Field("scope", "Scope", kept("scope", ""), "default, slack:TEAM, slack:TEAM/CHANNEL"),
            Field("platform", "Platform", kept("platform", ""), "file, slack, discord"),
            Field("channel", "Channel", kept("channel", ""), "its id"),
            Field("author", "Author", kept("author", ""), "slack:U01AB, local:maria"),
            Field("origin", "Origin", kept("origin", ""), "blind, edited, imported, case"),
            Field("text", "Words in the text", kept("text", ""), "private conversations are not looked into"),
        ]

        async def choose(said: dict[str, str]) -> None:
            self._set_filters({name: value for name, value in said.items() if value})

        await self.app.push_screen_wait(Form("Which pairs", fields, does=choose))

    def _set_filters(self, filters: dict[str, str]) -> None:
        """Show other pairs.

        Raises:
            RedraftError: one of the filters is none.
        """
        wanted = data.filter_of(self.store, filters)
        self._filters = filters
        self._asked = replace(self._asked, wanted=wanted, rows=data.PAGE)
        self.reload()

    def action_clear_filter(self) -> None:
        """What waits, all of it."""
        self._set_filters(dict(_WAITING))

    @work(group="ask")
    async def action_sort(self) -> None:
        """In which order."""
        chosen = await self.app.push_screen_wait(Choose("In which order", _ORDERS, self._asked.order))
        for order, _ in _ORDERS:
            if order == chosen:
                self._asked = replace(self._asked, order=order, rows=data.PAGE)
                self.reload()

    def action_copy(self) -> None:
        """Copy the id."""
        self.console_app.copy(self.query_one(LiveTable).current)
