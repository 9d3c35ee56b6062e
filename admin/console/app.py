"""The console's application: screens by their numbers, what is shared by them, and the pulse that keeps them live.

Every second or so it asks whether anybody has written to the database (a look at a file) and, where somebody has, the
screen in front loads anew; the engine is asked for its health beside that. Nothing here waits for either. It knows no
rule: screens call the same functions as the commands of ``admin/commands/``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from admin.console.defects import Defects, Guarded
from admin.console.store import Store, in_thread
from admin.console.widgets.header import StatusLine
from admin.console.widgets.names import SCREENS
from storage.errors import RedraftError

if TYPE_CHECKING:
    from admin.console.data.status import Status

#: How often it is looked whether somebody has changed something, in seconds; it is seen within twice that.
PULSE_S = 0.8
#: Without a way to tell whether anybody has written (PostgreSQL), and for what changes by time alone, in seconds.
_AT_LEAST_S = 1.6
_ANYWAY_S = 15.0
#: How long after its start the console imports what it has not needed yet.
AHEAD_S = 0.5

_DARK = Theme(
    name="redraft-dark",
    primary="#6aa9ff",
    secondary="#3b4a63",
    accent="#e2b86b",
    foreground="#d6dbe4",
    background="#11151c",
    surface="#161b24",
    panel="#1d2430",
    success="#7fc98a",
    warning="#e2b86b",
    error="#ef7d7d",
    dark=True,
    variables={"footer-key-foreground": "#e2b86b", "border": "#33405a", "border-blurred": "#2a3447"},
)
_LIGHT = Theme(
    name="redraft-light",
    primary="#1f5fbf",
    secondary="#c3d0e4",
    accent="#9a5b00",
    foreground="#1d2430",
    background="#fbfbfd",
    surface="#f3f5f9",
    panel="#e7ebf2",
    success="#1d7a35",
    warning="#9a5b00",
    error="#b3261e",
    dark=False,
    variables={"footer-key-foreground": "#9a5b00", "border": "#aab6c9", "border-blurred": "#c6cfdd"},
)


def _screen(module: str, name: str) -> Callable[[], Screen[None]]:
    """A screen made when it is first opened: its imports are not on the way to the first paint."""

    def make() -> Screen[None]:
        from importlib import import_module

        made: Screen[None] = getattr(import_module(f"admin.console.screens.{module}"), name)()
        return made

    return make


class ConsoleApp(Guarded, App[None]):
    """The administrators' console.

    Args:
        store: the way to everything outside.
        first: the screen to begin with.
        theme: one of Textual's, ``redraft-dark`` or ``redraft-light``.
        pulse: whether the screens are kept live; tests of one screen go without.
    """

    TITLE = "redraft"
    CSS_PATH = Path(__file__).with_name("console.tcss")
    DEFAULT_MODE = "overview"
    MODES: ClassVar[dict[str, str | Callable[[], Screen]]] = {  # type: ignore[type-arg]
        "overview": _screen("overview", "OverviewScreen"),
        "adapters": _screen("adapters", "AdaptersScreen"),
        "corrections": _screen("corrections", "CorrectionsScreen"),
        "runs": _screen("runs", "RunsScreen"),
        "compare": _screen("compare", "CompareScreen"),
        "conversations": _screen("conversations", "ConversationsScreen"),
        "schedule": _screen("schedule", "ScheduleScreen"),
        "ledger": _screen("ledger", "LedgerScreen"),
        "health": _screen("health", "HealthScreen"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(name.number, f"open('{name.key}')", name.title, show=False) for name in SCREENS),
        Binding("ctrl+p", "command_palette", "Palette", show=False, priority=True),
        Binding("ctrl+e", "picture", "Screenshot", show=False, tooltip="Write a picture of the screen (SVG)"),
        Binding("ctrl+t", "light", "Light or dark", show=False),
        Binding("q,ctrl+q", "quit", "Quit", show=False),
    ]

    def __init__(
        self, store: Store, *, theme: str = "redraft-dark", first: str = "overview", pulse: bool = True
    ) -> None:
        # Before Textual looks which mode to begin with.
        self.DEFAULT_MODE = first  # type: ignore[misc]
        super().__init__()
        self.store = store
        self.status: Status | None = None
        self._pulsing = pulse
        self._mark: object = None
        self._since_look = 0.0
        self._working = 0
        self._leaving = False
        self._looking = False
        self._defects = Defects()
        self.register_theme(_DARK)
        self.register_theme(_LIGHT)
        self.theme = theme

    def on_mount(self) -> None:
        """Begin to look, once the first screen is painted."""
        self.call_after_refresh(self._look)
        self.set_timer(AHEAD_S, self._read_ahead)
        if self._pulsing:
            self.set_interval(PULSE_S, self._beat)

    @work(group="ahead", exit_on_error=False)
    async def _read_ahead(self) -> None:
        """Import the other screens and read the looks of what they are made of, while nobody waits for them."""
        from importlib import import_module

        def imported() -> None:
            for name in SCREENS:
                import_module(f"admin.console.screens.{name.key}")

        await in_thread(imported)
        from textual.containers import Vertical
        from textual.widgets import Input, OptionList, TextArea

        from admin.console.widgets.plot import Plot
        from admin.console.widgets.table import LiveTable

        # A kind of widget that comes to the screen for the first time has all the looks read anew.
        ahead = Vertical(LiveTable(), Input(), OptionList(), TextArea(), Plot())
        # Deeper than any of the screen's own, which a query for the first of a kind would otherwise pass over.
        for _ in range(5):
            ahead = Vertical(ahead)
        ahead.add_class("ahead")
        await self.screen_stack[0].mount(ahead)
        await ahead.remove()

    # Screens --------------------------------------------------------------------------------------------------------

    def action_open(self, key: str) -> None:
        """Open a screen; not from under a question that waits for its answer."""
        if not self.screen.is_modal:
            self.switch_mode(key)

    def open_at(self, key: str, subject: str) -> None:
        """Open a screen on one of its rows."""
        from admin.console.screens.base import ConsoleScreen

        self.switch_mode(key)
        screen = self.screen_stack[0]
        if isinstance(screen, ConsoleScreen) and hasattr(screen, "go_to"):
            screen.go_to(subject)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: every screen, every key of the one in front, and Textual's own."""
        for name in SCREENS:
            yield SystemCommand(name.title, name.about, lambda key=name.key: self.action_open(key))
        seen = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.node is screen and binding.description and active.enabled and binding.action not in seen:
                seen.add(binding.action)
                told = binding.tooltip or f"Key {self.get_key_display(binding)} of this screen"

                def does(action: str = binding.action, node: object = active.node) -> None:
                    self.call_later(self.run_action, action, node)

                yield SystemCommand(binding.description, told, does)
        yield from super().get_system_commands(screen)

    # The pulse ------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._since_look += PULSE_S
        mark = self.store.mark()
        due = mark is None and self._since_look >= _AT_LEAST_S
        if due or self._since_look >= _ANYWAY_S or mark != self._mark:
            self._mark, self._since_look = mark, 0.0
            self.reload_front()
        self._look()

    def reload_front(self) -> None:
        """Have the screen in front load anew; under a dialog too, so that it is up to date afterwards."""
        from admin.console.screens.base import ConsoleScreen

        front = self.screen_stack[0] if self.screen_stack else None
        if isinstance(front, ConsoleScreen):
            front.reload()

    def changed(self) -> None:
        """Something was changed from here: show it now and not at the next beat."""
        self._mark = self.store.mark()
        self.reload_front()
        self._look()

    def _look(self) -> None:
        # Not a second time while the first still waits for a database that is locked.
        if not self._looking:
            self._looking = True
            self._ask()

    @work(group="status", exit_on_error=False)
    async def _ask(self) -> None:
        from admin.console.data.status import status

        try:
            found = await status(self.store, self.status)
        finally:
            self._looking = False
        if found != self.status:
            self.status = found
            for screen in self.screen_stack[:1]:
                self.tell_status(screen)

    def tell_status(self, screen: Screen[Any]) -> None:
        """Bring a screen's head up to date."""
        from admin.console.data.status import status_line

        for line in screen.query(StatusLine):
            line.said = status_line(self.status, self.store)
            who = self.store.by
            line.who = Text(f"{who}, only reading" if self.store.read_only else who, style="bold")
        if hasattr(screen, "show_status") and self.status is not None:
            screen.show_status(self.status)

    async def on_event(self, event: events.Event) -> None:
        """What is pasted is text: characters that a terminal would obey when it is drawn are left out."""
        if isinstance(event, events.Paste) and not event.is_forwarded:
            from engine.text.safety import visible

            event = events.Paste(visible(event.text))
        await super().on_event(event)

    # What goes wrong ------------------------------------------------------------------------------------------------

    def refused(self, error: RedraftError) -> None:
        """Say why something was not done and what to do about it."""
        from engine.text.safety import visible

        told = "\n".join(filter(None, (visible(error.message), visible(error.hint))))
        self.notify(told, severity="error", timeout=12, markup=False)

    def kept(self, error: Exception) -> RedraftError:
        """What may be said of an error that nobody expected; where it came from is kept in a file."""
        return self._defects.told(error)

    def _handle_exception(self, error: Exception) -> None:
        """What no screen has caught: told in a sentence, and the console goes on."""
        if not self.is_running:
            super()._handle_exception(error)
            return
        if self._exit:
            return  # what a screen misses that is being left
        told = self.kept(error)
        if self._defects.too_many():
            self.exit(return_code=1, message=f"redraft: {told.message}\n         {told.hint}")
        else:
            self.refused(told)

    # Keys of the program --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While something is being changed, quitting waits for it."""
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            if self._leaving and not self._working:
                self.exit()

    async def action_quit(self) -> None:
        """Leave; once what is being changed is done. Pressed again, at once: a transaction is whole or not at all."""
        if self._working and not self._leaving:
            self._leaving = True
            self.notify("Finishing what was begun; press q again to leave at once.", timeout=30)
            return
        self.exit()

    def action_light(self) -> None:
        """The other theme."""
        self.theme = "redraft-light" if self.current_theme.dark else "redraft-dark"

    def action_picture(self) -> None:
        """Write the screen to an SVG file in the working directory, else in the data directory."""
        name = f"redraft-{self.current_mode}-{self.store.now():%Y%m%d-%H%M%S}.svg"
        for directory in (Path.cwd(), self.store_home()):
            try:
                path = Path(self.save_screenshot(name, str(directory)))
                path.chmod(0o600)
            except OSError:
                continue
            self.notify(f"Wrote {path}.", markup=False)
            return
        self.notify("Neither this directory nor the data directory can be written.", severity="error")

    def store_home(self) -> Path:
        """The data directory."""
        return self.store.storage_settings().home

    def copy(self, text: str) -> None:
        """Put an id on the clipboard of whoever sits at the terminal, over ssh too (OSC 52)."""
        if text:
            self.copy_to_clipboard(text)
            self.notify(f"Copied {text}.", markup=False, timeout=3)
