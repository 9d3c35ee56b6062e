"""Conversations: what is stored, found by its words; one with its summaries; a summary by hand; forgetting.

Private ones are covered until they are opened, and the opening is a line of the ledger. What the model wrote is covered
too, until it is asked for, and that is a line as well: :mod:`engine.learning.blind` decides by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Input, Static

from admin.console import words
from admin.console.data import conversations as data
from admin.console.screens.base import ConsoleScreen
from admin.console.widgets.dialogs import Confirm, Write
from admin.console.widgets.diff import MOST_LINES, dialogue
from admin.console.widgets.table import Column, LiveTable, Row
from engine.learning.blind import ByHand
from engine.learning.browsing import Opened
from engine.learning.erasure import Erased, Preview
from storage.console_queries import ConversationLine
from storage.errors import NotPermitted, RedraftError

_KEPT = 32


class ConversationsScreen(ConsoleScreen):
    """See the file."""

    KEY = "conversations"
    ABOUT = (
        "Every conversation that is stored, the one read last first. / searches the words of public ones and of files, "
        "and titles and channels of all. Enter opens a private one, which the ledger keeps. v uncovers what the model "
        "wrote, which it keeps too: w lets you write a summary of your own, and that is a blind pair only where "
        "nothing tells that you have seen the model's. D erases a "
        "conversation with everything that was made of it, after saying what that is; it cannot be taken back."
    )
    CHANGES = frozenset({"write", "forget"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search"),
        Binding("enter", "uncover", "Open"),
        Binding("v", "summaries", "Summaries"),
        Binding("w", "write", "Write one"),
        Binding("c", "compare", "Compare"),
        Binding("D", "forget", "Forget"),
        Binding("escape", "leave", "All", show=False, tooltip="Leave the search"),
        Binding("y", "copy", "Copy id", show=False),
        Binding("K", "scroll_text(-1)", "Text up", show=False),
        Binding("J", "scroll_text(1)", "Text down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked = data.Asked()
        self._lines: dict[str, ConversationLine] = {}
        self._opened: dict[str, Opened] = {}
        #: Conversations whose summaries were shown here.
        self._seen: set[str] = set()
        #: Public when the list was read, and private when their texts were.
        self._private: set[str] = set()
        self._wanted_row = ""
        self._last = ""

    def body(self) -> ComposeResult:
        """The list with its search, and the conversation."""
        with Container(classes="split"):
            with Vertical(classes="pane list") as pane:
                pane.border_title = "Conversations"
                yield Input(placeholder="words; / goes here, Enter searches, Escape leaves", id="search", compact=True)
                yield LiveTable(
                    Column("read", 6, right=True),
                    Column("from", 10, flexible=True),
                    Column("channel", 12, from_width=70),
                    Column("messages", 8, right=True),
                    Column("summaries", 9, right=True),
                    Column("pairs", 5, right=True),
                    Column("", 9),
                    id="conversations",
                )
            with VerticalScroll(classes="pane detail", id="detail", can_focus=False) as detail:
                detail.border_title = "Conversation"
                yield Static(id="text", markup=False)

    def on_mount(self) -> None:
        """The keys work on the list."""
        self.query_one(LiveTable).focus()

    def question(self) -> Callable[[], data.Found]:
        """The words that hold now."""
        asked = self._asked
        return lambda: data.find(self.store, asked)

    def show(self, found: data.Found) -> None:
        """The list."""
        if found.asked != self._asked:
            return
        before, self._lines = self._lines, {line.id: line for line in found.lines}
        for key, line in self._lines.items():
            was = before.get(key)
            # Public ones are read anew; what is private now is covered until somebody opens it as such.
            if was != line and not (line.private and was is not None and was.private):
                self._opened.pop(key, None)
                self._private.discard(key)
        for key in before.keys() - self._lines.keys():
            self._opened.pop(key, None)
        searched = found.asked.words
        told = f" with {words.line_of(searched, 40)!r}: {len(found.lines):,} of {found.total:,}" if searched else ""
        self.query_one(".list").border_title = Text(f"Conversations{told or f' ({found.total:,})'}")
        table = self.query_one(LiveTable)
        more = not searched and len(found.lines) < found.total
        table.sync([self._row(line) for line in found.lines], more=more)
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        self._show_text()
        self._read()

    def go_to(self, conversation_id: str) -> None:
        """Put the cursor on a conversation."""
        self._wanted_row = conversation_id
        self._asked = data.Asked(words=conversation_id)
        self.reload()

    def _row(self, line: ConversationLine) -> Row:
        told = "direct" if line.direct else "private" if line.private else ""
        return Row(
            line.id,
            (
                words.ago(line.read_at, self.store.now()),
                words.line_of(line.title or line.id, 80),
                f"{line.workspace}/{line.channel}" if line.channel else line.platform,
                f"{line.messages:,}",
                f"{line.summaries:,}",
                f"{line.pairs:,}",
                Text(told, "yellow"),
            ),
        )

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self._show_text()
        self._read()

    @on(LiveTable.More)
    def _more(self) -> None:
        if len(self._lines) >= self._asked.rows:
            self._asked = replace(self._asked, rows=self._asked.rows + data.PAGE)
            self.reload()

    def _current(self) -> ConversationLine | None:
        return self._lines.get(self.query_one(LiveTable).current)

    @work(group="texts", exclusive=True)
    async def _read(self) -> None:
        line = self._current()
        if line is None or self._covered(line) or line.id in self._opened:
            return
        try:
            found = await self.ask(lambda: data.open_one(self.store, line.id, asked=False))
        except NotPermitted:
            self._private.add(line.id)
            self._show_text()
        except RedraftError as error:
            self.console_app.refused(error)
        else:
            self._keep(line, found)

    def _covered(self, line: ConversationLine) -> bool:
        return line.private or line.id in self._private

    def _not_open(self, line: ConversationLine) -> None:
        told = "Open it first (Enter): it is private." if self._covered(line) else "It is being read."
        self.notify(told, severity="warning")

    def _keep(self, line: ConversationLine, found: Opened) -> None:
        self._opened[line.id] = found
        while len(self._opened) > _KEPT:
            del self._opened[next(iter(self._opened))]
        if self.query_one(LiveTable).current == line.id:
            self._show_text()

    def _show_text(self) -> None:
        line = self._current()
        shown = self.query_one("#text", Static)
        if line is None:
            self.query_one("#detail").border_title = "Conversation"
            shown.update(Text("Nothing is stored that fits." if self.loaded else "Looking …", "dim"))
            return
        self.query_one("#detail").border_title = Text(words.line_of(line.title or line.id, 60))
        found = self._opened.get(line.id)
        if found is None:
            told = "Private. Enter opens it; the ledger keeps that you did." if self._covered(line) else "Reading …"
            shown.update(Text(told, "dim"))
            return
        shown.update(self._told(line, found))
        if self._last != line.id:
            self.query_one("#detail").scroll_home(animate=False)
        self._last = line.id

    def _told(self, line: ConversationLine, found: Opened) -> Text:
        zone, text = self.store.zone, Text()
        text.append(f"{line.id}\n", "dim")
        if line.id in self._seen:
            for row in found.summaries:
                thumbs = [one.thumb for one in found.feedback.get(row.id, ())]
                reception = f", +{thumbs.count('up')} −{thumbs.count('down')}" if thumbs else ""
                text.append(f"\n{words.when(row.created_at, zone)} by {words.short(row.adapter)}{reception}\n", "bold")
                text.append_text(Text(words.line_of(row.text, 4000))).append("\n")
            text.append("\n" if found.summaries else "\nNobody has had it summarised.\n\n", "dim")
        elif found.summaries:
            summaries = words.many(len(found.summaries), "summary", "summaries")
            text.append(f"{summaries}, covered: v shows what the model wrote\n\n", "dim")
        day = ""
        for message in found.conversation.messages[:MOST_LINES]:
            at = message.time.astimezone(zone) if message.time else None
            if at is not None and f"{at:%Y-%m-%d}" != day:
                day = f"{at:%Y-%m-%d}"
                text.append(f"{at:%A}, {day}\n", "dim")
            clock = f"{at:%H:%M} " if at else ""
            text.append(clock, "dim").append_text(dialogue(f"{message.author}: {words.line_of(message.text, 4000)}"))
            text.append("\n")
        more = len(found.conversation.messages) - MOST_LINES
        if more > 0:
            text.append(f"… and {words.many(more, 'more message', 'more messages')}", "dim")
        return text

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Type what to look for."""
        self.query_one("#search", Input).focus()

    @on(Input.Submitted, "#search")
    def _searched(self, event: Input.Submitted) -> None:
        self._asked = data.Asked(words=event.value.strip())
        self.query_one(LiveTable).focus()
        self.reload()

    def action_leave(self) -> None:
        """Out of the search line, and back to all."""
        search = self.query_one("#search", Input)
        if self.focused is search and search.value != self._asked.words:
            search.value = self._asked.words
        elif self._asked.words:
            search.value = ""
            self._asked = data.Asked()
            self.reload()
        self.query_one(LiveTable).focus()

    @work(group="ask")
    async def action_uncover(self) -> None:
        """Open a private one; the ledger keeps it."""
        line = self._current()
        if line is None or not self._covered(line) or line.id in self._opened:
            return
        told = "The ledger has it that you opened it."
        found = await self.act(lambda: data.open_one(self.store, line.id, asked=True), told)
        if found is not None:
            self._keep(line, found)

    @work(group="ask")
    async def action_summaries(self) -> None:
        """Uncover what the model wrote of it, which is recorded: it decides what counts as blind."""
        line = self._current()
        if line is None or line.id in self._seen:
            return
        if line.id not in self._opened:
            self._not_open(line)
            return
        try:
            await self.change(lambda: data.uncover(self.store, line.id))
        except RedraftError as error:
            self.console_app.refused(error)
            return
        self._seen.add(line.id)
        self._show_text()

    @work(group="ask")
    async def action_write(self) -> None:
        """A summary by hand: a blind one where its author has seen none of the model's."""
        line = self._current()
        if line is None:
            return
        found = self._opened.get(line.id)
        if found is None:
            self._not_open(line)
            return
        seen = await self.prepared(lambda: data.why_not_blind(self.store, line.id))
        if seen is None:
            return
        messages = found.conversation.messages
        said = (f"{one.author}: {words.line_of(one.text, 4000)}" for one in messages[:MOST_LINES])
        counts = f"{seen} So yours counts as an edit, and not as a blind reference.\n\n" if seen else ""
        above = Text.assemble((counts, "yellow"), Text("\n").join(map(dialogue, said)))

        async def keep(text: str) -> None:
            await self.change(lambda: data.write(self.store, line.id, text), _kept)

        title = f"{'A summary' if seen else 'A blind summary'} of {words.line_of(line.title, 40)}"
        await self.app.push_screen_wait(Write(title, "", above, does=keep))

    @work(group="ask")
    async def action_forget(self) -> None:
        """Erase it, with everything that was made of it."""
        line = self._current()
        if line is None:
            return
        seen = await self.prepared(lambda: data.preview(self.store, line.id))
        if seen is None:
            return
        agreed = await self.app.push_screen_wait(Confirm("Forget this conversation", _takes(seen), verb="Erase"))
        if agreed is not None and await self.act(lambda: data.forget(self.store, seen), _took) is not None:
            self._opened.pop(line.id, None)

    def action_compare(self) -> None:
        """Have base, active and candidate summarise it."""
        line = self._current()
        if line is not None:
            self.console_app.open_at("compare", line.id)

    def action_scroll_text(self, by: int) -> None:
        """A page of the text up or down, without leaving the list."""
        detail = self.query_one("#detail")
        detail.scroll_relative(y=by * max(1, detail.size.height - 2), animate=False)

    def action_copy(self) -> None:
        """Copy the id."""
        self.console_app.copy(self.query_one(LiveTable).current)


def _kept(done: ByHand) -> str:
    pair = done.arrival.pair
    if pair is None:
        return "Kept as feedback."
    if not done.arrival.new:
        return "Just this summary of the conversation is there already."
    return f"Kept as {'an edit' if done.seen else 'a blind pair'} ({pair.state}, {pair.split})."


def _takes(seen: Preview) -> Text:
    from admin.commands.forget import counted

    text = Text(f"Of {seen.subject} these go, and cannot be brought back:\n")
    for told in counted(seen.counts):
        text.append(f"  {told}\n")
    if seen.log_lines:
        text.append(f"  {words.many(seen.log_lines, 'line')} of logs\n")
    if seen.copies:
        text.append(f"  {words.many(seen.copies, 'copy', 'copies')} of the whole database in copies/\n")
    for one in seen.learners:
        text.append(f"Adapter {one.id} of {one.scope} ({one.state}) has learnt from it; it goes at its deadline.\n")
    if seen.nothing:
        text.append("  nothing: it is remembered for backups that may know it\n")
    return text


def _took(done: Erased) -> str:
    from admin.commands.forget import counted

    told = f"Erased: {', '.join(counted(done.counts)) or 'nothing was here'}. The ledger has it as {done.id}."
    if done.owed:
        told += f" To be trained anew without it: {', '.join(done.owed)}."
    return told
