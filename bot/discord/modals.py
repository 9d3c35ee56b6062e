"""Discord's modals: made when their button was pressed, read back when they are submitted.

What a modal is about stands in its ``custom_id`` (100 characters), so that one which was open while the bot was started
anew can be submitted. An input takes 4,000 characters: longer texts are edited in several inputs, and what is longer
than a modal part by part, a modal after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import discord

from bot import texts
from bot.answers import Shown, joined, parts

SAVE, REASON, REJECT, EDIT = "save", "reason", "reject", "edit"
_CUSTOM_ID = re.compile(
    r"redraft:(?P<kind>save|reason|reject|edit):(?P<id>[0-9a-f]{32}):(?P<extra>[0-9a-f]{0,32}):(?P<blind>[bd])"
    r"(?P<start>\d{0,6})"
)
_INPUT, _REASON = 4_000, 2_000
#: Inputs of one modal that a text may take; the fifth asks what was wrong.
_INPUTS = 4


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a modal is about.

    Attributes:
        kind: what submitting it does.
        id: of the summary or the pair.
        extra: the correction that was before the person, or the pair's mark as it was shown, or empty.
        blind: whether they write without the draft.
        start: where in the text the modal's first input begins.
    """

    kind: str
    id: str
    extra: str = ""
    blind: bool = False
    start: int = 0

    def dump(self) -> str:
        """As ``custom_id``."""
        return f"redraft:{self.kind}:{self.id}:{self.extra}:{'b' if self.blind else 'd'}{self.start or ''}"

    @classmethod
    def load(cls, text: str) -> Remembered | None:
        """From ``custom_id``, or None where it is no modal of ours."""
        found = _CUSTOM_ID.fullmatch(text)
        if found is None:
            return None
        return cls(found["kind"], found["id"], found["extra"], found["blind"] == "b", int(found["start"] or 0))


def correct(shown: Shown, *, blind: bool, start: int = 0) -> discord.ui.Modal:
    """The modal in which a summary is corrected, or written anew without the draft."""
    # Where somebody else has changed the text since, it may be another one that begins there.
    start = start if shown.text[:start].endswith(("\n", " ")) else 0
    remembered = Remembered(SAVE, shown.id, "" if blind else shown.correction, blind, start)
    if blind:
        modal = discord.ui.Modal(title=texts.OWN_TITLE, custom_id=remembered.dump())
        modal.add_item(_input("text0", texts.OWN_LABEL))
        return _closed(modal)
    modal = discord.ui.Modal(title=texts.CORRECT_TITLE, custom_id=remembered.dump())
    _add_pieces(modal, shown.text, start)
    options = [discord.SelectOption(label=label, value=value) for value, label in texts.ABOUT_CHOICES.items()]
    about: discord.ui.Select[Any] = discord.ui.Select(custom_id="about", required=False, options=options)
    modal.add_item(discord.ui.Label(text=texts.ABOUT_LABEL, component=about))
    return _closed(modal)


def edit(text: str, pair_id: str, mark: str) -> discord.ui.Modal:
    """A reviewer's own version of a correction."""
    modal = discord.ui.Modal(title=texts.EDIT_TITLE, custom_id=Remembered(EDIT, pair_id, mark).dump())
    _add_pieces(modal, text, 0)
    return _closed(modal)


def reason(summary_id: str) -> discord.ui.Modal:
    """The optional reason of a thumb down."""
    modal = discord.ui.Modal(title=texts.REASON_TITLE, custom_id=Remembered(REASON, summary_id).dump())
    modal.add_item(_input("text0", texts.REASON_LABEL, required=False, most=_REASON))
    return _closed(modal)


def reject(pair_id: str, mark: str) -> discord.ui.Modal:
    """The reason of a rejection, which is not optional."""
    modal = discord.ui.Modal(title=texts.REJECT_TITLE, custom_id=Remembered(REJECT, pair_id, mark).dump())
    modal.add_item(_input("text0", texts.REJECT_LABEL, most=_REASON))
    return _closed(modal)


def next_start(before: str, remembered: Remembered, now: str) -> int:
    """Where in a text as it is now begins what a modal of the text before had no room for; 0 where it had."""
    rest = before[remembered.start :]
    pieces, between = parts(rest, _INPUT)
    further = rest[len(joined(pieces[:_INPUTS], between)) :].lstrip()
    return len(now) - len(further) if further and now.endswith(further) else 0


def whole(before: str, remembered: Remembered, written: list[str]) -> str:
    """The whole text after a modal, which may hold only some pieces of it.

    Args:
        before: the text that the modal was made of; empty where it began empty.
    """
    if remembered.blind or not before:
        return joined(written, [])
    pieces, between = parts(before[remembered.start :], _INPUT)
    pieces[:_INPUTS] = written
    return before[: remembered.start] + joined(pieces, between)


def values(data: Any) -> dict[str, str]:
    """What was written or chosen in a submitted modal, by input."""
    found = {}
    for one in _inputs(data.get("components") or ()):
        chosen = one.get("values") or [""]
        found[str(one.get("custom_id"))] = str(one.get("value") or chosen[0] or "")
    return found


def written(found: dict[str, str]) -> list[str]:
    """The texts of a modal's inputs, in order."""
    pieces: list[str] = []
    while (piece := found.get(f"text{len(pieces)}")) is not None:
        pieces.append(piece)
    return pieces


def _inputs(components: Any) -> Iterator[dict[str, Any]]:
    for one in components:
        if "component" in one:
            yield one["component"]
        elif "components" in one:
            yield from one["components"]
        else:
            yield one


def _add_pieces(modal: discord.ui.Modal, text: str, start: int) -> None:
    pieces, _ = parts(text[start:], _INPUT)
    before = len(parts(text[:start], _INPUT)[0])
    for number, piece in enumerate(pieces[:_INPUTS]):
        # Emptied, what it held is taken out; but not where it is all there is.
        label = texts.part_label(before + number + 1, before + len(pieces))
        modal.add_item(_input(f"text{number}", label, piece, required=before + len(pieces) == 1))


def _input(
    custom_id: str, label: str, text: str = "", *, required: bool = True, most: int = _INPUT
) -> discord.ui.Label[Any]:
    entry: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=custom_id,
        style=discord.TextStyle.paragraph,
        default=text or None,
        required=required,
        max_length=most,
    )
    return discord.ui.Label(text=label, component=entry)


def _closed(modal: discord.ui.Modal) -> discord.ui.Modal:
    """The library keeps no track of it: a modal is known by what it says, whichever process hears of it."""
    modal.stop()
    return modal
