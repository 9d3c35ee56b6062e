"""Slack's modals: opened with a trigger at once, filled when there is something to show, read back when submitted.

What a modal has to remember stands in its ``private_metadata`` (3,000 characters), so that no process needs to. Texts
longer than an input takes are edited in several inputs of one modal.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from bot import texts
from bot.answers import Shown, joined, parts
from bot.slack.blocks import Block, section

CORRECT, REASON, REJECT, EDIT = "redraft_save", "redraft_reason", "redraft_reject_save", "redraft_edit_save"
#: Characters in one text input; a modal has room for a hundred of them, far more than a correction may be long.
_INPUT = 2_900


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a modal is about.

    Attributes:
        id: of the summary or the pair.
        builds_on: the correction that was before the person, or empty.
        blind: whether they write without the draft.
        seen: the pair's mark as it was shown.
        respond: the ``response_url`` of the message in which they clicked, or empty.
        private: whether that message is theirs alone, so that it can be replaced for them.
        channel, thread: where that message stands; empty in the home.
        between: what stood between the pieces of a long text.
    """

    id: str
    builds_on: str = ""
    blind: bool = False
    seen: str = ""
    respond: str = ""
    private: bool = False
    channel: str = ""
    thread: str = ""
    between: list[str] = field(default_factory=list)

    def dump(self) -> str:
        """As ``private_metadata``."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def load(cls, text: str) -> Remembered:
        """From ``private_metadata``."""
        return cls(**json.loads(text))


def loading(title: str) -> Block:
    """What stands there until there is something to show."""
    return _view(title, [section(texts.LOADING)], close=texts.CLOSE)


def message(title: str, text_blocks: list[Block]) -> Block:
    """Something to read."""
    return _view(title, text_blocks, close=texts.CLOSE)


def correct(shown: Shown, remembered: Remembered) -> Block:
    """The modal in which a summary is corrected, or written anew without the draft."""
    if remembered.blind:
        inputs = [_input("text0", texts.OWN_LABEL, "")]
        title = texts.OWN_TITLE
    else:
        pieces, between = parts(shown.text, _INPUT)
        remembered = Remembered(**{**asdict(remembered), "between": between})
        inputs = [
            _input(f"text{number}", texts.part_label(number + 1, len(pieces)), piece)
            for number, piece in enumerate(pieces)
        ]
        title = texts.CORRECT_TITLE
    about: Block = {
        "type": "input",
        "block_id": "about",
        "optional": True,
        "label": _plain(texts.ABOUT_LABEL),
        "element": {
            "type": "static_select",
            "action_id": "value",
            "options": [
                {"text": _plain(label), "value": value} for value, label in texts.ABOUT_CHOICES.items()
            ],
        },
    }  # fmt: skip
    blocks = inputs if remembered.blind else [*inputs, about]
    view = _view(title, blocks, close=texts.CANCEL, submit=texts.SAVE, callback=CORRECT, remembered=remembered)
    # The draft that was hidden comes back when they change their mind.
    return view | ({"notify_on_close": True} if remembered.blind and remembered.private else {})


def reason(remembered: Remembered) -> Block:
    """The optional reason of a thumb down."""
    inputs = [_input("reason", texts.REASON_LABEL, "", optional=True, most=2_000)]
    return _view(
        texts.REASON_TITLE, inputs, close=texts.CLOSE, submit=texts.SAVE, callback=REASON, remembered=remembered
    )


def reject(remembered: Remembered) -> Block:
    """The reason of a rejection, which is not optional."""
    inputs = [_input("reason", texts.REJECT_LABEL, "", most=2_000)]
    return _view(texts.REJECT, inputs, close=texts.CANCEL, submit=texts.REJECT, callback=REJECT, remembered=remembered)


def edit(text: str, remembered: Remembered) -> Block:
    """A reviewer's own version of a correction."""
    pieces, between = parts(text, _INPUT)
    remembered = Remembered(**{**asdict(remembered), "between": between})
    inputs = [
        _input(f"text{number}", texts.part_label(number + 1, len(pieces)), piece) for number, piece in enumerate(pieces)
    ]
    return _view(texts.EDIT_TITLE, inputs, close=texts.CANCEL, submit=texts.SAVE, callback=EDIT, remembered=remembered)


def text_of(view: dict[str, Any], remembered: Remembered) -> str:
    """The text of a submitted modal's inputs."""
    values = view["state"]["values"]
    pieces: list[str] = []
    while (entry := values.get(f"text{len(pieces)}")) is not None:
        pieces.append(str(entry["value"].get("value") or ""))
    return joined(pieces, remembered.between)


def value_of(view: dict[str, Any], block: str) -> str:
    """What was chosen or written in one input, or empty."""
    entry = (view["state"]["values"].get(block) or {}).get("value") or {}
    chosen = entry.get("selected_option") or {}
    return str(chosen.get("value") or entry.get("value") or "")


def _view(
    title: str,
    blocks: list[Block],
    *,
    close: str,
    submit: str = "",
    callback: str = "",
    remembered: Remembered | None = None,
) -> Block:
    view: Block = {"type": "modal", "title": _plain(title[:24]), "close": _plain(close[:24]), "blocks": blocks}
    if submit:
        view |= {"submit": _plain(submit[:24]), "callback_id": callback}
    if remembered is not None:
        view["private_metadata"] = remembered.dump()
    return view


def _input(block: str, label: str, text: str, *, optional: bool = False, most: int = 3_000) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": "value", "multiline": True, "max_length": most}
    if text:
        element["initial_value"] = text
    return {"type": "input", "block_id": block, "optional": optional, "label": _plain(label), "element": element}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": True}
