"""What a person sees of a summary: everything that matters of the result, and nothing that drives their terminal."""

from __future__ import annotations

import json

import pytest

from admin.person import login_name
from admin.present import as_document, print_summary
from admin.report import print_json, report_error
from engine.conversation import Conversation, Message
from engine.requests import Coverage, SummaryResult, SummarySentence
from storage.errors import InputError

_HOSTILE = "a\x1b]0;owned\x07b\u202ec user:id:7 [bold]d[/bold]"
_CONVERSATION = Conversation("c", (Message("m1", f"Amara {_HOSTILE}", f"We ship on Friday. {_HOSTILE}"),))
_RESULT = SummaryResult(
    summary="They ship on Friday. It costs 12.",
    sentences=(
        SummarySentence("They ship on Friday.", ("m1",)),
        SummarySentence("It costs 12.", (), supported=False, flagged=("12",)),
    ),
    coverage=Coverage(messages=1, left_out=2, authors=1, first="", last="", parts=1),
    model="starter",
    adapter="base",
    prompt_version="1",
    style="standard",
    focus="",
    input_tokens=10,
    output_tokens=8,
    seconds=0.5,
    demonstration=True,
    notes=("The model reached its length limit before it had finished.",),
)


def test_terminal_shows_sources_marks_flags_notes_and_what_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(_CONVERSATION, _RESULT)
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "They ship on Friday. [1]", "(no message supports this)", "(not in the conversation: 12)", "[1] Amara",
        "2 left out", "length limit", "Written by starter, adapter base", "is a demonstration",
    ):  # fmt: skip
        assert part in shown


def test_what_people_wrote_cannot_drive_the_terminal_and_is_not_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(_CONVERSATION, _RESULT)
    report_error(InputError(_HOSTILE, _HOSTILE))
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "user:id:7" in text
        assert "[bold]d[/bold]" in text


def test_document_is_json_with_nothing_unseen_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({**as_document(_CONVERSATION, _RESULT, "s1"), "said": f"{_HOSTILE}\x9b"})
    text = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    document = json.loads(text)
    assert document["said"] == f"{_HOSTILE}\x9b"
    assert document["notes"] == list(_RESULT.notes)


def test_person_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert login_name() == "4711"
