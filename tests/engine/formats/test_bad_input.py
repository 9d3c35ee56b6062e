"""Whatever is given to read, it is a conversation or one clear sentence."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats import FORMATS, read_bytes, read_conversation
from engine.formats.source import MAX_BYTES
from storage.errors import InputError
from tests.engine.formats.support import discord_export, read_json, refused, slack


def _refuse_bytes(data: bytes, **options: Any) -> InputError:
    return refused(lambda: read_bytes(data, "file", **options))


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    assert "no-such.json" in refused(lambda: read_conversation(tmp_path / "no-such.json")).message


def test_a_directory_is_told_and_the_hint_says_to_name_a_day_file(tmp_path: Path) -> None:
    error = refused(lambda: read_conversation(tmp_path))
    assert "is a directory" in error.message
    assert "day file" in error.hint


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "closed.txt"
    path.write_text("Ana: hello\n")
    path.chmod(0)
    root = os.geteuid() == 0
    if root:  # to whom no file is closed
        os.seteuid(65534)
    try:
        error = refused(lambda: read_conversation(path))
    finally:
        if root:
            os.seteuid(0)
    assert "may not be read" in error.message


@pytest.mark.parametrize("name", ["a" * 5000, "x\0y", "loop"])
def test_a_path_that_the_system_refuses_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    refused(lambda: read_conversation(tmp_path / name))


def test_a_path_with_control_characters_is_shown_without_them(tmp_path: Path) -> None:
    assert "\x1b" not in refused(lambda: read_conversation(tmp_path / "a\x1b[31m\nb")).message


@pytest.mark.parametrize("data", [b"", b" \n\t \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", b"\xff\xfe"])
def test_an_empty_file_is_told(data: bytes) -> None:
    assert "is empty" in _refuse_bytes(data).message


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "64 MB" in refused(lambda: read_conversation(path)).message


def test_an_endless_input_is_read_only_up_to_the_limit() -> None:
    assert "64 MB" in refused(lambda: read_conversation(Path("/dev/zero"))).message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "ZIP archive"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"%PDF-1.7 rest", "PDF"),
        (b"SQLite format 3\x00rest", "SQLite"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "byte"),
        (b"Ana: hi\x00there", "NUL byte at byte offset 7"),
        ("Ana: hi".encode("utf-16-le"), "NUL byte at byte offset 1"),
        ("\ufeffAna: a\x00b".encode("utf-16"), "NUL character"),
    ],
)
def test_binary_is_told_for_what_it_is(data: bytes, said: str) -> None:
    assert said in _refuse_bytes(data).message


@pytest.mark.parametrize(
    ("data", "offset"), [(b"Ana: caf\xe9 at ten", 8), (b"\xef\xbb\xbfAna: \xff", 8), (b"\xff\xfeA\x00\x00\xdcB\x00", 4)]
)
def test_bytes_that_are_no_text_are_told_with_their_offset(data: bytes, offset: int) -> None:
    assert f"byte at offset {offset} " in _refuse_bytes(data).message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["Zoë: grüß dich 🦊\n北川: はい", json.dumps([slack(1, "grüß")], ensure_ascii=False)])
def test_a_byte_order_mark_says_the_encoding(encoding: str, text: str) -> None:
    conversation = read_bytes(text.encode(encoding), "file")
    assert "grüß" in conversation.messages[0].text
    assert conversation.id == read_bytes(text.encode(), "another name").id


def test_truncated_json_is_told_as_such_wherever_it_is_cut() -> None:
    whole = json.dumps([slack(1, "first"), slack(2, "second")], indent=1)
    for cut in range(1, len(whole)):
        error = _refuse_bytes(whole[:cut].encode())
        assert "JSON" in error.message
        assert "line" in error.message
        if whole[cut - 1 : cut + 1] not in ("tr", "ru"):
            assert "ends too early" in error.message, whole[:cut]


def test_broken_json_is_told_with_line_and_column() -> None:
    error = _refuse_bytes(b'[\n {"ts": "1.2", "text": "a"},\n {"ts" "1.3"}\n]')
    assert "line 3, column 8" in error.message


def test_a_broken_line_of_json_lines_is_told_by_its_number() -> None:
    error = _refuse_bytes(b'{"id": 1, "dialogue": "A: b"}\n\n{"id": 2, "dialogue": }\n{}')
    assert "line 3, column 23" in error.message


@pytest.mark.parametrize("format", [None, *FORMATS])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"messages":', "}"), ('[{"ts":"1","blocks":', "}]")])
@pytest.mark.parametrize("closed", [True, False])
def test_json_100_000_deep_is_refused_and_nothing_crashes(
    opening: str, closing: str, closed: bool, format: str | None
) -> None:
    data = opening * 100_000 + ("1" + closing * 100_000 if closed else "")
    _refuse_bytes(data.encode(), format=format)


@pytest.mark.parametrize("depth", [5, 50, 300])
def test_deep_blocks_that_json_still_reads_do_not_exhaust_the_stack(depth: int) -> None:
    block: dict[str, Any] = {"type": "text", "text": "inside"}
    for _ in range(depth):
        block = {"type": "rich_text_quote", "elements": [block]}
    conversation = read_json([slack(1, "", blocks=[{"type": "rich_text", "elements": [block]}]), slack(2, "after")])
    assert conversation.messages[1].text == "after"


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    assert "digits" in _refuse_bytes(b"[" + b"1" * 5000 + b"]").message


@pytest.mark.parametrize("value", [{}, [], 3, "text", None, True, [1, 2], {"a": 1}, {"messages": []}, [{"a": 1}], [[]]])
@pytest.mark.parametrize("format", [None, "slack", "discord", "samsum"])
def test_json_of_the_wrong_shape_is_refused(value: Any, format: str | None) -> None:
    refused(lambda: read_json(value, format=format))


def test_json_that_is_no_known_conversation_names_the_choices() -> None:
    error = refused(lambda: read_json({"hello": "world"}))
    assert "can't be told" in error.message
    assert error.hint == "Say what it is with --format (slack, discord, samsum, text)."


def test_an_unknown_format_names_the_choices() -> None:
    error = refused(lambda: read_bytes(b"Ana: hi", "file", format="irc"))
    assert "irc" in error.message
    assert all(name in error.hint for name in FORMATS)


def test_an_exports_list_of_users_is_told_apart_from_a_day_file() -> None:
    error = refused(lambda: read_json([{"id": "U1", "name": "ana", "profile": {"display_name": "Ana"}}]))
    assert "people or channels" in error.message
    assert "day file" in error.hint


def test_html_is_refused() -> None:
    assert "HTML" in _refuse_bytes(b"<!DOCTYPE html>\n<html>Ana: hi</html>").message


@pytest.mark.parametrize(
    "value",
    [
        [slack(1, ""), slack(2, "  ")],
        [slack(1, "\x00\x01")],
        discord_export({"id": "1", "content": "", "author": {"name": "Ana"}, "timestamp": "2026-05-12T09:00:00Z"}),
        {"id": "1", "dialogue": "Ana:\nBo: \n"},
        {"id": "1", "dialogue": "  "},
        {"id": "1", "dialogue": None},
    ],
)
def test_messages_without_any_text_are_refused(value: Any) -> None:
    refused(lambda: read_json(value))


def test_a_conversation_of_bots_alone_is_read() -> None:
    conversation = read_json([slack(1, "disk full", subtype="bot_message", username="Gauge", user=None)])
    assert [(m.kind, m.author) for m in conversation.messages] == [("bot", "Gauge")]


def test_a_row_is_refused_where_there_are_no_rows() -> None:
    assert "no rows" in refused(lambda: read_json([slack(1, "hi")], row="1")).message


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"Ana: hello\nBo: hi\n")))
    assert [m.author for m in read_conversation(Path("-")).messages] == ["Ana", "Bo"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
# Values under the names that the readers look for, so that every branch meets every type.
_KEYS = (
    "ts thread_ts user text subtype blocks elements type style name profile user_profile files attachments fields "
    "title value room date_start date_end participant_history message deleted_ts messages guild channel id author "
    "timestamp content embeds mentions roles reference messageId forwardedMessage poll question answers votes stickers "
    "dialogue fname isBot nickname hidden unicode indent offset permalink bot_profile edited mode preview from_url "
    "is_share"
)
shaped_values = st.recursive(
    json_values | st.sampled_from(["1778575200.000100", "rich_text", "rich_text_list", "section", "text", "U1", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS.split()), inner, min_size=1, max_size=6)
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), format=st.sampled_from([None, *FORMATS]), row=st.none() | st.text(max_size=3))
def test_arbitrary_bytes_raise_nothing_else(data: bytes, format: str | None, row: str | None) -> None:
    try:
        read_bytes(data, "file", format=format, row=row)
    except InputError as error:
        assert str(error).isprintable()


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200), format=st.sampled_from([None, *FORMATS]))
def test_arbitrary_text_raises_nothing_else(text: str, format: str | None) -> None:
    try:
        conversation = read_bytes(text.encode("utf-8", "surrogatepass"), "file", format=format)
    except InputError:
        return
    assert all(message.author for message in conversation.messages)


@settings(max_examples=600, deadline=None)
@given(value=shaped_values, format=st.sampled_from([None, "slack", "discord", "samsum"]))
def test_arbitrary_json_raises_nothing_else(value: Any, format: str | None) -> None:
    _read_or_refuse(value, format)


@settings(max_examples=600, deadline=None)
@given(
    entries=st.lists(
        st.dictionaries(st.sampled_from(_KEYS.split()), shaped_values, min_size=1, max_size=8), min_size=1, max_size=3
    ),
    format=st.sampled_from(["slack", "discord", "samsum"]),
)
def test_arbitrary_messages_raise_nothing_else(entries: list[dict[str, Any]], format: str) -> None:
    extra: dict[str, Any] = {"slack": {"ts": "1778575200.000100"}, "discord": {"content": "x"}}.get(format, {})
    _read_or_refuse({"messages": [{**extra, **entry} for entry in entries]}, format)


def _read_or_refuse(value: Any, format: str | None) -> None:
    try:
        conversation = read_json(value, format=format)
    except InputError as error:
        assert str(error).isprintable()
        return
    ids = [message.id for message in conversation.messages]
    assert len(ids) == len(set(ids)) > 0
    for message in conversation.messages:
        assert message.author.strip()
        assert message.time is None or message.time.utcoffset() is not None
        # What is stored must be encodable, and PostgreSQL takes no NUL.
        for part in (message.id, message.author, message.author_id, message.text, message.permalink, message.thread):
            assert "\x00" not in part
            part.encode()
