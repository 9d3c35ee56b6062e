"""Health: what `redraft doctor` says, as each finding comes, and every setting in force with where it came from.

Secrets are shown as set or not set, by their type and not by their name.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from admin.console import words
from admin.console.screens.base import ConsoleScreen
from admin.console.store import Store
from admin.console.widgets.table import Column, LiveTable, Row
from admin.doctor import Finding


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force: its value as it may be shown, and whether environment, .env or its default says so."""

    name: str
    value: str
    source: str
    about: str


def settings_in_force(store: Store) -> list[Setting]:
    """All settings that the console may load, by name.

    Raises:
        SettingsError: one cannot be used.
    """
    from storage.config import source_of
    from storage.masking import masked

    found = []
    for each in (store.storage_settings(), store.engine(), store.learning()):
        for name, value in masked(each).items():
            field = type(each).model_fields[name.lower()]
            shown = "" if value is None else str(value)
            found.append(Setting(name, shown, source_of(name), field.description or ""))
    return sorted(found, key=lambda one: (one.source == "default", one.name))


class HealthScreen(ConsoleScreen):
    """See the file."""

    KEY = "health"
    ABOUT = (
        "What `redraft doctor` looks at, one line each with what to do about it; d examines anew, which takes a few "
        "seconds because the model libraries are asked in a process of their own. Below are the settings in force: "
        "those that somebody has set come first, with where, and then the defaults."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "examine", "Examine"),
        Binding("y", "copy", "Copy line", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._findings: list[Finding] = []
        self._settings: Sequence[Setting] = ()
        self._examining = False
        self._examined = False

    def body(self) -> ComposeResult:
        """Findings over settings."""
        with Container(classes="split"):
            with Vertical(classes="pane list") as pane:
                pane.border_title = "Doctor"
                yield LiveTable(Column("", 6), Column("what", 14), Column("finding", 30, flexible=True), id="findings")
                yield Static("", id="fix", classes="auto", markup=False)
            with Vertical(classes="pane detail") as pane:
                pane.border_title = "Settings in force"
                yield LiveTable(
                    Column("setting", 30), Column("value", 16, flexible=True), Column("from", 12), id="settings"
                )
                yield Static("", id="about", classes="auto quiet", markup=False)

    def on_mount(self) -> None:
        """The keys work on the findings."""
        self.query_one("#findings", LiveTable).focus()

    def on_screen_resume(self) -> None:
        """Examined once by itself, when it is first opened."""
        if not self._examined:
            self._examined = True
            self.action_examine()

    def load(self) -> list[Setting]:
        """The settings."""
        return settings_in_force(self.store)

    def show(self, found: Sequence[Setting]) -> None:
        """The settings."""
        self._settings = found
        rows = [
            Row(
                one.name,
                (
                    one.name,
                    words.line_of(one.value, 120) if one.value else Text("(empty)", "dim"),
                    Text(one.source, "" if one.source != "default" else "dim"),
                ),
            )
            for one in found
        ]
        self.query_one("#settings", LiveTable).sync(rows)

    def on_live_table_moved(self, event: LiveTable.Moved) -> None:
        """Say more of the line under the cursor."""
        if event.table.id == "settings":
            about = next((one.about for one in self._settings if one.name == event.key), "")
            self.query_one("#about", Static).update(about)
            return
        finding = self._finding()
        fix = Text.assemble(("→ ", "bold"), words.line_of(finding.fix, 400)) if finding and finding.fix else Text("")
        self.query_one("#fix", Static).update(fix)

    @work(group="examine", exclusive=True)
    async def action_examine(self) -> None:
        """Look at everything; findings are shown as they come."""
        if self._examining:
            return
        self._examining = True
        found: list[Finding] = []
        ended = threading.Event()

        def look() -> None:
            found.extend(self.store.examine())
            ended.set()

        timer = self.set_interval(0.2, lambda: self._show_findings(found, ended.is_set()))
        try:
            await self.ask(look)
        except Exception as error:
            self.console_app.refused(self.console_app.kept(error))
        finally:
            self._examining = False
            timer.stop()
        self._show_findings(found, True)

    def _show_findings(self, found: Sequence[Finding], whole: bool) -> None:
        self._findings = list(found)
        rows = [
            Row(
                f"{number}",
                (words.state(one.status), one.name, words.line_of(one.finding, 300)),
            )
            for number, one in enumerate(self._findings)
        ]
        bad = sum(one.status == "fail" for one in found)
        warned = sum(one.status == "warn" for one in found)
        told = f"{words.many(bad, 'failure')}, {words.many(warned, 'warning')}" if bad or warned else "all is well"
        self.query_one(".list").border_title = f"Doctor: {told if whole else 'looking …'}"
        self.query_one("#findings", LiveTable).sync(rows)

    def _finding(self) -> Finding | None:
        key = self.query_one("#findings", LiveTable).current
        return self._findings[int(key)] if key and int(key) < len(self._findings) else None

    def action_copy(self) -> None:
        """Copy what the line says."""
        focused: Any = self.focused
        if isinstance(focused, LiveTable) and focused.id == "settings":
            one = next((one for one in self._settings if one.name == focused.current), None)
            self.console_app.copy(f"{one.name}={one.value}" if one else "")
            return
        finding = self._finding()
        self.console_app.copy(f"{finding.name}: {finding.finding} {finding.fix}".strip() if finding else "")
