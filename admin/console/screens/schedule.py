"""The schedule: when fine-tunes start, spelled out, and what they wait for; changed, paused and let go on from here.

A change holds for every machine that shares the database, from the bot's next look on. Whoever changes what somebody
else has changed meanwhile is told, and nothing is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.screens.base import ConsoleScreen
from admin.console.store import Store
from admin.console.widgets.dialogs import Confirm, Field, Form
from admin.console.widgets.header import Problem
from engine.learning.planned import Plan
from storage.errors import InputError, RedraftError


@dataclass(frozen=True, slots=True)
class Shown:
    """The schedule in force, its next times, and who changed it last."""

    plan: Plan
    times: Sequence[datetime]
    changed_by: str
    configured: Plan


def shown(store: Store) -> Shown:
    """See :class:`Shown`."""
    from engine.learning.ledger import person_of
    from engine.learning.planned import in_force, next_starts

    settings = store.learning()
    with store.database().read() as session:
        plan = in_force(session, settings)
        who = person_of(session, plan.changed_by) if plan.changed_by else ""
    configured = Plan(settings.train_schedule, settings.train_timezone, settings.train_min_new_pairs)
    return Shown(plan, next_starts(plan, store.now()), who or plan.changed_by, configured)


def new_by_scope(store: Store) -> list[tuple[str, int]]:
    """How many new approved pairs each scope has that the schedule looks after; counts them, which takes a while."""
    from engine.learning.selection import new_pairs, trainable_scopes
    from storage.run_queries import last_finished

    settings = store.learning()
    with store.database().read() as session:
        return [
            (scope, new_pairs(session, scope, settings, last_finished(session=session, scope=scope)))
            for scope in trainable_scopes(session, settings)
        ]


def change(store: Store, seen: Plan, **what: Any) -> Plan:
    """Change what was seen."""
    from engine.learning import planned

    return planned.change(
        store.writable(), store.learning(), by=store.by, seen=seen.version, now=store.clock, **what
    )  # fmt: skip


class ScheduleScreen(ConsoleScreen):
    """See the file."""

    KEY = "schedule"
    ABOUT = (
        "When fine-tunes start by themselves and how many new approved pairs a scope needs for one. e edits the cron "
        "line (minute, hour, day, month, weekday; 0 and 7 are Sunday), the time zone and that number; z pauses all of "
        "it and lets it go on. A slot that was missed while nothing ran is made up for once; one that fell into a "
        "pause is not. n begins a fine-tune now, on the screen of runs."
    )
    CHANGES = frozenset({"edit", "pause", "run_now"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit"),
        Binding("z", "pause", "Pause / go on"),
        Binding("n", "run_now", "Run now"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found: Shown | None = None
        self._scopes: Sequence[tuple[str, int]] | None = None

    def body(self) -> ComposeResult:
        """One pane."""
        with VerticalScroll(classes="pane") as pane:
            pane.border_title = "Schedule of fine-tunes"
            yield Static(id="plan", markup=False)

    def load(self) -> Shown:
        """See :func:`shown`."""
        return shown(self.store)

    def show(self, found: Shown) -> None:
        """The schedule; how many pairs there are is counted behind it."""
        self._found = found
        self._show_plan(found)
        self._count()

    @work(group="count", exclusive=True)
    async def _count(self) -> None:
        try:
            self._scopes = await self.ask(lambda: new_by_scope(self.store))
        except RedraftError as error:
            self.query_one(Problem).told = (error.message, error.hint)
            return
        if self._found is not None:
            self._show_plan(self._found)

    def _show_plan(self, found: Shown) -> None:
        plan, now, zone = found.plan, self.store.now(), self.store.zone
        head = Text()
        if plan.paused:
            head.append("◼ paused", "bold yellow").append(": no fine-tune starts by itself; z lets it go on\n")
        elif not plan.expression:
            head.append("○ never", "bold").append(": the cron line is empty\n")
        else:
            head.append("● on\n", "bold green")
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim")
        facts.add_row("cron line", Text(plan.expression or "(empty)", "bold"))
        facts.add_row("time zone", plan.timezone or "the machine's own")
        facts.add_row("wants", f"{words.many(plan.min_new_pairs, 'new approved pair')} in a scope")
        if plan.version:
            facts.add_row("changed", f"by {found.changed_by}, {words.when(plan.changed_at, zone)}")
            facts.add_row("settings", _settings_told(found.configured))
        else:
            facts.add_row("from", "the settings (TRAIN_SCHEDULE, TRAIN_TIMEZONE, TRAIN_MIN_NEW_PAIRS)")
        times = Table.grid(padding=(0, 2))
        for number, at in enumerate(found.times, 1):
            times.add_row(Text(f"{number}", "dim"), words.date_spelled(at), Text(words.ago(at, now), "dim"))
        scopes = Table.grid(padding=(0, 2))
        for scope, new in self._scopes or ():
            enough = new >= plan.min_new_pairs
            told = "enough: the next time starts one" if enough else f"{plan.min_new_pairs - new:,} more are needed"
            scopes.add_row(
                words.state("ok" if enough else "queued", scope), words.many(new, "new pair"), Text(told, "dim")
            )
        nothing = Text("None.", "dim")
        none = "Counting …" if self._scopes is None else "None has an approved pair that may be trained on."
        self.query_one("#plan", Static).update(
            Group(
                head,
                facts,
                Text("\nThe next five times", "bold"),
                times if found.times else nothing,
                Text("\nScopes with something to train on", "bold"),
                scopes if self._scopes else Text(none, "dim"),
            )
        )

    def go_to(self, subject: str) -> None:
        """There is one schedule only."""

    @work(group="ask")
    async def action_edit(self) -> None:
        """Cron line, time zone, threshold; the form stays while one of them cannot be used."""
        if self._found is None:
            return
        seen = self._found.plan
        fields = [
            Field("expression", "Cron line", seen.expression, "30 2 * * *; empty is never"),
            Field("timezone", "Time zone", seen.timezone, "Europe/Berlin; empty is the machine's own"),
            Field("min_new_pairs", "New approved pairs that a fine-tune wants", str(seen.min_new_pairs), "25"),
        ]

        async def keep(said: dict[str, str]) -> None:
            nonlocal seen
            what = _checked(said)
            try:
                await self.change(lambda: change(self.store, seen, **what), "The schedule was changed.")
            except InputError as error:
                now = await self.ask(lambda: shown(self.store))
                if now.plan.version == seen.version:
                    raise
                seen = now.plan
                raise InputError(error.message, f"{error.hint} Enter once more puts yours in place of that.") from error

        await self.app.push_screen_wait(Form("Edit the schedule", fields, does=keep))

    @work(group="ask")
    async def action_pause(self) -> None:
        """Pause, or let it go on."""
        if self._found is None:
            return
        seen = self._found.plan
        if seen.paused:
            await self.act(lambda: change(self.store, seen, paused=False), "The schedule goes on.")
            return
        about = (
            "No fine-tune starts by itself, on any machine that shares this database, until somebody lets it go on "
            "(z). Those that an erasure owes still do, and one that is under way goes on."
        )
        if await self.app.push_screen_wait(Confirm("Pause the schedule", about, verb="Pause")) is not None:
            await self.act(lambda: change(self.store, seen, paused=True), "The schedule is paused.")

    def action_run_now(self) -> None:
        """Begin a fine-tune now."""
        from admin.console.screens.runs import RunsScreen

        self.console_app.action_open("runs")
        screen = self.app.screen
        if isinstance(screen, RunsScreen):
            screen.action_start()


def _settings_told(plan: Plan) -> str:
    from engine.learning.planned import told

    return f"say {told(plan)}; what was changed here holds in their place"


def _checked(said: dict[str, str]) -> dict[str, Any]:
    """What was typed as values.

    Raises:
        InputError: one cannot be used.
    """
    from engine.learning.planned import checked_values

    if not said["min_new_pairs"].isdigit():
        raise InputError(f"{said['min_new_pairs'][:20]!r} is no number of pairs.", "Say a number from 1 on.")
    return checked_values(said["expression"], said["timezone"], int(said["min_new_pairs"]))
