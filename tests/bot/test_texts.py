"""All texts that people see live in one file, within the platforms' limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import bot
from bot import texts
from storage.errors import (
    CorrectionRefused,
    EngineBusy,
    EngineError,
    EngineUnavailable,
    InputError,
    NotPermitted,
    RedraftError,
    StorageError,
)

FOLDER = Path(bot.__file__).parent
#: What opens a sentence in a log line, an error for administrators or a fix of the doctor is no text in a chat.
_SHOWN_BY = {"tell", "section", "button", "header", "context", "escape", "ack", "say", "_plain", "respond"}


def test_no_other_file_of_the_bot_holds_a_sentence_for_a_chat() -> None:
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        if path.name == "texts.py":
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name not in _SHOWN_BY:
                continue
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            found += [
                f"{path.name}: {part.value}"
                for one in given
                for part in ast.walk(one)
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and re.search(r"\w \w", part.value)
            ]
    assert found == []


def test_labels_fit_where_the_platforms_show_them() -> None:
    buttons = (
        texts.SHARE, texts.CORRECT, texts.OWN, texts.UP, texts.DOWN, texts.SOURCES, texts.SHOW, texts.OPT_OUT,
        texts.OPT_IN, texts.APPROVE, texts.REJECT, texts.EDIT, texts.SAVE, texts.CANCEL, texts.CLOSE,
    )  # fmt: skip
    titles = (
        texts.CORRECT_TITLE, texts.OWN_TITLE, texts.REASON_TITLE, texts.EDIT_TITLE, texts.SOURCES_TITLE,
        texts.SUMMARY_LABEL, texts.REJECT,
    )  # fmt: skip
    assert all(len(button) <= 24 for button in buttons) and len(set(buttons)) == len(buttons)
    assert all(len(title) <= 24 for title in titles)


def test_people_see_sentences_and_never_an_exceptions_text() -> None:
    inner = "Traceback of SELECT secret"
    for error in (EngineError(inner), StorageError(inner), RedraftError(inner), None):
        assert texts.of_error(error) == texts.FAILED
    for away in (EngineUnavailable(inner), EngineBusy(3)):
        assert texts.of_error(away) == texts.ENGINE_AWAY
    for told in (InputError("There is no text."), NotPermitted("You may not."), CorrectionRefused("Nothing changed.")):
        assert texts.of_error(told) == told.message


def test_counts_are_worded() -> None:
    assert texts.covers(1, 1, "", "") == "1 message by 1 person"
    assert texts.covers(1200, 3, "Mon", "Tue") == "1,200 messages by 3 people, Mon to Tue"
    assert texts.left_out(40, 0) == "the oldest 40 were left out"
    assert texts.left_out(400, 2, more=True).startswith("the oldest 400 or more were left out; 2 messages")
    assert texts.left_out(0, 0) == ""
    assert texts.waiting(1) == "Taken. 1 request is before yours; you are number 2."
    assert texts.my_data({"messages": 0, "pairs": 0}) == "Nothing is stored about you."
