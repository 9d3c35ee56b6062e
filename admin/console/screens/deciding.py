"""Deciding on pairs: approve, reject, edit, undo, and many at once; the part of the review queue that changes things.

A decision is made behind the keys, in their order, on the pair as it was shown: the queue goes on at once. What is
refused comes back into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from textual import work

from admin.console import words
from admin.console.data import corrections as data
from admin.console.screens.base import ConsoleScreen
from admin.console.widgets.dialogs import Confirm, Write
from admin.console.widgets.diff import dialogue
from admin.console.widgets.table import LiveTable
from engine.text.safety import visible
from storage.errors import NotPermitted, PairRefused, RedraftError, StorageError
from storage.learning_tables import PairRow
from storage.pair_queries import PairLine

_REASONS = ("Says what the conversation does not", "Leaves the point out", "Not a summary", "Personal or confidential")


@dataclass(eq=False)
class Decision:
    """One that was taken here: on which pair, and the pair as it was written; None until then."""

    number: int
    pair_id: str
    row: PairRow | None = None


class DecidingScreen(ConsoleScreen):
    """See the file; :class:`admin.console.screens.corrections.CorrectionsScreen` is the rest of it."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = data.Asked(data.TO_REVIEW)
        self._lines: dict[str, PairLine] = {}
        self._shown: dict[str, data.Shown] = {}
        #: Decided here and out of the queue; with the number of the last look at the database before that was written.
        self._gone: dict[str, int | None] = {}
        self._looks = 0
        self._decisions: list[Decision] = []
        self._taken = 0
        #: Reasons whose rejection was refused, by pair: nobody types them twice.
        self._reasons: dict[str, str] = {}
        self._wanted_row = ""

    # What the queue is asked for ------------------------------------------------------------------------------------

    def current_line(self) -> PairLine | None:
        """The pair under the cursor."""
        return self._lines.get(self.query_one(LiveTable).current)

    def is_covered(self, line: PairLine) -> bool:
        """Whether its texts are covered until somebody opens them."""
        raise NotImplementedError

    def sync(self) -> None:
        """Bring the queue up to date with what is known."""
        raise NotImplementedError

    def filter_told(self) -> str:
        """The filter in words."""
        raise NotImplementedError

    def _ready(self) -> data.Shown | None:
        """The pair under the cursor, if its texts are before the person who decides."""
        line = self.current_line()
        if line is None:
            return None
        shown = self._shown.get(line.id)
        if shown is None:
            why = "Open it first (Enter): it is private." if self.is_covered(line) else "It is being read."
            self.notify(why, severity="warning")
        return shown

    # One after the other --------------------------------------------------------------------------------------------

    def action_approve(self) -> None:
        """Approve what is shown, and go on."""
        shown = self._ready()
        if shown is not None:
            self._leave(shown.pair.id)
            self._decide_behind(self._decision(shown.pair.id), shown, "")

    @work(group="ask")
    async def action_reject(self) -> None:
        """Reject what is shown, with a reason, and go on."""
        shown = self._ready()
        if shown is None:
            return
        pair_id = shown.pair.id
        about = "Nothing is trained on it, and what it took the place of stands again. u takes it back.\n"
        kept = self._reasons.pop(pair_id, "")
        reason = await self.app.push_screen_wait(
            Confirm(f"Reject {pair_id[:12]}", about, needs_reason=True, offers=_REASONS, reason=kept)
        )
        if reason is not None:
            self._leave(pair_id)
            self._decide_behind(self._decision(pair_id), shown, reason)

    def action_skip(self) -> None:
        """The next one, without deciding."""
        self.query_one(LiveTable).action_cursor_down()

    def _decision(self, pair_id: str) -> Decision:
        self._taken += 1
        decision = Decision(self._taken, pair_id)
        self._decisions.append(decision)
        return decision

    def _leave(self, pair_id: str) -> None:
        if self._asked.wanted.state == "pending":
            self._gone[pair_id] = None
            self.sync()
        else:
            self.query_one(LiveTable).action_cursor_down()

    @work(group="decide")
    async def _decide_behind(self, decision: Decision, shown: data.Shown, reason: str) -> None:
        pair_id = shown.pair.id

        def decide() -> None:
            found = data.reject(self.store, shown, reason) if reason else data.approve(self.store, shown)
            decision.row = found[0]

        try:
            await self.change(decide)
        except RedraftError as error:
            self.console_app.refused(error)
            if decision in self._decisions:
                self._decisions.remove(decision)
            if reason:
                self._reasons[pair_id] = reason
            # It is back in the queue, as it is now.
            self._gone.pop(pair_id, None)
            self._shown.pop(pair_id, None)
            if not self.gone:
                self.sync()
        else:
            if pair_id in self._gone:
                self._gone[pair_id] = self._looks

    @work(group="decide")
    async def action_undo(self) -> None:
        """Take the last decision of this console back, also one that is still being written."""
        if not self._decisions:
            self.notify("There is nothing to take back.", severity="warning")
            return
        decision = self._decisions.pop()
        pair_id = decision.pair_id

        def take_back() -> None:
            # Its turn comes after that of the decision.
            if decision.row is None:
                raise PairRefused(
                    f"The decision on {pair_id[:12]} was not made, so that there is nothing to take back."
                )
            data.reopen(self.store, decision.row)

        try:
            await self.change(take_back, f"{pair_id[:12]} waits for a decision again.")
        except RedraftError as error:
            self.console_app.refused(error)
            if isinstance(error, StorageError):
                # It stands as it was taken: u may try again.
                self._decisions = sorted([*self._decisions, decision], key=lambda one: one.number)
            return
        self._gone.pop(pair_id, None)
        self._wanted_row = pair_id

    @work(group="ask")
    async def action_edit(self) -> None:
        """An own version of the text; it waits for approval in place of this one."""
        first = self._ready()
        if first is None:
            return
        shown = first

        async def keep(text: str) -> None:
            nonlocal shown
            try:
                done = await self.change(lambda: data.edit(self.store, shown, text), "Your version waits for approval.")
            except PairRefused as error:
                shown, again = await self._as_it_is(shown)
                raise PairRefused(error.message, error.hint + again) from error
            self._wanted_row = done.id

        above = dialogue(first.pair.dialogue)
        await self.app.push_screen_wait(
            Write(f"Edit {first.pair.id[:12]}", visible(first.pair.summary), above, does=keep)
        )

    async def _as_it_is(self, shown: data.Shown) -> tuple[data.Shown, str]:
        """A pair that somebody else may have changed, and what to say where they have."""
        try:
            found = await self.ask(lambda: data.open_pair(self.store, shown.pair.id))
        except RedraftError:
            return shown, ""
        return found, " ctrl+s once more keeps your text all the same." if found.mark != shown.mark else ""

    # Many at once ---------------------------------------------------------------------------------------------------

    @work(group="ask")
    async def action_approve_all(self) -> None:
        """Approve all that wait and that the filter leaves."""
        await self._decide_all("approved", "Approve")

    @work(group="ask")
    async def action_reject_all(self) -> None:
        """Reject all that wait and that the filter leaves."""
        await self._decide_all("rejected", "Reject")

    async def _decide_all(self, to: str, verb: str) -> None:
        state = self._asked.wanted.state
        if state not in (None, "pending"):
            self.notify(f"These are {state}: only what waits is decided on. Escape shows that.", severity="warning")
            return
        wanted = replace(self._asked.wanted, state="pending", newest=True)
        seen = await self.prepared(lambda: data.waiting(self.store, wanted))
        if seen is None:
            return
        if not seen.count:
            self.notify("None of these waits for a decision.", severity="warning")
            return
        pairs = words.many(seen.count, "pair")
        about = (
            f"{verb} {pairs} that wait and that the filter leaves ({self.filter_told() or 'no filter'}), private ones "
            "and your own among them. The ledger has it as one line; each can be taken back one by one."
        )

        async def decide(reason: str) -> None:
            await self.change(
                lambda: data.decide_all(self.store, wanted, to, reason, seen),
                lambda done: f"{to.capitalize()} {words.many(done, 'pair')}.",
            )

        await self.app.push_screen_wait(
            Confirm(f"{verb} {pairs}", about, verb=verb, needs_reason=to == "rejected", does=decide)
        )

    # Opening --------------------------------------------------------------------------------------------------------

    @work(group="ask")
    async def action_uncover(self) -> None:
        """Open a private conversation, which is recorded."""
        line = self.current_line()
        if line is None or line.id in self._shown or not self.is_covered(line):
            return
        if self.store.read_only:
            self.console_app.refused(
                NotPermitted("Opening it would be a line of the ledger, and this console only reads.")
            )
            return
        told = "The ledger has it that you opened it."
        shown = await self.act(lambda: data.open_pair(self.store, line.id, asked=True), told)
        if shown is not None:
            self._shown[line.id] = shown
            self.sync()
