"""What the console asks before it acts: whether, why, which, and a text. Each gives back an answer, or None for no.

They are asked with ``push_screen_wait`` from a worker. One that is handed what to do with its answer stays open until
that is done: a refusal is told in it, and what a person has typed is still there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from admin.console.defects import Guarded
from storage.errors import RedraftError

T = TypeVar("T")


class Dialog(Guarded, ModalScreen[T | None], Generic[T]):
    """A box over the screen; ``Escape`` is no.

    Args:
        does: what is done with the answer; where it refuses with a :class:`RedraftError`, the box stays with what was
            typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "refuse", "Cancel")]

    def __init__(self, title: str, does: Callable[[T], Awaitable[object]] | None = None) -> None:
        super().__init__()
        self._title, self._does = title, does
        self._doing = False

    def compose(self) -> ComposeResult:
        """The box, what is in it, and the keys."""
        box = Vertical(classes="dialog")
        # As text: a title may have people's words in it, and those are no markup.
        box.border_title = Text(self._title)
        with box:
            yield from self.body()
            yield Static("", id="wanting", classes="wanting", markup=False)
            yield Footer(show_command_palette=False)

    def body(self) -> ComposeResult:
        """What is in the box."""
        yield from ()

    def tell(self, text: str) -> None:
        """Say what is wanting, under what was typed."""
        wanting = self.query_one("#wanting", Static)
        wanting.update(text)
        wanting.display = bool(text)

    def answer(self, answer: T) -> None:
        """Have it done, or give it back where that is for somebody else to do."""
        if self._does is None:
            self.dismiss(answer)
        elif not self._doing:
            self._doing = True
            self._do(answer)

    @work(group="answer")
    async def _do(self, answer: T) -> None:
        assert self._does is not None
        self.tell("…")
        try:
            await self._does(answer)
        except RedraftError as error:
            self.refused(error)
        else:
            self.dismiss(answer)
        finally:
            self._doing = False

    def refused(self, error: RedraftError) -> None:
        """It was not done: what was typed stays, with the reason under it."""
        self.tell(f"✕ {error.message} {error.hint}".strip())

    def action_refuse(self) -> None:
        """Nothing is done; not while it is being done."""
        if self._doing:
            self.tell("It is being written; one moment.")
        else:
            self.dismiss(None)


class ReasonInput(Input):
    """A line for a reason; a digit in an empty one takes the reason of that number."""

    class Offered(Message):
        """One of the reasons that were offered was taken."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, value: str, offers: Sequence[str], *, placeholder: str, id: str, max_length: int) -> None:
        super().__init__(value, placeholder=placeholder, id=id, max_length=max_length)
        self._offers = offers

    async def _on_key(self, event: events.Key) -> None:
        if not self.value and event.character and event.character in "123456789"[: len(self._offers)]:
            event.stop()
            event.prevent_default()
            self.post_message(self.Offered(self._offers[int(event.character) - 1]))
            return
        await super()._on_key(event)


class Confirm(Dialog[str]):
    """Whether to do something, and why; the answer is the reason, an empty one where none is needed.

    Args:
        title: what is to be done.
        about: what it touches.
        verb: what the key that agrees is called.
        needs_reason: a reason has to be typed.
        offers: reasons that ``1`` to ``9`` put in.
        reason: what stands there at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "agree", "Yes"), Binding("n", "refuse", "No")]

    def __init__(
        self,
        title: str,
        about: RenderableType,
        *,
        verb: str = "Yes",
        needs_reason: bool = False,
        asks_reason: bool = False,
        offers: Sequence[str] = (),
        placeholder: str = "Why? The ledger keeps it. Enter is done.",
        reason: str = "",
        does: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(title, does)
        self._reason = reason
        self._about, self._verb, self._needed, self._offers = about, verb, needs_reason, tuple(offers)
        self._asked = needs_reason or asks_reason
        self._placeholder = placeholder

    def body(self) -> ComposeResult:
        """What is asked."""
        with VerticalScroll(can_focus=not self._asked, classes="about"):
            yield Static(self._about, markup=False)
            for number, offer in enumerate(self._offers, 1):
                yield Static(Text.assemble((f" {number} ", "bold reverse"), f" {offer}"), classes="offer")
        if self._asked:
            yield ReasonInput(self._reason, self._offers, placeholder=self._placeholder, id="reason", max_length=500)

    def on_mount(self) -> None:
        """A reason is typed at once."""
        if self._asked:
            self.query_one("#reason", Input).focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """``y`` and ``n`` are letters where a reason is typed."""
        return not (self._asked and action == "agree") or None

    def refused(self, error: RedraftError) -> None:
        """Where no reason was typed there is nothing to keep, and what was asked does not hold any more."""
        if self._asked:
            super().refused(error)
        else:
            from admin.console.app import ConsoleApp

            self.dismiss(None)
            assert isinstance(self.app, ConsoleApp)
            self.app.refused(error)

    @on(ReasonInput.Offered)
    def _took(self, event: ReasonInput.Offered) -> None:
        self.answer(event.reason)

    @on(Input.Submitted, "#reason")
    def _typed(self, event: Input.Submitted) -> None:
        reason = event.value.strip()
        if self._needed and not reason:
            self.tell("A reason is needed; the ledger keeps it.")
            return
        self.answer(reason)

    def action_agree(self) -> None:
        """Yes."""
        self.answer("")


class Write(Dialog[str]):
    """A text of a person's own, of several lines.

    Args:
        text: what stands there at first.
        above: what is shown over it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]

    def __init__(
        self,
        title: str,
        text: str,
        above: RenderableType = "",
        does: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(title, does)
        self._text, self._above, self._warned = text, above, ""

    def body(self) -> ComposeResult:
        """What is there to read, and where to write."""
        if self._above:
            with VerticalScroll(classes="about tall"):
                yield Static(self._above, markup=False)
        yield TextArea(self._text, id="text", soft_wrap=True)

    def on_mount(self) -> None:
        """Type at once, at the end."""
        area = self.query_one("#text", TextArea)
        area.focus()
        area.move_cursor(area.document.end)

    def action_save(self) -> None:
        """The text as it stands."""
        self.answer(self.query_one("#text", TextArea).text)

    def action_refuse(self) -> None:
        """What was typed goes with the second ``Escape`` only."""
        text = self.query_one("#text", TextArea).text
        if self._doing or text in (self._text, self._warned) or not text.strip():
            super().action_refuse()
        else:
            self._warned = text
            self.tell("Escape again throws away what you typed.")


class Choose(Dialog[str]):
    """One of several; the answer is its key."""

    def __init__(self, title: str, choices: Sequence[tuple[str, RenderableType]], chosen: str = "") -> None:
        super().__init__(title)
        self._choices, self._chosen = choices, chosen

    def body(self) -> ComposeResult:
        """The choices."""
        yield OptionList(*(Option(label, id=key or "-") for key, label in self._choices), id="choices", markup=False)

    def on_mount(self) -> None:
        """On the one that holds now."""
        options = self.query_one("#choices", OptionList)
        options.focus()
        keys = [key for key, _ in self._choices]
        options.highlighted = keys.index(self._chosen) if self._chosen in keys else 0

    @on(OptionList.OptionSelected)
    def _chose(self, event: OptionList.OptionSelected) -> None:
        self.answer("" if event.option.id == "-" else event.option.id or "")


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a form; ``hint`` stands in it while it is empty."""

    key: str
    label: str
    value: str = ""
    hint: str = ""


class Form(Dialog[dict[str, str]]):
    """Several lines at once; ``Enter`` in any of them is done."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Done", priority=True)]

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        does: Callable[[dict[str, str]], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(title, does)
        self._fields = fields

    def body(self) -> ComposeResult:
        """The lines with their names."""
        with VerticalScroll(can_focus=False, classes="fields"):
            for field in self._fields:
                yield Static(field.label, classes="label")
                yield Input(field.value, placeholder=field.hint, id=f"field-{field.key}", compact=True)

    def on_mount(self) -> None:
        """In the first line."""
        self.query(Input).first().focus()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_save()

    def action_save(self) -> None:
        """The lines as they stand."""
        self.answer({field.key: self.query_one(f"#field-{field.key}", Input).value.strip() for field in self._fields})


class Help(Dialog[None]):
    """What a screen is for and what its keys do.

    Args:
        keys: key and what it does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,q,enter", "refuse", "Close")]

    def __init__(self, title: str, about: str, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__(title)
        self._about, self._keys = about, keys

    def body(self) -> ComposeResult:
        """The text, then the keys."""
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for key, does in self._keys:
            table.add_row(Text(key, style="bold"), does)
        with VerticalScroll(classes="about tall"):
            yield Static(self._about.strip(), markup=False)
            yield Static("")
            yield Static(table)
