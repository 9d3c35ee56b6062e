"""Fine-tunes: what ran, and what is under way with its curves as they grow; the keys that start, stop and resume one.

A run is a process of its own and outlives the console. What it writes to the database is seen here within two seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.data import runs as data
from admin.console.screens.base import AFTER_KEYS_S, ConsoleScreen
from admin.console.widgets.dialogs import Choose, Confirm
from admin.console.widgets.plot import Plot, Series
from admin.console.widgets.table import Column, LiveTable, Row
from storage.errors import RedraftError
from storage.learning_tables import RunRow

_UNDER_WAY = ("queued", "running")


class RunsScreen(ConsoleScreen):
    """See the file."""

    KEY = "runs"
    ABOUT = (
        "Fine-tunes, the newest first. The curves are the loss of each step and, as marks, of the validation pairs; "
        "they grow while a run is under way. n begins one now for a scope, S has the one under the cursor write a "
        "checkpoint and end, R goes on from there. Every run has a report as an HTML page; h opens it where there is "
        "a browser, and otherwise says where it is."
    )
    CHANGES = frozenset({"start", "stop", "resume"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "start", "Start now"),
        Binding("S", "stop", "Stop"),
        Binding("R", "resume", "Resume"),
        Binding("h", "report", "Report"),
        Binding("o", "open_adapter", "Its adapter"),
        Binding("l", "log", "Log"),
        Binding("y", "copy", "Copy id", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[RunRow] = ()
        self._details: data.RunDetails | None = None
        self._wanted_row = ""

    def body(self) -> ComposeResult:
        """The table, and the run under the cursor."""
        with Container(classes="split"):
            with Vertical(classes="pane list") as pane:
                pane.border_title = "Runs"
                yield LiveTable(
                    Column("run", 22, flexible=True),
                    Column("state", 11),
                    Column("scope", 12, from_width=84),
                    Column("pairs", 6, right=True),
                    Column("steps", 9, right=True),
                    Column("loss", 6, right=True),
                    Column("age", 6, right=True),
                    id="runs",
                )
            with Vertical(classes="pane detail", id="detail") as detail:
                detail.border_title = "Run"
                yield Static(id="head", markup=False)
                yield Plot(form=".2f", unit=" steps", empty="No point of its curves yet.", id="curves")
                with VerticalScroll(id="facts-scroll"):
                    yield Static(id="facts", markup=False)

    def on_mount(self) -> None:
        """The keys work on the table."""
        self.query_one(LiveTable).focus()

    def load(self) -> Sequence[RunRow]:
        """See :func:`admin.console.data.runs.runs`."""
        return data.runs(self.store)

    def show(self, found: Sequence[RunRow]) -> None:
        """The table, and the run under the cursor with it."""
        self._rows = found
        table = self.query_one(LiveTable)
        table.sync([self._row(row) for row in found])
        self.query_one(".list").border_title = f"Runs ({len(found):,})"
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        if not found:
            self.query_one("#head", Static).update(Text("There has been no fine-tune yet; n begins one.", "dim"))
        self._show_details()
        self.refresh_bindings()

    def go_to(self, run_id: str) -> None:
        """Put the cursor on a run, now or once it is loaded."""
        if not self.query(LiveTable) or not self.query_one(LiveTable).select(run_id):
            self._wanted_row = run_id

    def _row(self, row: RunRow) -> Row:
        loss = row.metrics.get("validation_loss", row.metrics.get("train_loss"))
        return Row(
            row.id,
            (
                row.id,
                words.state(row.state),
                row.scope,
                f"{row.train_pairs + row.validation_pairs:,}",
                f"{row.step}/{row.steps}" if row.steps else "",
                f"{loss:.2f}" if isinstance(loss, float) else "",
                words.ago(row.created_at, self.store.now()),
            ),
        )

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self._show_details(AFTER_KEYS_S)
        self.refresh_bindings()

    @work(group="details", exclusive=True)
    async def _show_details(self, wait_s: float = 0.0) -> None:
        # A cursor that runs down the table passes over rows whose details nobody reads.
        await asyncio.sleep(wait_s)
        run_id = self.query_one(LiveTable).current
        if not run_id:
            return
        try:
            found = await self.ask(lambda: data.details(self.store, run_id))
        except RedraftError as error:
            self.query_one("#head", Static).update(error.message)
            return
        if self.query_one(LiveTable).current == run_id:
            self._details = found
            self._show_run(found)

    def _show_run(self, found: data.RunDetails) -> None:
        row = found.row
        self.query_one("#detail").border_title = Text(row.id)
        self.query_one("#head", Static).update(self._head(found))
        train = [(point.step, point.loss) for point in found.points if point.kind == "train"]
        held = [(point.step, point.loss) for point in found.points if point.kind == "validation"]
        series = [Series("loss of each step", train, "cyan", "─")] if train else []
        if held:
            series.append(Series("validation", held, "yellow", "◆", marked=True))
        self.query_one("#curves", Plot).series = tuple(series)
        self.query_one("#facts", Static).update(self._facts(found))

    def _head(self, found: data.RunDetails) -> Text:
        row, now = found.row, self.store.now()
        text = Text.assemble(words.state(row.state), f" for {row.scope}")
        if row.steps:
            width = max(10, min(40, self.query_one("#detail").size.width - 56))
            full = round(width * row.step / row.steps)
            text.append("  ").append("━" * full, "cyan").append("━" * (width - full), "dim")
            text.append(f" {row.step}/{row.steps}")
        if row.state == "running" and row.started_at and 0 < row.step < row.steps:
            took = now - row.started_at
            text.append(f", {words.duration(took)} so far", "dim")
            text.append(f", {words.duration(took * ((row.steps - row.step) / row.step))} to go", "dim")
        if row.message and row.message != "Training.":
            text.append(f"\n{row.message}")
        return text

    def _facts(self, found: data.RunDetails) -> Text:
        row, zone, metrics, text = found.row, self.store.zone, found.row.metrics, Text()
        newest = [point for point in found.points if point.kind == "train"][-1:]
        rate = metrics.get("tokens_per_second") or next((point.tokens_per_second for point in newest), None)
        memory = metrics.get("peak_memory_bytes") or next((point.memory_bytes for point in newest), None)
        speeds = (f"{rate:,.0f} tokens a second" if rate else "", f"{words.size(memory)} memory" if memory else "")
        speed = ", ".join(filter(None, speeds))
        before, after = metrics.get("validation_loss_before"), metrics.get("validation_loss")
        held = f" and {row.validation_pairs:,} to decide when to stop" if row.validation_pairs else ""
        settings = ", ".join(f"{name.removeprefix('train_')} {value}" for name, value in sorted(row.settings.items()))
        who = row.requested_by + (f" for {row.slot.replace('T', ' ')}" if row.slot else "")
        lines = [
            ("asked by", f"{who}, {row.cause}, {words.when(row.created_at, zone)}"),
            ("ended", words.when(row.finished_at, zone)),
            ("pairs", f"{row.train_pairs:,} to train on{held}"),
            ("left out", found.left_out),
            ("speed", speed),
            ("loss", f"{before:.3f} before, {after:.3f} after step {metrics.get('best_step', '?')}" if after else ""),
            ("resumed", f"{row.resumed} times" if row.resumed else ""),
            ("base", row.base_model + (f"@{row.base_revision[:12]}" if row.base_revision else "")),
            ("adapter", row.adapter_id),
            ("settings", settings),
            ("report", str(found.report) if found.report else ""),
        ]
        for name, value in lines:
            if value:
                text.append(f"{name:<9}", "dim").append(f"{value}\n")
        if found.log:
            text.append("\nThe end of its log (l shows all of that)\n", "dim")
            text.append("\n".join(found.log.splitlines()[-6:]))
        return text

    # Keys ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop is for a run under way, resume for one that was stopped or failed."""
        if self.store.read_only:
            return super().check_action(action, parameters)
        row = self._current()
        if action == "stop" and (row is None or row.state not in _UNDER_WAY):
            return None
        if action == "resume" and (row is None or row.state not in ("stopped", "failed")):
            return None
        return super().check_action(action, parameters)

    @work(group="ask")
    async def action_start(self) -> None:
        """Begin one now, for a scope."""
        scopes = await self.prepared(lambda: data.scopes(self.store))
        if scopes is None:
            return
        if not scopes:
            self.notify("No scope has an approved pair to train on.", severity="warning")
            return
        chosen: str | None = scopes[0]
        if len(scopes) > 1:
            chosen = await self.app.push_screen_wait(Choose("Train which scope", [(one, one) for one in scopes]))
        if not chosen:
            return
        scope = chosen
        about = (
            f"A fine-tune of {scope} begins now, in a process of its own, however few pairs came since the last one. "
            "It takes this machine's processor or GPU; the engine goes on serving, as TRAIN_BESIDE_SERVING says. S "
            "stops it."
        )
        if await self.app.push_screen_wait(Confirm(f"Train {scope} now", about, verb="Train")) is None:
            return
        row = await self.act(lambda: data.start(self.store, scope), lambda row: f"The run {row.id} was begun.")
        if row is not None:
            self._wanted_row = row.id

    @work(group="ask")
    async def action_stop(self) -> None:
        """Have it write a checkpoint and end."""
        row = self._current()
        if row is None:
            return
        about = f"The run {row.id} writes a checkpoint and ends. It can be resumed from there (R)."
        if await self.app.push_screen_wait(Confirm("Stop the run", about, verb="Stop")) is not None:
            await self.act(lambda: data.stop(self.store, row.id), "It was asked to stop; that takes a few seconds.")

    @work(group="ask")
    async def action_resume(self) -> None:
        """Go on from the last checkpoint."""
        row = self._current()
        if row is None:
            return
        about = f"The run {row.id} goes on from its last checkpoint, with the pairs and settings that it began with."
        if await self.app.push_screen_wait(Confirm("Resume the run", about, verb="Resume")) is not None:
            await self.act(lambda: data.resume(self.store, row), f"The run {row.id} goes on.")

    def action_report(self) -> None:
        """The HTML report: in a browser where there is one, else where it is."""
        found = self._details
        if found is None or found.report is None:
            self.notify("This run has no report yet.", severity="warning")
            return
        # A browser of the terminal's own would draw over the console.
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.uname().sysname == "Darwin":
            self.app.open_url(found.report.as_uri())
        self.console_app.copy(str(found.report))

    @work(group="ask")
    async def action_log(self) -> None:
        """The end of its process's log."""
        if self._details is not None:
            from admin.console.widgets.dialogs import Help

            log = self._details.log or "Its process has said nothing, or its directory is gone."
            await self.app.push_screen_wait(Help(f"Log of {self._details.row.id}", log, ()))

    def action_open_adapter(self) -> None:
        """The adapter that came of it."""
        row = self._current()
        if row is not None and row.adapter_id:
            self.console_app.open_at("adapters", row.adapter_id)

    def action_copy(self) -> None:
        """Copy the id."""
        self.console_app.copy(self.query_one(LiveTable).current)

    def _current(self) -> RunRow | None:
        key = self.query_one(LiveTable).current if self.query(LiveTable) else ""
        return next((row for row in self._rows if row.id == key), None)
