"""SAMSum and DialogSum rows, and plain ``Name: text`` lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from engine.formats import read_bytes
from tests.engine.formats.support import read_json, read_text, refused, slack, texts, turns

ROW = {"id": "13818513", "dialogue": "Amanda: I baked cookies.\r\nJerry: Sure!\r\nAmanda: <file_photo>", "summary": "x"}


def test_a_samsum_row_is_read_without_its_summary() -> None:
    conversation = read_json(ROW)
    assert turns(conversation) == [("Amanda", "I baked cookies."), ("Jerry", "Sure!"), ("Amanda", "[image]")]
    assert (conversation.platform, conversation.title) == ("file", "13818513")
    assert [message.time for message in conversation.messages] == [None] * 3


def test_dialogsums_speakers_are_made_readable_where_they_speak_and_where_they_are_spoken_of() -> None:
    row = {
        "fname": "train_0",
        "dialogue": "#Person1#: Hi, #Person2#.\n#Person2#: Hi!",
        "summary": "",
        "topic": "greeting",
    }
    conversation = read_json(row)
    assert turns(conversation) == [("Person1", "Hi, Person2."), ("Person2", "Hi!")]
    assert conversation.title == "greeting"


@pytest.mark.parametrize("pad", ["", "\n\n"])
@pytest.mark.parametrize("lines", [True, False])
def test_several_rows_need_an_id_and_the_first_few_are_named(lines: bool, pad: str) -> None:
    rows = [{**ROW, "id": f"r{number}", "dialogue": f"Ana: number {number}"} for number in range(5)]
    data = (pad + ("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)) + pad).encode()
    error = refused(lambda: read_bytes(data, "train.json"))
    assert "5 conversations" in error.message
    assert "--row" in error.hint
    assert "r0, r1, r2 and 2 more" in error.hint
    assert texts(read_bytes(data, "train.json", row="r3")) == ["number 3"]
    assert "no row r9" in refused(lambda: read_bytes(data, "train.json", row="r9")).message


def test_a_row_is_found_by_a_numeric_id_by_fname_and_by_its_place() -> None:
    assert texts(read_json([{"id": 7, "dialogue": "A: seven"}, {"id": 8, "dialogue": "A: eight"}], row="8")) == [
        "eight"
    ]
    assert texts(read_json([{"fname": "a", "dialogue": "A: x"}, {"fname": "b", "dialogue": "A: y"}], row="b")) == ["y"]
    assert texts(read_json([{"dialogue": "A: x"}, {"dialogue": "A: y"}], row="2")) == ["y"]


def test_one_row_needs_no_id_but_a_wrong_one_is_refused() -> None:
    assert read_json(ROW, row="13818513").id == read_json([ROW]).id == read_json(ROW).id
    refused(lambda: read_json(ROW, row="1"))


def test_a_row_in_which_nobody_is_named_is_refused() -> None:
    assert "says who speaks" in refused(lambda: read_json({"id": "1", "dialogue": "only prose here"})).message


def test_lines_with_continuations_are_read() -> None:
    conversation = read_text("Ana: first\nand more\n\n  indented: too\nBo Li: second\n- Ana: quoted\n")
    assert turns(conversation) == [("Ana", "first\nand more\n\n  indented: too"), ("Bo Li", "second\n- Ana: quoted")]
    assert conversation.title == "file.txt"


@pytest.mark.parametrize(
    ("line", "author", "text"),
    [
        ("北川 美咲: おはよう", "北川 美咲", "おはよう"),
        ("李雷:你好", "李雷", "你好"),
        ("李雷：你好", "李雷", "你好"),
        ("نورة الزهراني: مرحبا", "نورة الزهراني", "مرحبا"),
        ("דנה: שלום: לכולם", "דנה", "שלום: לכולם"),
        ("🦊 Fox: ring 🦊: ding", "🦊 Fox", "ring 🦊: ding"),
        ("O'Brien-Łukasz: hi", "O'Brien-Łukasz", "hi"),
        ("Dr. Eva M. Smith: hi", "Dr. Eva M. Smith", "hi"),
        ("Ludwig van der Berg: hi", "Ludwig van der Berg", "hi"),
        ("Ana (Support): hi", "Ana (Support)", "hi"),
        ("Hon. Ana Ruiz (Families, Children (Lib.)): hi", "Hon. Ana Ruiz (Families, Children (Lib.))", "hi"),
        ("user_12#0042: hi", "user_12#0042", "hi"),
        ("+49 170 1234567: hi", "+49 170 1234567", "hi"),
        ("Ana : hi", "Ana", "hi"),
        ("Ana:\tsee https://x.org: yes", "Ana", "see https://x.org: yes"),
        ("Edit: I am a Hungarian", "Edit", "I am a Hungarian"),
    ],
)
def test_names_of_all_kinds_are_speakers(line: str, author: str, text: str) -> None:
    assert turns(read_text(line)) == [(author, text)]


@pytest.mark.parametrize(
    "line",
    [
        "https://x.org/a: broken",
        "http://x.org",
        "10:32 is late",
        "10: buy milk",
        "Note: this is mine",
        "ERROR: disk full",
        "Steps to reproduce: open it",
        "This is a sentence, and it goes on: yes",
        "Did you see it? Well: no",
        "C:\\temp: gone",
        "std::vector<int>: ok",
        "key=value: x",
        "def read(value: str) -> int: ...",
        "# comment: x",
        "$(STAMP): Makefile",
        "  Bo: indented",
        "- Bo: in a list",
        "> Bo: quoted",
        "a:b",
    ],
)
def test_what_is_no_name_goes_on_with_the_message_before(line: str) -> None:
    conversation = read_text(f"Ana: first\n{line}\nBo: last")
    assert turns(conversation) == [("Ana", f"first\n{line}"), ("Bo", "last")]


@pytest.mark.parametrize("name", ["Cox, Charlie", "xabbu|", "Moon{K}", "[Clint]", "MATT - TRAVIS", "Steps to heaven"])
def test_an_odd_name_is_a_speaker_when_met_twice_and_in_a_row_at_once(name: str) -> None:
    twice = f"Ana: first\n{name}: one\nAna: and\n{name}: two"
    assert turns(read_text(twice))[1::2] == [(name, "one"), (name, "two")]
    once = f"Ana: first\n{name}: one"
    assert turns(read_text(once)) == [("Ana", f"first\n{name}: one")]
    if name != "Steps to heaven":
        assert turns(read_json({"id": "1", "dialogue": once})) == [("Ana", "first"), (name, "one")]


def test_a_fenced_block_is_kept_whole_and_an_unclosed_one_swallows_nothing() -> None:
    assert turns(read_text("Ana: ```yaml\nname: x\nBo: y\n```\nBo: ok")) == [
        ("Ana", "```yaml\nname: x\nBo: y\n```"),
        ("Bo", "ok"),
    ]
    assert turns(read_text("Ana: ```oops\nBo: ok")) == [("Ana", "```oops"), ("Bo", "ok")]


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("[10:32] Ana: hi", None),
        ("10:32 Ana: hi", None),
        ("[10:32:05 AM] Ana: hi", None),
        ("12/05/2026, 10:32 - Ana: hi", None),
        ("[12.05.26, 10:32:07] Ana: hi", None),
        ("2026-05-01 10:32 Ana: hi", datetime(2026, 5, 1, 10, 32, tzinfo=UTC)),
        ("[2026-05-01 10:32:05] Ana: hi", datetime(2026, 5, 1, 10, 32, 5, tzinfo=UTC)),
        ("(2026-05-01, 10:32) Ana: hi", datetime(2026, 5, 1, 10, 32, tzinfo=UTC)),
        ("2026-05-01T10:32:05Z Ana: hi", datetime(2026, 5, 1, 10, 32, 5, tzinfo=UTC)),
        ("2026-05-01T10:32:05.25+02:00 - Ana: hi", datetime(2026, 5, 1, 8, 32, 5, 250000, tzinfo=UTC)),
        ("Ana [2026-05-01 10:32]: hi", datetime(2026, 5, 1, 10, 32, tzinfo=UTC)),
        ("Ana (10:32): hi", None),
        ("2026-13-41 10:32 Ana: hi", None),
    ],
)
def test_leading_and_trailing_times_are_taken_off_and_read_where_they_name_a_day(
    line: str, time: datetime | None
) -> None:
    conversation = read_text(line)
    assert turns(conversation) == [("Ana", "hi")]
    assert conversation.messages[0].time == time


def test_what_stands_above_the_first_speaker_is_kept_apart() -> None:
    conversation = read_text("Chat of Monday\n\nAna: hi")
    assert [(m.author, m.text, m.kind) for m in conversation.messages] == [
        ("Header", "Chat of Monday", "system"),
        ("Ana", "hi", "person"),
    ]


@pytest.mark.parametrize(
    "text", ["just prose\nand more of it", "https://x.org/a: b", "12:30 lunch", "{ not json", "[ nope"]
)
def test_text_without_a_speaker_is_refused(text: str) -> None:
    refused(lambda: read_text(text))
    assert "says who speaks" in refused(lambda: read_text(text, format="text")).message


def test_a_document_with_colons_here_and_there_is_no_conversation_unless_told() -> None:
    prose = "\n".join(f"This is line {number} of a manual." for number in range(50))
    document = f"{prose}\nExample: one\nSee also: two\n"
    assert "say who speaks" in refused(lambda: read_text(document)).message
    long = f"Ana: look at this log\n{prose}\nBo: thanks"
    assert "say who speaks" in refused(lambda: read_text(long)).message
    assert [author for author, _ in turns(read_text(long, format="text"))] == ["Ana", "Bo"]


def test_the_id_comes_from_what_is_said_and_not_from_the_file() -> None:
    assert read_text("Ana: hi\nBo: yo").id == read_bytes(b"Ana:  hi\r\nBo: yo\r\n", "other").id
    assert read_text("Ana: hi\nBo: yo").id != read_text("Ana: hi\nBo: yes").id
    assert read_text("Ana: hi\nBo: yo").id == read_json({"id": "x", "dialogue": "Ana: hi\nBo: yo"}).id


def test_text_that_starts_with_a_bracket_and_json_that_looks_like_text_are_told_apart() -> None:
    assert turns(read_text("[10:32] Ana: hi\n[10:33] Bo: yo")) == [("Ana", "hi"), ("Bo", "yo")]
    assert texts(read_json([slack(1, "[10:32] Ana: hi")])) == ["[10:32] Ana: hi"]
    assert read_text(json.dumps([slack(1, "x")]), format="slack").platform == "slack"
