"""The ledger: who did what, when, the newest first; filtered by who and what, and held against its hashes by a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.screens.base import ConsoleScreen
from admin.console.store import Store
from admin.console.widgets.dialogs import Field, Form
from admin.console.widgets.table import Column, LiveTable, Row
from engine.learning.ledger_check import Line, Page, Verification
from storage.errors import RedraftError

_PAGE = 200
#: The screen of what an action was done to.
_OPENS = {
    "adapter": "adapters",
    "promotion": "adapters",
    "run": "runs",
    "pair": "corrections",
    "conversation": "conversations",
    "summaries": "conversations",
    "schedule": "schedule",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which lines, and how many."""

    filters: dict[str, str] = field(default_factory=dict)
    lines: int = _PAGE


def lines_of(store: Store, asked: Asked) -> Page:
    """The newest lines that match."""
    from engine.learning.ledger_check import show

    said, since = asked.filters, since_of(store, asked.filters)
    return show(
        store.database(),
        actions=said.get("action", "").split(),
        actor=said.get("actor", ""),
        subject=said.get("subject", ""),
        since=since,
        limit=asked.lines,
    )


def since_of(store: Store, said: dict[str, str]) -> datetime | None:
    """The time from which lines are wanted, or None.

    Raises:
        InputError: what was typed is no date.
    """
    from storage.errors import InputError

    if not said.get("since"):
        return None
    try:
        since = datetime.fromisoformat(said["since"])
    except ValueError as error:
        raise InputError(f"{said['since'][:40]!r} is no date.", "Such as 2026-05-04.") from error
    return since.replace(tzinfo=store.zone) if store.zone and since.tzinfo is None else since.astimezone()


def verified(store: Store) -> Verification:
    """The whole ledger against its hashes and the heads kept outside the database."""
    from engine.learning.ledger_check import verify

    return verify(store.database())


class LedgerScreen(ConsoleScreen):
    """See the file."""

    KEY = "ledger"
    ABOUT = (
        "Who did what, the newest first. The ledger is a chain of hashes whose head is also kept outside the "
        "database: v holds every line against it. Whoever was erased stands here as a pseudonym that nobody can "
        "resolve any more."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter", "Filter"),
        Binding("v", "verify", "Verify"),
        Binding("o", "open_subject", "Open", tooltip="The adapter, run, pair or conversation that it was done to"),
        Binding("escape", "clear_filter", "All lines", show=False),
        Binding("y", "copy", "Copy subject", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked = Asked()
        self._lines: dict[str, Line] = {}

    def body(self) -> ComposeResult:
        """The lines, and the one under the cursor whole."""
        with Container(classes="split"):
            with Vertical(classes="pane list") as pane:
                pane.border_title = "Ledger"
                yield LiveTable(
                    Column("line", 6, right=True),
                    Column("when", 16),
                    Column("who", 14),
                    Column("what", 20),
                    Column("to what", 14, flexible=True),
                    id="ledger",
                )
            with VerticalScroll(classes="pane detail", id="detail") as detail:
                detail.border_title = "Line"
                yield Static(id="verdict", markup=False)
                yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        """The keys work on the table."""
        self.query_one(LiveTable).focus()

    def question(self) -> Callable[[], tuple[Asked, Page]]:
        """The filter that holds now."""
        asked = self._asked
        return lambda: (asked, lines_of(self.store, asked))

    def show(self, found: tuple[Asked, Page]) -> None:
        """The table."""
        asked, page = found
        if asked != self._asked:
            return
        self._lines = {str(line.seq): line for line in page.lines}
        told = ", ".join(f"{name} {value}" for name, value in asked.filters.items())
        self.query_one(".list").border_title = Text(f"Ledger{f': {told}' if told else ''}")
        rows = [
            Row(
                str(line.seq),
                (
                    str(line.seq),
                    words.when(line.at, self.store.zone),
                    words.line_of(line.person or line.actor, 40),
                    line.action,
                    words.line_of(line.subject, 80),
                ),
            )
            for line in page.lines
        ]
        self.query_one(LiveTable).sync(rows, more=page.next_before is not None)
        self._show_line()

    @on(LiveTable.Moved)
    def _show_line(self) -> None:
        line = self._lines.get(self.query_one(LiveTable).current)
        about = self.query_one("#about", Static)
        if line is None:
            about.update(Text("The ledger has no such line.", "dim"))
            return
        text = Text()
        who = line.person or f"{line.actor} (nobody can tell any more who that is)"
        facts = [
            ("line", f"{line.seq:,}"),
            ("when", words.when(line.at, self.store.zone, seconds=True)),
            ("who", "the program itself" if line.actor == "redraft" else who),
            ("what", line.action),
            ("to what", line.subject),
        ]
        facts += [
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in line.details.items()
            if value not in ("", None)
        ]
        for name, value in facts:
            if value:
                text.append(f"{name:<10} ", "dim").append(f"{words.line_of(str(value), 400)}\n")
        about.update(text)

    @on(LiveTable.More)
    def _more(self) -> None:
        if len(self._lines) >= self._asked.lines:
            self._asked = replace(self._asked, lines=self._asked.lines + _PAGE)
            self.reload()

    @work(group="ask")
    async def action_filter(self) -> None:
        """Which lines."""
        kept = self._asked.filters.get
        fields = [
            Field("action", "What", kept("action", ""), "adapter, adapter.promoted, pair, run, conversation …"),
            Field("actor", "Who", kept("actor", ""), "local:maria, slack:U01AB, redraft"),
            Field("subject", "To what", kept("subject", ""), "the id of an adapter, run, pair …"),
            Field("since", "Since", kept("since", ""), "2026-05-04"),
        ]

        async def choose(said: dict[str, str]) -> None:
            since_of(self.store, said)
            self._asked = Asked({name: value for name, value in said.items() if value})
            self.reload()

        await self.app.push_screen_wait(Form("Which lines", fields, does=choose))

    def action_clear_filter(self) -> None:
        """All lines."""
        self._asked = Asked()
        self.reload()

    @work(group="verify", exclusive=True)
    async def action_verify(self) -> None:
        """Hold every line against its hash."""
        verdict = self.query_one("#verdict", Static)
        verdict.update(Text("Verifying …\n", "dim"))
        try:
            found = await self.ask(lambda: verified(self.store))
        except RedraftError as error:
            verdict.update("")
            self.console_app.refused(error)
            return
        lines = words.many(found.lines, "line")
        text = Text()
        if found.findings:
            text.append(f"✕ The ledger is not what was written ({lines}):\n", "bold red")
            for finding in found.findings:
                text.append(f"  {finding.sentence}\n")
            text.append("  docs/security.md says what to do; keep the database and ledger.heads as they are.\n")
        else:
            text.append(f"✓ The ledger is whole: {lines}, witnessed up to {found.witnessed}.\n", "bold green")
        for note in found.notes:
            text.append(f"  {note}\n", "dim")
        verdict.update(text)

    def action_open_subject(self) -> None:
        """What it was done to, on its own screen; what has none is told."""
        line = self._lines.get(self.query_one(LiveTable).current)
        if line is None:
            return
        screen = _OPENS.get(line.action.partition(".")[0])
        if screen is not None and line.subject:
            self.console_app.open_at(screen, line.subject)
        elif line.action.startswith("pairs."):
            self.console_app.action_open("corrections")
            self.notify("It was done to many pairs at once: f finds them by their state, author or scope.", timeout=8)
        elif line.action.startswith("training."):
            self.notify("`redraft training show` tells who authorised which platform.", markup=False, timeout=8)
        else:
            self.notify(f"There is no screen of its own for {line.action}.", markup=False, severity="warning")

    def action_copy(self) -> None:
        """Copy what it was done to."""
        line = self._lines.get(self.query_one(LiveTable).current)
        self.console_app.copy(line.subject if line else "")
