"""What every screen of the console is: it loads in a thread, shows what came, and says what stands in the way.

A screen says how to :meth:`ConsoleScreen.load` (in a thread, no widgets) and how to :meth:`ConsoleScreen.show` what
came (on the loop, no waiting). It is loaded when it is opened and whenever somebody has changed something; what is on
the screen stays there, marked by the problem, while the database or the engine is away. :meth:`ConsoleScreen.act` is
the one way to change anything: one change at a time, refusals as sentences, nothing on a console that only reads. A
dialog with something typed in it changes by :meth:`ConsoleScreen.change` instead and tells refusals itself, so that
nothing is typed twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import work
from textual._context import NoActiveAppError
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, TextArea

from admin.console.defects import Guarded
from admin.console.store import Store, in_thread
from admin.console.widgets.header import Problem, StatusLine, Tabs
from storage.errors import RedraftError

if TYPE_CHECKING:
    from admin.console.app import ConsoleApp

T = TypeVar("T")

#: Actions that Textual brings along and that explain themselves.
_NOT_TOLD = ("app.", "screen.", "open(")
#: After so many seconds without an answer a person is told what they are waiting for.
SLOW_S = 1.0
#: How long the cursor has to stay on a row before its details are read.
AFTER_KEYS_S = 0.06


class ConsoleScreen(Guarded, Screen[None]):
    """See the file.

    Attributes:
        KEY: which of :data:`admin.console.widgets.names.SCREENS` it is.
        ABOUT: what `?` says of it.
        CHANGES: actions that change something, and are not there on a console that only reads.
    """

    KEY: ClassVar[str] = ""
    ABOUT: ClassVar[str] = ""
    CHANGES: ClassVar[frozenset[str]] = frozenset()
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - Textual's own form
    VERTICAL_BREAKPOINTS = [(0, "-short"), (40, "-tall")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help"),
        Binding("r", "reload", "Reload", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        # A new screen takes its looks as it is mounted. Textual takes it for one that has missed a change of them, and
        # reads and applies all of them twice more when it is first opened: half of the time that this takes.
        with contextlib.suppress(NoActiveAppError):
            self._css_update_count = self.app._css_update_count
        self.loaded = False
        self._wanted = False
        self._loading = False
        self._preparing = False
        self._there = asyncio.Event()

    @property
    def console_app(self) -> ConsoleApp:
        """The application, as what it is."""
        from admin.console.app import ConsoleApp

        assert isinstance(self.app, ConsoleApp)
        return self.app

    @property
    def store(self) -> Store:
        """What is asked and told."""
        return self.console_app.store

    def compose(self) -> ComposeResult:
        """The head, the screen's own, and the keys."""
        tabs = Tabs()
        tabs.here = self.KEY
        yield tabs
        yield StatusLine()
        yield Problem()
        yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def body(self) -> ComposeResult:
        """What is between head and foot."""
        yield from ()

    def on_mount(self) -> None:
        """Its widgets are there."""
        self._there.set()

    # Loading ------------------------------------------------------------------------------------------------------

    def question(self) -> Callable[[], Any]:
        """What :meth:`load` goes by, taken on the loop: a call for the thread. Override where there are filters."""
        return self.load

    def load(self) -> Any:
        """What is shown; in a thread.

        Raises:
            RedraftError: as a sentence.
        """
        return None

    def show(self, found: Any) -> None:
        """Show what :meth:`load` found; on the loop."""

    def on_screen_resume(self) -> None:
        """It may be out of date."""
        self.console_app.tell_status(self)
        # After it was painted: what a thread imports and reads would be in the way of that.
        self.call_after_refresh(self.reload)

    def action_reload(self) -> None:
        """Look again."""
        self.reload()

    def reload(self) -> None:
        """Load and show anew; asked for while it is loading, it is done once more after that."""
        if self._loading:
            self._wanted = True
            return
        self._loading = True
        self._reload()

    @work(group="load")
    async def _reload(self) -> None:
        try:
            while True:
                self._wanted = False
                await self._load_once()
                if not self._wanted:
                    return
        finally:
            self._loading = False

    async def _load_once(self) -> None:
        # An answer may be quicker than the widgets that show it.
        await self._there.wait()
        call = self.question()
        try:
            found = await self._told_if_slow(self.ask(call))
        except RedraftError as error:
            self.query_one(Problem).told = (error.message, error.hint)
            return
        except Exception as error:
            kept = self.console_app.kept(error)
            self.console_app.refused(kept)
            self.query_one(Problem).told = (kept.message, "")
            return
        self.query_one(Problem).told = ("", "")
        self.loaded = True
        # A question that was asked meanwhile makes this answer an old one.
        if not self._wanted:
            self.show(found)

    async def ask(self, call: Callable[[], T]) -> T:
        """The result of a call in a thread; for a worker of a screen that was closed meanwhile there is none."""
        try:
            return await in_thread(call)
        finally:
            if self.gone:
                raise asyncio.CancelledError

    @property
    def gone(self) -> bool:
        """Whether its widgets are gone, or going: the console is being left."""
        return not self.is_attached or not self.query(Problem)

    async def _told_if_slow(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """The answer; while it is long in coming, the screen says so."""
        waiting = asyncio.ensure_future(asked)
        done, _ = await asyncio.wait({waiting}, timeout=SLOW_S)
        if not done and not self.gone:
            self.query_one(Problem).told = ("The database is slow to answer; waiting for it.", "")
        return await waiting

    # Acting -------------------------------------------------------------------------------------------------------

    async def prepared(self, call: Callable[[], T]) -> T | None:
        """What a question to a person needs, read in a thread; None where it was refused or nobody waits for it.

        A key that is pressed once more meanwhile asks no second time, and somebody who has gone to another screen is
        not asked there.
        """
        if self._preparing:
            return None
        self._preparing = True
        try:
            found = await self.ask(call)
        except RedraftError as error:
            self.console_app.refused(error)
            return None
        finally:
            self._preparing = False
        return found if self.app.screen is self else None

    async def act(self, call: Callable[[], T], said: Callable[[T], str] | str = "") -> T | None:
        """:meth:`change`, whose refusals are told in passing: None then."""
        try:
            return await self.change(call, said)
        except RedraftError as error:
            self.console_app.refused(error)
            return None

    async def change(self, call: Callable[[], T], said: Callable[[T], str] | str = "") -> T:
        """Change something in a thread, say what was done, and load anew.

        Changes are made in the order of the keys that asked for them, whatever screen they come from.

        Raises:
            RedraftError: it was refused, or something went wrong that should not have.
        """
        with self.console_app.working():
            async with self.store.turn:
                try:
                    done = await in_thread(call)
                except RedraftError:
                    if not self.gone:
                        self.reload()
                    raise
                except Exception as error:
                    raise self.console_app.kept(error) from error
        words = said if isinstance(said, str) else said(done)
        if words:
            self.notify(words, markup=False)
        if not self.gone:
            self.console_app.changed()
        return done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What would change something is not there on a console that only reads."""
        return not (self.store.read_only and action in self.CHANGES)

    # Help ---------------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """What this screen is for, and its keys."""
        from admin.console.widgets.dialogs import Help
        from admin.console.widgets.names import SCREENS

        title = next(name.title for name in SCREENS if name.key == self.KEY)
        self.app.push_screen(Help(title, self.ABOUT, self.keys_told()))

    def keys_told(self) -> list[tuple[str, str]]:
        """The keys that hold here and what they do, those of the screen first."""
        own: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        seen = set()
        mine = {binding.action for binding in type(self).BINDINGS if isinstance(binding, Binding)}
        for active in self.active_bindings.values():
            binding, name = active.binding, active.binding.action
            if not binding.description or name in seen or not active.enabled or name.startswith(_NOT_TOLD):
                continue
            seen.add(name)
            line = (self.app.get_key_display(binding), binding.tooltip or binding.description)
            (own if name in mine else others).append(line)
        return own + others

    @property
    def typing(self) -> bool:
        """Whether somebody is writing a text: nothing may move under their hands."""
        return isinstance(self.focused, Input | TextArea)
