"""Compare: base, what serves, and a candidate write of one conversation side by side, from the engine that runs.

Sentences appear as they are written. Once all have ended, each text is shown with its word differences to what serves,
and numbers and names that the conversation does not contain are flagged. In blind mode nobody is told which is which
before they have voted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.data import compare as data
from admin.console.screens.base import ConsoleScreen
from admin.console.widgets.dialogs import Write
from admin.console.widgets.diff import between, dialogue
from admin.console.widgets.table import Column, LiveTable, Row
from engine.conversation import Conversation
from engine.learning.votes import Tally
from engine.requests import Finished, Progress, Queued, SentenceWritten, SummaryRequest, SummarySentence
from storage.errors import RedraftError
from storage.home import Home

_LETTERS = "abc"
#: Under which name a pasted text stands in the list.
_PASTED = "pasted"


@dataclass
class Writing:
    """One system's text as it grows."""

    system: data.System
    sentences: list[SummarySentence] = field(default_factory=list)
    told: str = "waiting …"
    done: bool = False
    failed: str = ""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What is written so far."""
        return " ".join(sentence.text for sentence in self.sentences)


class CompareScreen(ConsoleScreen):
    """See the file."""

    KEY = "compare"
    ABOUT = (
        "Choose a conversation (h changes between recent and held-out ones, p takes a text that you paste) and press "
        "Enter: the base, what serves its scope and the candidate write of it on the engine that runs. d shows the "
        "word differences to what serves; names and numbers that the conversation lacks are flagged. B hides which is "
        "which; vote with a, b or c, or 0 where none is better, and they are told. Votes are kept and decide nothing."
    )
    CHANGES = frozenset({"vote"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "compare", "Compare"),
        Binding("B", "blind", "Blind"),
        *(Binding(letter, f"vote('{letter}')", f"{letter.upper()} is best", show=False) for letter in _LETTERS),
        Binding("0", "vote('')", "None is better", show=False),
        Binding("d", "differences", "Diff"),
        Binding("h", "kind", "Held-out"),
        Binding("p", "paste", "Paste"),
        Binding("escape", "newest_candidate", "Newest", show=False, tooltip="The newest candidate again"),
        Binding("x", "cancel", "Stop", show=False, tooltip="Stop writing"),
        Binding("t", "conversation", "Text", tooltip="Show the conversation, or the choice of them"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._kind: data.Kind = "recent"
        self._choices: dict[str, data.Choice] = {}
        self._pasted: Conversation | None = None
        self._columns: list[Writing] = []
        self._conversation: Conversation | None = None
        self._scope = "default"
        self._asked_for = ""
        self._wanted_row = ""
        self._rows = data.PAGE
        #: The conversation that is compared on, and whether it was private then.
        self._on: data.Choice | None = None
        self._blind = False
        self._voting = False
        self._voted = False
        self._diff = True
        self._tallies: Sequence[Tally] = ()
        self._shuffle = random.SystemRandom()

    def body(self) -> ComposeResult:
        """The choice over the columns."""
        with Container(id="choice"):
            with Vertical(classes="pane", id="choices-pane") as pane:
                pane.border_title = "Conversations"
                yield LiveTable(Column("scope", 16), Column("conversation", 20, flexible=True), id="choices")
            with VerticalScroll(classes="pane", id="conversation-pane", can_focus=False) as pane:
                pane.border_title = "Conversation"
                yield Static(id="conversation", markup=False)
        with Horizontal(id="columns"):
            for number in range(3):
                with VerticalScroll(classes="pane", id=f"column-{number}", can_focus=False):
                    yield Static(id=f"text-{number}", markup=False)
        yield Static(id="votes", classes="quiet auto", markup=False)

    def on_mount(self) -> None:
        """The keys work on the choice."""
        self.query_one(LiveTable).focus()
        self._show_columns()

    def question(self) -> Callable[[], data.Choices]:
        """The kind of conversations that is chosen from now."""
        kind, rows, wanted = self._kind, self._rows, self._wanted_row
        return lambda: data.choices(self.store, kind, rows, wanted)

    def show(self, found: data.Choices) -> None:
        """The choice, and the votes."""
        choices = list(found.choices)
        if self._pasted is not None:
            choices.insert(0, data.Choice(_PASTED, "pasted", "the text that was pasted", "default"))
        self._choices = {one.key: one for one in choices}
        kind = "recent" if self._kind == "recent" else "held out"
        many = f"{len(choices):,}{', more below' if found.more else ''}"
        chosen = f", with {words.short(self._asked_for)}" if self._asked_for else ""
        self.query_one("#choices-pane").border_title = Text(f"Conversations, {kind} ({many}){chosen}")
        now = self._choices.get(self._on.key) if self._on is not None else None
        if now is not None and self._on is not None and now.private and not self._on.private:
            # Its channel is private since: nobody has opened it as that.
            self._forget_conversation()
        table = self.query_one(LiveTable)
        rows = []
        for one in choices:
            title = Text("private, covered", "dim italic") if one.private else Text(words.line_of(one.title, 160))
            rows.append(Row(one.key, (one.scope, title)))
        table.sync(rows, more=found.more)
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        self._tallies = found.tallies
        self._show_votes()

    @on(LiveTable.More)
    def _more(self) -> None:
        if len(self._choices) >= self._rows:
            self._rows += data.PAGE
            self.reload()

    def _forget_conversation(self) -> None:
        self.workers.cancel_group(self, "compare")
        self._on, self._conversation, self._columns = None, None, []
        self._show_conversation()
        self._show_columns()

    def go_to(self, subject: str) -> None:
        """A conversation to compare on, or an adapter to compare."""
        if ":" in subject or "/" in subject:
            self._kind, self._wanted_row = "recent", subject
        else:
            self._asked_for = subject
            self.notify(f"{words.short(subject)} is compared: choose a conversation.", timeout=5)
        self.reload()

    def _show_votes(self) -> None:
        told = Text()
        if self._tallies:
            told.append(" votes  ")
            told.append_text(
                Text("  ·  ").join(
                    Text(f"{words.short(one.system)} {one.preferred} of {one.votes} ({one.blind} blind)")
                    for one in self._tallies[:4]
                )
            )
        self.query_one("#votes", Static).update(told)

    # Writing ------------------------------------------------------------------------------------------------------

    @work(group="compare", exclusive=True)
    async def action_compare(self) -> None:
        """Have all of them write of the conversation under the cursor."""
        choice = self._choices.get(self.query_one(LiveTable).current)
        if choice is None:
            self.notify("Choose a conversation first.", severity="warning")
            return
        try:
            if choice.kind == "pasted":
                assert self._pasted is not None
                told = self._pasted
            else:
                told = await self.ask(lambda: data.conversation(self.store, choice))
            scope = choice.scope
            systems = await self.ask(lambda: data.systems(self.store, scope, self._asked_for))
            home = (await self.ask(self.store.database)).home
        except RedraftError as error:
            self.console_app.refused(error)
            return
        self._conversation, self._scope, self._voted, self._on = told, scope, False, choice
        if self._blind:
            self._shuffle.shuffle(systems)
        self._columns = [Writing(system) for system in systems]
        self._show_conversation()
        self._show_columns()
        await asyncio.gather(*(self._write(column, told, home) for column in self._columns))
        self._show_columns()

    async def _write(self, column: Writing, told: Conversation, home: Home) -> None:
        from contextlib import aclosing

        request = SummaryRequest(told, adapter=column.system.adapter)
        try:
            async with aclosing(self.store.link.summarize(home, request)) as events:
                async for event in events:
                    if isinstance(event, Queued):
                        column.told = event.message or f"{words.many(event.ahead, 'request')} ahead"
                    elif isinstance(event, Progress):
                        column.told = f"reading, {event.done} of {event.total} parts"
                    elif isinstance(event, SentenceWritten):
                        column.sentences.append(event.sentence)
                        column.told = "writing …"
                    elif isinstance(event, Finished):
                        column.sentences = list(event.result.sentences)
                        column.seconds, column.told = event.result.seconds, ""
                    self._show_columns()
        except RedraftError as error:
            column.failed = str(error)
        column.done = True

    def action_cancel(self) -> None:
        """Stop writing."""
        self.workers.cancel_group(self, "compare")
        for column in self._columns:
            if not column.done:
                column.done, column.failed = True, "Stopped."
        self._show_columns()

    # Showing ------------------------------------------------------------------------------------------------------

    @property
    def _hidden(self) -> bool:
        return self._blind and not self._voted

    def _show_columns(self) -> None:
        if self.gone:
            return
        active = next((one for one in self._columns if one.system.role == "active"), None)
        reference = active or next((one for one in self._columns if one.system.role == "base"), None)
        whole = bool(self._columns) and all(one.done for one in self._columns)
        for number in range(3):
            pane = self.query_one(f"#column-{number}")
            shown = self.query_one(f"#text-{number}", Static)
            pane.display = number < max(1, len(self._columns))
            if number >= len(self._columns):
                shown.update(Text("Enter has base, active and candidate write of it.", "dim"))
                pane.border_title = ""
                continue
            column = self._columns[number]
            letter = _LETTERS[number].upper()
            name = column.system.adapter
            told = column.system.role if name == data.BASE else f"{column.system.role} {words.short(name)}"
            pane.border_title = Text(f"{letter}  {'?' if self._hidden else told}")
            against = reference if whole and self._diff and not self._hidden and reference is not column else None
            shown.update(self._told(column, against))

    def _told(self, column: Writing, against: Writing | None) -> Text:
        if column.failed:
            return Text(column.failed, "red")
        text = Text()
        brackets = self.app.no_color or self.app.native_ansi_color
        if against is not None and against.text and not against.failed:
            changes, distance = between(against.text, column.text, brackets=brackets)
            text.append_text(changes)
            role = "what serves" if against.system.role == "active" else "the base"
            text.append(f"\n\n{distance:.0%} of the words of {role} are changed.", "dim")
        else:
            text.append(words.line_of(column.text, 20_000))
        flagged = sorted({words.line_of(one, 60) for sentence in column.sentences for one in sentence.flagged})
        unsupported = sum(not sentence.supported for sentence in column.sentences)
        if flagged:
            text.append("\n\n! not in the conversation: ", "bold yellow").append(", ".join(flagged), "yellow")
        if unsupported:
            text.append(f"\n! {words.many(unsupported, 'sentence')} that no message supports", "yellow")
        if column.told:
            text.append(f"\n{column.told}" if column.sentences else column.told, "dim")
        elif column.seconds:
            text.append(f"\n{len(column.text.split())} words, {column.seconds:.1f} s", "dim")
        return text

    def _show_conversation(self) -> None:
        shown = Text()
        if self._conversation is not None:
            shown = Text("\n").join(
                dialogue(f"{one.author}: {words.line_of(one.text, 4000)}") for one in self._conversation.messages[:500]
            )
        self.query_one("#conversation", Static).update(shown)

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self.query_one("#conversation-pane").scroll_home(animate=False)

    # Keys ---------------------------------------------------------------------------------------------------------

    def action_blind(self) -> None:
        """Hide which is which from the next comparison on; shown again, this one is no blind one any more."""
        self._blind = not self._blind
        self._columns, self._voted = [], False
        told = "The next comparison is blind: vote with a, b, c or 0." if self._blind else "Not blind any more."
        self.notify(told, timeout=4)
        self._show_columns()

    @work(group="vote")
    async def action_vote(self, letter: str) -> None:
        """Keep which is best, and tell which is which."""
        if not self._columns or not all(one.done and not one.failed for one in self._columns):
            self.notify("Vote once all of them have written.", severity="warning")
            return
        if self._voting:
            return
        if self._voted:
            self.notify("You have voted on these; compare another.", severity="warning")
            return
        if letter and _LETTERS.index(letter) >= len(self._columns):
            return
        compared = [one.system.adapter for one in self._columns]
        preferred = compared[_LETTERS.index(letter)] if letter else ""
        blind, scope = self._blind, self._scope
        # Before it is kept: a key that is pressed twice votes once.
        self._voting, columns = True, self._columns
        done = await self.act(
            lambda: data.vote(self.store, scope, compared, preferred, blind=blind),
            "Kept: none is better." if not letter else f"Kept: {letter.upper()} is best.",
        )
        self._voting = False
        if done is not None and columns is self._columns:
            self._voted = True
            self._show_columns()

    def action_newest_candidate(self) -> None:
        """The newest candidate again, in place of an adapter that was chosen on another screen."""
        if self._asked_for:
            self._asked_for = ""
            self.reload()

    def action_differences(self) -> None:
        """Word differences, or the texts as they are."""
        self._diff = not self._diff
        self._show_columns()

    def action_kind(self) -> None:
        """Recent conversations, or held-out ones."""
        self._kind = "held-out" if self._kind == "recent" else "recent"
        self._rows = data.PAGE
        self.reload()

    @work(group="ask")
    async def action_paste(self) -> None:
        """A text of one's own."""
        above = "Name: text lines, or what the command line reads from a file."

        async def read(text: str) -> None:
            self._pasted = await self.ask(lambda: data.pasted(text))

        if await self.app.push_screen_wait(Write("Paste a conversation", "", above, does=read)):
            self._wanted_row = _PASTED
            self.reload()

    def action_conversation(self) -> None:
        """The conversation itself in place of the choice, on a terminal that has no room for both."""
        self.toggle_class("-text")
