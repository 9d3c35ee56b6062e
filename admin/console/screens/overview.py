"""The first screen: is everything well, how are summaries received, what serves, and what is there to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from admin.console import words
from admin.console.data.status import Status, engine_word
from admin.console.screens.base import ConsoleScreen
from admin.console.widgets.plot import Plot, Series, bars
from admin.console.widgets.table import Column, LiveTable, Row

if TYPE_CHECKING:
    from admin.console.data.overview import Overview
    from storage.learning_tables import AlertRow

#: Which screen an alert is acted on.
_ACTED_ON = {
    "candidate-waiting": "adapters",
    "regression": "adapters",
    "adapter-refused": "adapters",
    "adapter-missing": "adapters",
    "tainted": "adapters",
    "run-failed": "runs",
}


class Bars(Widget):
    """A bar a day."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._values: list[float] = []

    def set(self, values: list[float]) -> None:
        """Other bars."""
        if values != self._values:
            self._values = values
            self.refresh()

    def render(self) -> Text:
        """The bars at the widget's size."""
        if not any(self._values):
            return Text("No summaries yet.", "dim")
        return bars(self._values, self.size.width, self.size.height)


class OverviewScreen(ConsoleScreen):
    """See the file."""

    KEY = "overview"
    ABOUT = (
        "How everything stands. The engine and the chats are at the top left, with since when; what fine-tunes wait "
        "for at the right; under that, the summaries of each day of the last thirty, thumbs, and the share that people "
        "corrected. A scope's gate decides once it has sixty blind references. Enter on an alert opens the screen on "
        "which it is acted on; the command at its end does the same on the command line."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "act_on", "Act on it"),
        Binding("c", "review", "Review corrections"),
        Binding("y", "copy", "Copy command", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found: Overview | None = None

    def body(self) -> ComposeResult:
        """The panes."""
        with VerticalScroll(can_focus=False):
            with Widget(id="top"):
                service = Static(id="service", classes="pane")
                service.border_title = "Service"
                yield service
                plan = Static(id="next", classes="pane")
                plan.border_title = "Serving and next fine-tune"
                yield plan
            with Vertical(classes="pane", id="alerts-pane") as pane:
                pane.border_title = "Alerts"
                yield LiveTable(
                    Column("since", 6), Column("what to act on", 40, flexible=True), Column("key", 8), id="alerts"
                )
            with Horizontal(id="plots"):
                with Vertical(classes="pane") as pane:
                    pane.border_title = "Summaries a day"
                    yield Bars(id="daily")
                with Vertical(classes="pane") as pane:
                    pane.border_title = "Thumbs, 30 days"
                    yield Plot(form=".0f", empty="No thumbs yet.", id="thumbs")
                with Vertical(classes="pane") as pane:
                    pane.border_title = "Corrected %"
                    yield Plot(form=".0f", empty="No summaries yet.", id="corrected")
            with Vertical(classes="pane", id="scopes-pane") as pane:
                pane.border_title = "Scopes"
                yield LiveTable(
                    Column("scope", 18),
                    Column("serves", 14),
                    Column("pairs", 8, right=True),
                    Column("to review", 9, right=True),
                    Column("new", 9, right=True),
                    Column("blind", 7, right=True),
                    Column("gate", 20, flexible=True, from_width=110),
                    id="scopes",
                )

    def on_mount(self) -> None:
        """The keys work on the alerts."""
        self.query_one("#alerts", LiveTable).focus()

    def load(self) -> Overview:
        """See :func:`admin.console.data.overview.overview`."""
        # SQLAlchemy takes half a second to import, and this is the first screen: it is imported here, in the thread.
        from admin.console.data.overview import overview

        return overview(self.store)

    def show(self, found: Overview) -> None:
        """Fill the panes."""
        self._found = found
        now, days = self.store.now(), found.days
        self.query_one("#daily", Bars).set([float(day.summaries) for day in days])
        numbered = list(enumerate(days, 1 - len(days)))
        up = Series("up", [(at, day.thumbs_up) for at, day in numbered], "green", "─")
        down = Series("down", [(at, day.thumbs_down) for at, day in numbered if day.thumbs_down], "red", "x", True)
        any_thumb = any(day.thumbs_up or day.thumbs_down for day in days)
        self.query_one("#thumbs", Plot).series = (up, down) if any_thumb else ()
        rate = [(at, 100 * day.corrected / day.summaries) for at, day in numbered if day.summaries]
        self.query_one("#corrected", Plot).series = (Series("of that day's summaries", rate, "yellow"),) if rate else ()
        self._show_plan(found)
        alerts = [
            Row(
                alert.key,
                (
                    words.ago(alert.raised_at, now),
                    words.line_of(alert.sentence),
                    Text("Enter", "bold") if alert.kind in _ACTED_ON else Text("y copy", "dim"),
                ),
            )
            for alert in found.alerts
        ]
        pane = self.query_one("#alerts-pane")
        pane.border_title = f"Alerts ({len(alerts)})" if alerts else "Alerts: nothing to act on"
        self.query_one("#alerts", LiveTable).sync(alerts)
        self.query_one("#scopes", LiveTable).sync(
            [
                Row(
                    one.scope,
                    (
                        one.scope,
                        words.short(one.serves) or "–",
                        f"{one.pairs:,}",
                        f"{one.waiting:,}",
                        Text(f"{one.new:,}/{one.needed:,}", "green" if one.new >= one.needed else ""),
                        Text(f"{one.blind:,}/{one.blind + one.lacking:,}", "" if one.lacking else "green"),
                        one.sentence if one.authorised else "Nobody authorised training on this platform.",
                    ),
                )
                for one in found.scopes
            ]
        )

    def _show_plan(self, found: Overview) -> None:
        now, text = self.store.now(), Text()
        for row in found.active[:3]:
            text.append_text(words.state("active", row.scope)).append(f" {words.short(row.id)}", "bold")
            text.append(f" for {words.ago(row.state_since, now)}\n", "dim")
        if not found.active:
            text.append("● default ").append("the base", "bold").append(", no adapter in service yet\n", "dim")
        text.append("base  ").append(f"{found.base}\n", "bold")
        if found.paused:
            text.append("next  ").append("paused", "bold yellow").append("; 7 lets it go on")
        elif found.next_times:
            at = found.next_times[0]
            text.append("next  ").append(f"{at:%a %Y-%m-%d %H:%M}", "bold")
            text.append(f", {words.ago(at, now)}", "dim")
        else:
            text.append("next  ").append("never: the schedule is empty", "bold")
        self.query_one("#next", Static).update(text)

    def show_status(self, status: Status) -> None:
        """The engine and the chats."""
        now, zone, health = self.store.now(), self.store.zone, status.engine
        text = Text()
        text.append_text(words.state(engine_word(health), f"engine {engine_word(health)}"))
        text.append(f" since {words.lately(status.since, now, zone)}", "dim")
        if health.model is not None:
            text.append(f", {health.model.label} on {health.model.device}", "dim")
        text.append(f"\n  queue  {health.running} running, {health.waiting} waiting")
        if health.adapters:
            text.append(f"; {words.many(len(health.adapters), 'adapter')} attached", "dim")
        if health.held:
            text.append("\n  It has let go of its model while a fine-tune runs.", "yellow")
        if health.detail:
            text.append(f"\n  {health.detail}", "yellow" if health.state != "down" else "dim")
        for name in ("slack", "discord"):
            one = status.chats.get(name)
            text.append("\n")
            if one is None or one.state == "off":
                text.append_text(words.state("retired", f"{name} off"))
                text.append(": no bot has run here" if one is None else ": not configured", "dim")
            else:
                text.append_text(words.state(one.state, f"{name} {one.state}"))
                text.append(f" since {words.lately(one.since, now, zone)}", "dim")
                if one.detail:
                    text.append(f"; {one.detail}", "yellow")
        self.query_one("#service", Static).update(text)

    def action_act_on(self) -> None:
        """Open the screen on which the alert is acted on."""
        alert = self._alert()
        if alert is None:
            return
        screen = _ACTED_ON.get(alert.kind)
        if screen is None:
            self.notify(alert.command, title="On the command line", markup=False)
            return
        # A fine-tune that failed is told by its scope; its run's id is what the command ends with.
        subject = alert.command.split()[-1] if alert.kind == "run-failed" and alert.command else alert.subject
        self.console_app.open_at(screen, subject)

    def action_review(self) -> None:
        """Open the review queue."""
        self.console_app.action_open("corrections")

    def action_copy(self) -> None:
        """Copy the command of the alert."""
        alert = self._alert()
        if alert is not None:
            self.console_app.copy(alert.command)

    def _alert(self) -> AlertRow | None:
        key = self.query_one("#alerts", LiveTable).current
        alerts = self._found.alerts if self._found else ()
        return next((one for one in alerts if one.key == key), None)
