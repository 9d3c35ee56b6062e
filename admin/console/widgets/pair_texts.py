"""A pair's two texts side by side: the conversation, and what the person made of what the model wrote.

It is told what to show, and knows neither the database nor who sits in front of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from admin.console import words
from admin.console.widgets.diff import between, dialogue
from engine.text.safety import visible

if TYPE_CHECKING:
    from admin.console.data.corrections import Shown
    from storage.learning_tables import PairRow


class PairTexts(Container):
    """See the file."""

    _now: Shown | None = None
    _last = ""

    def compose(self) -> ComposeResult:
        """The two sides."""
        with VerticalScroll(classes="pane", id="left", can_focus=False) as left:
            left.border_title = "Conversation"
            yield Static(id="conversation", markup=False)
        with VerticalScroll(classes="pane", id="right", can_focus=False) as right:
            right.border_title = "Correction"
            yield Static(id="correction", markup=False)

    def say(self, text: str) -> None:
        """A sentence in place of a pair: why there is none, or what it takes to see it."""
        self._now = None
        self._titles("Conversation", "Correction")
        self.query_one("#conversation", Static).update(Text(text, "dim"))
        self.query_one("#correction", Static).update("")

    def show(self, shown: Shown) -> None:
        """A pair; another one than before from its top."""
        if shown is self._now:
            return  # laying out a long conversation anew takes longer than a key may
        self._now, pair = shown, shown.pair
        draft = f"draft by {words.short(pair.draft_adapter)}" if shown.draft else "written without a draft"
        self._titles(f"Conversation {pair.id[:12]}", f"Correction, {draft}")
        self.query_one("#conversation", Static).update(dialogue(pair.dialogue))
        self.query_one("#correction", Static).update(self._told(shown))
        if self._last != pair.id:
            self._last = pair.id
            for side in self.query(VerticalScroll):
                side.scroll_home(animate=False)

    def page(self, by: int) -> None:
        """So many pages down, or up where it is negative."""
        for side in self.query(VerticalScroll):
            side.scroll_relative(y=by * max(1, side.size.height - 2), animate=False)

    def _titles(self, left: str, right: str) -> None:
        self.query_one("#left").border_title = Text(left)
        self.query_one("#right").border_title = Text(right)

    def _told(self, shown: Shown) -> RenderableType:
        pair, parts = shown.pair, list[RenderableType]()
        if shown.draft:
            brackets = self.app.no_color or self.app.native_ansi_color
            changes, distance = between(shown.draft, pair.summary, brackets=brackets)
            parts += [changes, Text(f"\n{distance:.0%} of the draft's words changed.", "dim")]
        else:
            parts.append(Text(visible(pair.summary)))
        for text in pair.summaries:
            parts.append(Text(f"\nFurther reference: {visible(str(text))}", "dim"))
        facts = [
            ("by", " ".join(filter(None, (pair.author, f"({pair.author_id})" if pair.author_id else "")))),
            ("edited by", pair.editor_id),
            ("replaces", f"{pair.supersedes[:12]}, which o shows" if pair.supersedes else ""),
            ("state", _state(pair)),
            ("split", pair.split),
            ("asked for", ", ".join(filter(None, (pair.style, pair.focus, pair.output_language)))),
            ("source", ", ".join(filter(None, (pair.source, pair.name, pair.licence)))),
        ]
        text = Text()
        for name, value in facts:
            if value:
                text.append(f"\n{name:<10}", "dim").append(visible(value, keep_newlines=False))
        parts.append(text)
        return Group(*parts)


def _state(pair: PairRow) -> str:
    told = pair.state + (f" by {pair.decided_by}" if pair.decided_by else "")
    told += f": {pair.reject_reason}" if pair.reject_reason else ""
    return told + (f"; replaced by {pair.superseded_by[:12]}" if pair.superseded_by else "")
