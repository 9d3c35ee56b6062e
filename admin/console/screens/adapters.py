"""Adapters: what there is, what serves, where it comes from; and the keys that put one in service or take it out.

Every key asks, says what it touches, and hands in what was on the screen: where somebody else was quicker, nothing is
done and the sentence says what serves now.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.data import adapters as data
from admin.console.gate_view import gate
from admin.console.screens.base import AFTER_KEYS_S, ConsoleScreen
from admin.console.widgets.dialogs import Confirm
from admin.console.widgets.table import Column, LiveTable, Row
from engine.learning.promotion import Move
from engine.learning.registry import Lineage
from storage.errors import RedraftError
from storage.learning_tables import AdapterRow

#: How wide the question before a promotion is at most; `console.tcss` has it too.
DIALOG = 128


class Promotion(Confirm):
    """The question whether to promote, with the gate's table."""


class AdaptersScreen(ConsoleScreen):
    """See the file."""

    KEY = "adapters"
    ABOUT = (
        "Every adapter, the newest first: for whom, in what state, what its gate found, and how people received what "
        "it wrote. Promote puts the one under the cursor in service for its scope; one that the gate did not find "
        "better takes a reason. Roll back takes what serves that scope out, rejects it, and goes back to the one "
        "before. An adapter's scope is that of the pairs it was trained on; it cannot be put in service for another."
    )
    CHANGES = frozenset({"promote", "roll_back", "reject", "retire", "evaluate"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "promote", "Promote"),
        Binding("b", "roll_back", "Roll back"),
        Binding("x", "reject", "Reject"),
        Binding("t", "retire", "Retire"),
        Binding("e", "evaluate", "Gate", tooltip="Have the gate measure it on held-out references"),
        Binding("o", "open_run", "Run", tooltip="The fine-tune that made it"),
        Binding("c", "compare", "Compare"),
        Binding("s", "only", "State", tooltip="Show only one state"),
        Binding("y", "copy", "Copy id", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found: data.Adapters | None = None
        self._only = ""
        self._wanted_row = ""
        #: Measured by processes that were started here and have not ended.
        self._measuring: set[str] = set()

    def body(self) -> ComposeResult:
        """The table and what is under the cursor."""
        with Container(classes="split"):
            with Vertical(classes="pane list") as pane:
                pane.border_title = "Adapters"
                yield LiveTable(
                    Column("adapter", 11),
                    Column("state", 11),
                    Column("scope", 10, flexible=True),
                    Column("gate", 13),
                    Column("pairs", 7, right=True),
                    Column("fixed", 5, right=True),
                    Column("thumbs", 9, right=True, from_width=86),
                    Column("age", 6, right=True),
                    Column("base", 14, from_width=112),
                    Column("taint", 8, from_width=100),
                    id="adapters",
                )
            with VerticalScroll(classes="pane detail", id="detail") as scroll:
                scroll.border_title = "Details"
                yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        """The keys work on the table."""
        self.query_one(LiveTable).focus()

    def on_resize(self) -> None:
        """How much of the gate's table is shown depends on the room that there is."""
        if self.loaded:
            self.call_after_refresh(self._show_details)

    def load(self) -> data.Adapters:
        """See :func:`admin.console.data.adapters.adapters`."""
        return data.adapters(self.store)

    def show(self, found: data.Adapters) -> None:
        """The table; the details are brought up to date with it."""
        self._found = found
        rows = [self._row(row) for row in found.rows if not self._only or row.state == self._only]
        table = self.query_one(LiveTable)
        only = f", only {self._only}" if self._only else ""
        self.query_one(".list").border_title = f"Adapters ({len(rows):,}{only})"
        table.sync(rows)
        if self._wanted_row and table.select(self._wanted_row):
            self._wanted_row = ""
        if not rows:
            nothing = "There is no adapter yet: a fine-tune makes one once there are approved pairs (4 starts one)."
            self.query_one("#about", Static).update(nothing)
            self.query_one("#detail").border_title = "Details"
        self._show_details()

    def go_to(self, adapter: str) -> None:
        """Put the cursor on an adapter, now or once it is loaded."""
        self._only = ""
        if self._found is not None:
            self.show(self._found)
        if not self.query(LiveTable) or not self.query_one(LiveTable).select(adapter):
            self._wanted_row = adapter

    def _row(self, row: AdapterRow) -> Row:
        assert self._found is not None
        seen = self._found.figures.get(row.id)
        state = words.state(row.state)
        if row.id in self._found.requests:
            state = words.state("pending", "asked for")
        return Row(
            row.id,
            (
                words.short(row.id),
                state,
                row.scope,
                words.state(row.verdict) if row.verdict else Text("not measured", "dim"),
                f"{row.train_pairs:,}",
                words.share(seen.corrected, seen.summaries) if seen else "",
                f"+{seen.thumbs_up} −{seen.thumbs_down}" if seen else "",
                words.ago(row.created_at, self.store.now()),
                row.base_model,
                Text("tainted", "red") if row.tainted_at else "",
            ),
        )

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        self._show_details(AFTER_KEYS_S)

    @work(group="details", exclusive=True)
    async def _show_details(self, wait_s: float = 0.0) -> None:
        # A cursor that runs down the table passes over rows whose details nobody reads.
        await asyncio.sleep(wait_s)
        adapter = self.query_one(LiveTable).current
        if not adapter:
            return
        try:
            found = await self.ask(lambda: data.details(self.store, adapter))
        except RedraftError as error:
            self.query_one("#about", Static).update(error.message)
            return
        if self.query_one(LiveTable).current == adapter:
            # Laid out by now: the first answer may be quicker than the first layout.
            while not self.query_one("#detail").size.width or not self.query_one(LiveTable).laid_out:
                await asyncio.sleep(0.01)
            self.query_one("#detail").border_title = Text(adapter)
            self.query_one("#about", Static).update(self._told(found))

    def _told(self, found: Lineage) -> RenderableType:
        from engine.learning.pointers import label_of

        row, zone, text = found.adapter, self.store.zone, Text()
        text.append_text(words.state(row.state)).append(f" for {row.scope} since {words.when(row.state_since, zone)}\n")
        if row.reason:
            text.append(f"{row.reason}\n")
        request = self._found.requests.get(row.id) if self._found else None
        if request is not None:
            text.append(
                f"Its promotion was asked for by {request.requested_by} {words.when(request.requested_at, zone)}; p by "
                "another administrator confirms it.\n",
                "bold yellow",
            )
        if row.id in self._measuring:
            text.append("It is being measured; the gate follows.\n", "bold cyan")
        pairs = ", ".join(f"{count:,} {origin}" for origin, count in sorted(found.pairs.items()))
        seen = self._found.figures.get(row.id) if self._found else None
        lines = [
            ("base", label_of(row.base_model, row.base_revision)),
            ("run", f"{row.run_id}{'' if found.run else ' (its row is gone)'}"),
            ("trained on", words.many(row.train_pairs, "pair") + (f": {pairs}" if pairs else "")),
            ("files", words.size(row.size_bytes) + ("" if found.present else ", not on this machine")),
        ]
        if seen:
            rate = words.share(seen.corrected, seen.summaries)
            thumbs = f"thumbs +{seen.thumbs_up} −{seen.thumbs_down}"
            lines.append(
                ("in service", f"{words.many(seen.summaries, 'summary', 'summaries')}, {rate} corrected, {thumbs}")
            )
        if row.tainted_at is not None:
            by = f", out of service by {words.when(row.retire_by, zone)}" if row.retire_by else ""
            lines.append(("tainted", f"since {words.when(row.tainted_at, zone)}{by}"))
        for name, value in lines:
            text.append(f"{name:<11}", "dim").append(f"{value}\n")
        moves = Text()
        for move in found.promotions:
            does = {"promote": "promoted", "rollback": "rolled back to", "retire": "retired; then served"}[move.kind]
            forced = " (forced)" if move.forced else ""
            moves.append(f"\n{words.when(move.at, zone)} ", "dim")
            moves.append(f"{does} {move.adapter} in place of {move.replaced}{forced}")
            if move.reason:
                moves.append(f": {move.reason}")
        width = self.query_one("#detail").size.width
        return Group(text, gate(found.evaluation, zone, width=width), moves)

    # Keys ---------------------------------------------------------------------------------------------------------

    @work(group="act")
    async def action_promote(self) -> None:
        """Show the gate and ask; a reason where the rules are against it."""
        adapter = self.query_one(LiveTable).current
        if not adapter:
            return
        seen = await self.prepared(lambda: data.proposal(self.store, adapter))
        if seen is None:
            return
        serves = "the base" if seen.serves == "base" else seen.serves
        asks = Text(f"\nPut {adapter} in service for {seen.adapter.scope}, in place of {serves}?")
        if seen.request is not None and seen.two:
            asks.append(f"\n{seen.request.requested_by} asked for it; you would confirm it.", "bold")
        elif seen.two:
            asks.append("\nIt takes two: another administrator has to confirm it.", "bold")
        asks.append("\nUndo: roll back (b).", "dim")
        parts: list[RenderableType] = [gate(seen.gate, self.store.zone, width=min(DIALOG, self.app.size.width) - 10)]
        if seen.against is not None:
            parts.append(Text(f"\n! {seen.against.message}\n  To promote it all the same, say why.", "bold yellow"))

        async def does(reason: str) -> None:
            await self.change(lambda: data.promote(self.store, seen, reason), self._moved_told)

        why = seen.against is not None
        await self.app.push_screen_wait(
            Promotion(f"Promote {adapter}", Group(*parts, asks), verb="Promote", needs_reason=why, does=does)
        )

    @work(group="act")
    async def action_roll_back(self) -> None:
        """Take back the scope of the adapter under the cursor."""
        row = self._current()
        if row is None:
            return
        seen = await self.prepared(lambda: data.way_back(self.store, row.scope))
        if seen is None:
            return
        back_to = "The base" if seen.back_to == "base" else seen.back_to
        about = (
            f"{seen.serves} goes out of service for {seen.scope} and is rejected: the same pairs and settings are not "
            f"offered again. {back_to} serves then."
        )

        async def does(reason: str) -> None:
            await self.change(lambda: data.roll_back(self.store, seen, reason), self._moved_told)

        await self.app.push_screen_wait(Confirm(f"Roll back {seen.scope}", about, needs_reason=True, does=does))

    @work(group="act")
    async def action_reject(self) -> None:
        """Reject a candidate, with the reason."""
        row = self._current()
        if row is None:
            return
        about = f"{row.id} of {row.scope} is rejected: the same pairs and settings are not offered again."

        async def does(reason: str) -> None:
            await self.change(lambda: data.remove(self.store, "reject", row, reason), self._moved_told)

        await self.app.push_screen_wait(Confirm(f"Reject {row.id}", about, needs_reason=True, does=does))

    @work(group="act")
    async def action_retire(self) -> None:
        """Take an adapter out of service, or put a candidate aside."""
        row = self._current()
        if row is None:
            return
        serves = (
            f"It serves {row.scope} now; the next wider scope or the base does then. " if row.state == "active" else ""
        )
        about = f"{row.id} is retired. {serves}It can be promoted again later."

        async def does(reason: str) -> None:
            await self.change(lambda: data.remove(self.store, "retire", row, reason), self._moved_told)

        await self.app.push_screen_wait(Confirm(f"Retire {row.id}", about, asks_reason=True, does=does))

    def _moved_told(self, move: Move) -> str:
        serves = "the base" if move.serves == "base" else move.serves
        notes = " ".join(move.notes)
        if move.kind == "requested":
            return f"The promotion of {move.adapter} was asked for. {notes}"
        told = f"{move.kind[:1].upper()}{move.kind[1:]}: {move.adapter}. {serves} serves {move.scope}."
        if move.also_retired:
            told += f" Out of service with its base: {', '.join(move.also_retired)}."
        return f"{told} {notes}".strip()

    @work(group="ask")
    async def action_evaluate(self) -> None:
        """Have the gate measure it, in a process of its own."""
        row = self._current()
        if row is None:
            return
        if row.id in self._measuring:
            self.notify(f"{row.id} is being measured.", severity="warning")
            return
        about = (
            f"Base, what serves {row.scope} and {row.id} write of the held-out conversations, which takes minutes: on "
            "the engine that runs, else in a process of its own. It goes on when this console is left."
        )
        if await self.app.push_screen_wait(Confirm(f"Measure {row.id}", about, verb="Measure")) is not None:
            self._measuring.add(row.id)
            self._show_details()
            self._measure(row.id)

    @work(group="measure")
    async def _measure(self, adapter: str) -> None:
        try:
            await self.ask(lambda: self.store.evaluate(adapter))
        except RedraftError as error:
            self.console_app.refused(error)
        else:
            self.notify(f"{adapter} was measured: its details have the gate.", markup=False)
            self.console_app.changed()
        finally:
            self._measuring.discard(adapter)
        self._show_details()

    def action_open_run(self) -> None:
        """The fine-tune that made it."""
        row = self._current()
        if row is not None and row.run_id:
            self.console_app.open_at("runs", row.run_id)

    def action_compare(self) -> None:
        """Its summaries beside those of what serves."""
        row = self._current()
        if row is not None:
            self.console_app.open_at("compare", row.id)

    def action_only(self) -> None:
        """Only one state, the next one, or all."""
        order = ("", "active", "candidate", "retired", "rejected")
        self._only = order[(order.index(self._only) + 1) % len(order)]
        if self._found is not None:
            self.show(self._found)

    def action_copy(self) -> None:
        """Copy the id."""
        self.console_app.copy(self.query_one(LiveTable).current)

    def _current(self) -> AdapterRow | None:
        key = self.query_one(LiveTable).current
        rows = self._found.rows if self._found else ()
        return next((row for row in rows if row.id == key), None)
