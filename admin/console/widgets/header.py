"""The two lines at the top: which screens there are and where one is, and how everything stands.

Names of screens are cut where there is no room for them; the number that opens one never is.
"""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.widget import Widget

from admin.console.widgets.names import SCREENS


class Tabs(Widget):
    """The screens by their numbers; a click opens one too."""

    here: reactive[str] = reactive("")

    def render(self) -> Text:
        """One line."""
        return self._laid_out()[0]

    def _laid_out(self) -> tuple[Text, list[tuple[int, str]]]:
        whole = sum(len(name.title) + 4 for name in SCREENS)
        text, ends = Text(no_wrap=True, end=""), []
        for name in SCREENS:
            here = name.key == self.here
            title = name.title if here or whole <= self.size.width else name.title[:4]
            text.append(f" {name.number} {title} ", style="reverse bold" if here else "")
            ends.append((len(text.plain), name.key))
        return text, ends

    def on_click(self, event: events.Click) -> None:
        """Open the screen under the pointer."""
        for end, key in self._laid_out()[1]:
            if event.x < end:
                self.app.call_next(self.app.run_action, f"open('{key}')")
                return


class StatusLine(Widget):
    """How the engine and the queue are, and who sits here."""

    said: reactive[Text] = reactive(Text(""))
    who: reactive[Text] = reactive(Text(""))

    def render(self) -> Text:
        """One line: what is said at the left, who it is at the right."""
        room = self.size.width - len(self.who.plain) - 2
        left = self.said.copy()
        left.truncate(max(0, room), overflow="ellipsis", pad=True)
        return Text.assemble(left, " ", self.who, no_wrap=True, end="")


class Problem(Widget):
    """What stands in the way, and what to do about it; not there while nothing does."""

    told: reactive[tuple[str, str]] = reactive(("", ""), layout=True)

    def render(self) -> Text:
        """The sentence, what to do, and the key that tries again."""
        message, hint = self.told
        return Text.assemble((f"✕ {message} ", "bold"), hint, " ", ("r", "bold reverse"), " tries again.")

    def watch_told(self, told: tuple[str, str]) -> None:
        """Be there, or not."""
        self.display = bool(told[0])
