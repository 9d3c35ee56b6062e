"""The review queue: what people corrected, one pair after the other, with the keys of a person who has many to do.

Approving goes on to the next pair at once; the decision is made behind it, in the order of the keys, on the pair as it
was shown. What is private is covered until it is opened, and the opening is a line of the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.data import corrections as data
from admin.console.screens.base import ConsoleScreen
from admin.console.widgets.dialogs import Choose, Confirm, Field, Form, Write
from admin.console.widgets.diff import between, dialogue
from admin.console.widgets.table import Column, LiveTable, Row
from engine.text.safety import visible
from storage.errors import InputError, RedraftError
from storage.learning_tables import PairRow
from storage.pair_filters import PairFilter
from storage.pair_queries import Order, PairLine

_REASONS = ("Says what the conversation does not", "Leaves the point out", "Not a summary", "Personal or confidential")
_ORDERS: tuple[tuple[Order, str], ...] = (
    ("newest", "newest first"),
    ("oldest", "oldest first"),
    ("author", "by author"),
    ("largest", "largest change first"),
    ("smallest", "smallest change first"),
)
#: Pairs after the one under the cursor that are read before anybody asks for them.
_AHEAD = 3
_KEPT = 64


class CorrectionsScreen(ConsoleScreen):
    """See the file."""

    KEY = "corrections"
    ABOUT = (
        "Pairs that wait for a decision: at the left the conversation, at the right what the model wrote and what the "
        "person made of it; struck out is what they took away, underlined what they put in. a approves and goes on, x "
        "rejects with a reason (a digit takes one that is offered), e edits, space goes on without deciding, u takes "
        "the last decision back. f filters, s sorts, A and X decide on all that the filter leaves, after saying how "
        "many. A private conversation is covered until Enter opens it; the ledger keeps that."
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
        Binding("escape", "clear_filter", "All pairs", show=False),
        Binding("y", "copy", "Copy id", show=False),
        Binding("K", "scroll_texts(-1)", "Texts up", show=False),
        Binding("J", "scroll_texts(1)", "Texts down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked = data.Asked(PairFilter(state="pending"))
        self._filters = {"state": "pending"}
        self._lines: dict[str, PairLine] = {}
        self._shown: dict[str, data.Shown] = {}
        #: Decided here and perhaps not yet written: they leave the queue at once.
        self._gone: set[str] = set()
        self._decided: list[PairRow] = []
        self._total = 0
        self._wanted_row = ""

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
        with Container(id="texts"):
            with VerticalScroll(classes="pane", id="left", can_focus=False) as left:
                left.border_title = "Conversation"
                yield Static(id="conversation", markup=False)
            with VerticalScroll(classes="pane", id="right", can_focus=False) as right:
                right.border_title = "Correction"
                yield Static(id="correction", markup=False)

    def on_mount(self) -> None:
        """The keys work on the queue."""
        self.query_one(LiveTable).focus()

    # Showing ------------------------------------------------------------------------------------------------------

    def question(self):  # type: ignore[no-untyped-def]
        """The filter and the order that hold now."""
        asked = self._asked
        return lambda: data.queue(self.store, asked)

    def show(self, found: data.Queue) -> None:
        """The queue; the texts of the pair under the cursor are looked at anew."""
        if found.asked != self._asked:
            return
        before, self._lines = self._lines, {line.id: line for line in found.lines}
        for pair_id, line in self._lines.items():
            # Somebody has decided on it, or it was edited: what was read of it is out of date.
            if before.get(pair_id) != line:
                self._shown.pop(pair_id, None)
        # Written by now, and so out of the queue by itself; or refused, and so back in it.
        self._gone = {pair_id for pair_id in self._gone if pair_id in self._lines and self.store.turn.locked()}
        self._total = found.total
        self._sync()
        self._read_ahead()

    def _sync(self) -> None:
        lines = [line for line in self._lines.values() if line.id not in self._gone]
        table = self.query_one(LiveTable)
        table.sync([self._row(line) for line in lines], more=self._total > len(self._lines))
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        left = max(0, self._total - len(self._gone))
        told = "" if self._filters == {"state": "pending"} else f": {self._filter_told()}"
        what = "To review" if self._asked.wanted.state == "pending" else "Pairs"
        order = dict(_ORDERS)[self._asked.order]
        self.query_one("#queue-pane").border_title = Text(f"{what} ({left:,}){words.line_of(told, 60)}, {order}")
        if not lines:
            self._clear_texts()
        self._show_texts()

    def _clear_texts(self) -> None:
        none = "Nothing waits for a decision." if self._filters == {"state": "pending"} else "No pair is so."
        if not self.loaded:
            none = "Looking …"
        self.query_one("#conversation", Static).update(Text(none, "dim"))
        self.query_one("#correction", Static).update("")
        self.query_one("#left").border_title = "Conversation"
        self.query_one("#right").border_title = "Correction"

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

    def _current(self) -> PairLine | None:
        return self._lines.get(self.query_one(LiveTable).current)

    def _show_texts(self) -> None:
        line = self._current()
        if line is None:
            return
        shown = self._shown.get(line.id)
        left, right = self.query_one("#conversation", Static), self.query_one("#correction", Static)
        if shown is None:
            covered = data.covered(line, self.store.by)
            said = "A private conversation. Enter opens it; the ledger keeps that you did." if covered else "Reading …"
            left.update(Text(said, "dim"))
            right.update("")
            return
        self.query_one("#left").border_title = f"Conversation {line.id[:12]}"
        draft = f"draft by {words.short(shown.pair.draft_adapter)}" if shown.draft else "written without a draft"
        self.query_one("#right").border_title = f"Correction, {draft}"
        left.update(dialogue(shown.pair.dialogue))
        right.update(self._told(shown))
        for scroll in ("#left", "#right"):
            if self._last_shown != line.id:
                self.query_one(scroll).scroll_home(animate=False)
        self._last_shown = line.id

    _last_shown = ""

    def _told(self, shown: data.Shown) -> RenderableType:
        pair, parts = shown.pair, list[RenderableType]()
        if shown.draft:
            brackets = self.app.no_color or self.app.native_ansi_color
            changes, distance = between(shown.draft, pair.summary, brackets=brackets)
            parts += [changes, Text(f"\n{distance:.0%} of the draft's words changed.", "dim")]
        else:
            parts.append(Text(visible(pair.summary)))
        for text in pair.summaries:
            parts.append(Text(f"\nFurther reference: {visible(str(text))}", "dim"))
        facts = [
            ("by", " ".join(filter(None, (pair.author, f"({pair.author_id})" if pair.author_id else "")))),
            ("edited by", pair.editor_id),
            ("state", self._state(pair)),
            ("split", pair.split),
            ("asked for", ", ".join(filter(None, (pair.style, pair.focus, pair.output_language)))),
            ("source", ", ".join(filter(None, (pair.source, pair.name, pair.licence)))),
        ]
        text = Text()
        for name, value in facts:
            if value:
                text.append(f"\n{name:<10}", "dim").append(visible(value, keep_newlines=False))
        parts.append(text)
        return Group(*parts)

    @staticmethod
    def _state(pair: PairRow) -> str:
        told = pair.state + (f" by {pair.decided_by}" if pair.decided_by else "")
        told += f": {pair.reject_reason}" if pair.reject_reason else ""
        return told + (f"; replaced by {pair.superseded_by[:12]}" if pair.superseded_by else "")

    @work(group="texts", exclusive=True)
    async def _read_ahead(self) -> None:
        """Read the pair under the cursor and the next few; private ones only when somebody opens them."""
        table = self.query_one(LiveTable)
        at = table.cursor_row
        for pair_id in table.keys[at : at + 1 + _AHEAD]:
            line = self._lines.get(pair_id)
            if line is None or pair_id in self._shown or data.covered(line, self.store.by):
                continue
            await self._read(pair_id)

    async def _read(self, pair_id: str) -> data.Shown | None:
        try:
            shown = await self.ask(lambda: data.open_pair(self.store, pair_id))
        except RedraftError as error:
            self.console_app.refused(error)
            return None
        self._keep(shown)
        if self.query_one(LiveTable).current == pair_id:
            self._show_texts()
        return shown

    def _keep(self, shown: data.Shown) -> None:
        self._shown[shown.pair.id] = shown
        while len(self._shown) > _KEPT:
            del self._shown[next(iter(self._shown))]

    def action_scroll_texts(self, by: int) -> None:
        """A page of the texts up or down, without leaving the queue."""
        for scroll in ("#left", "#right"):
            self.query_one(scroll).scroll_relative(y=by * max(1, self.query_one(scroll).size.height - 2), animate=False)

    def go_to(self, pair_id: str) -> None:
        """Put the cursor on a pair, whatever its state."""
        self._filters = {}
        self._asked = data.Asked(PairFilter())
        self._wanted_row = pair_id
        self.reload()

    # Deciding -----------------------------------------------------------------------------------------------------

    def _ready(self) -> data.Shown | None:
        """The pair under the cursor, if its texts are before the person who decides."""
        line = self._current()
        if line is None:
            return None
        shown = self._shown.get(line.id)
        if shown is None:
            why = "Open it first (Enter): it is private." if data.covered(line, self.store.by) else "It is being read."
            self.notify(why, severity="warning")
        return shown

    def action_approve(self) -> None:
        """Approve what is shown, and go on."""
        shown = self._ready()
        if shown is not None:
            self._leave(shown.pair.id)
            self._decide_behind(shown, "")

    @work(group="ask")
    async def action_reject(self) -> None:
        """Reject what is shown, with a reason, and go on."""
        shown = self._ready()
        if shown is None:
            return
        about = Text.assemble(
            "Nothing is trained on it, and what it took the place of stands again. u takes it back.\n"
        )
        reason = await self.app.push_screen_wait(
            Confirm(f"Reject {shown.pair.id[:12]}", about, needs_reason=True, offers=_REASONS)
        )
        if reason is not None:
            self._leave(shown.pair.id)
            self._decide_behind(shown, reason)

    @work(group="decide")
    async def _decide_behind(self, shown: data.Shown, reason: str) -> None:
        pair_id = shown.pair.id
        call = (lambda: data.reject(self.store, shown, reason)) if reason else (lambda: data.approve(self.store, shown))
        done = await self.act(call)
        if done is not None:
            self._decided.extend(done)
        else:
            # Refused: it is back in the queue, as it is now.
            self._gone.discard(pair_id)
            self._shown.pop(pair_id, None)
            self._sync()

    def _leave(self, pair_id: str) -> None:
        if self._asked.wanted.state == "pending":
            self._gone.add(pair_id)
            self._sync()
        else:
            self.query_one(LiveTable).action_cursor_down()

    def action_skip(self) -> None:
        """The next one, without deciding."""
        self.query_one(LiveTable).action_cursor_down()

    @work(group="decide")
    async def action_undo(self) -> None:
        """Take the last decision of this console back."""
        if not self._decided:
            self.notify("There is nothing to take back.", severity="warning")
            return
        decided = self._decided.pop()
        pair_id = decided.id
        self._gone.discard(pair_id)
        self._wanted_row = pair_id
        done = await self.act(lambda: data.reopen(self.store, decided))
        if done is not None:
            self.notify(f"{pair_id[:12]} waits for a decision again.", timeout=3)

    @work(group="ask")
    async def action_edit(self) -> None:
        """An own version of the text; it waits for approval in place of this one."""
        shown = self._ready()
        if shown is None:
            return
        above = dialogue(shown.pair.dialogue)
        text = await self.app.push_screen_wait(Write(f"Edit {shown.pair.id[:12]}", visible(shown.pair.summary), above))
        if text is None:
            return
        done = await self.act(lambda: data.edit(self.store, shown, text), "Your version waits for approval.")
        if done is not None:
            self._wanted_row = done.id

    @work(group="ask")
    async def action_uncover(self) -> None:
        """Open a private conversation, which is recorded."""
        line = self._current()
        if line is None or line.id in self._shown or not data.covered(line, self.store.by):
            return
        if self.store.read_only:
            self.notify("Opening it would be a line of the ledger, and this console only reads.", severity="warning")
            return
        shown = await self.act(lambda: data.open_pair(self.store, line.id), "The ledger has it that you opened it.")
        if shown is not None:
            self._keep(shown)
            self._show_texts()

    # Many at once -------------------------------------------------------------------------------------------------

    @work(group="ask")
    async def action_approve_all(self) -> None:
        """Approve all that wait and that the filter leaves."""
        await self._decide_all("approved", "Approve")

    @work(group="ask")
    async def action_reject_all(self) -> None:
        """Reject all that wait and that the filter leaves."""
        await self._decide_all("rejected", "Reject")

    async def _decide_all(self, to: str, verb: str) -> None:
        wanted = self._asked.wanted
        try:
            count = await self.ask(lambda: data.count_waiting(self.store, wanted))
        except RedraftError as error:
            self.console_app.refused(error)
            return
        if not count:
            self.notify("None of these waits for a decision.", severity="warning")
            return
        pairs = words.many(count, "pair")
        about = (
            f"{verb} {pairs} that wait and that the filter leaves ({self._filter_told() or 'no filter'}), private ones "
            "and your own among them. The ledger has it as one line; each can be taken back one by one."
        )
        reason = await self.app.push_screen_wait(
            Confirm(f"{verb} {pairs}", about, verb=verb, needs_reason=to == "rejected")
        )
        if reason is not None:
            await self.act(
                lambda: data.decide_all(self.store, wanted, to, reason, count),
                lambda done: f"{to.capitalize()} {words.many(done, 'pair')}.",
            )

    # Filters ------------------------------------------------------------------------------------------------------

    def _filter_told(self) -> str:
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
        said = await self.app.push_screen_wait(Form("Which pairs", fields))
        if said is not None:
            self._set_filters({name: value for name, value in said.items() if value})

    def _set_filters(self, filters: dict[str, str]) -> None:
        try:
            wanted = data.filter_of(self.store, filters)
        except InputError as error:
            self.console_app.refused(error)
            return
        self._filters = filters
        self._asked = replace(self._asked, wanted=wanted, rows=data.PAGE)
        self.reload()

    def action_clear_filter(self) -> None:
        """What waits, all of it."""
        self._set_filters({"state": "pending"})

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
