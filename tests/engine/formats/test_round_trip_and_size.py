"""What was said comes out as it was said, in order, from every format; large inputs are read in time and in memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats import read_bytes
from engine.formats.values import clean
from tests.engine.formats.support import discord, discord_export, read_json, read_text, slack, turns

_NAMES = ["Ana", "Bo Li", "北川 美咲", "نورة", "Zoë Müller", "🦊 Fox", "O'Brien"]
_printable = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60)
said = st.lists(st.tuples(st.sampled_from(_NAMES), _printable.filter(str.strip)), min_size=1, max_size=12)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@settings(deadline=None)
@given(said)
def test_slack_mrkdwn_gives_back_who_said_what_in_order(conversation: list[tuple[str, str]]) -> None:
    messages = [
        slack(number, _escaped(text), user=f"U{_NAMES.index(name)}", user_profile={"display_name": name})
        for number, (name, text) in enumerate(conversation)
    ]
    assert turns(read_json(messages)) == [(name, text.strip()) for name, text in conversation]


@settings(deadline=None)
@given(said)
def test_slack_blocks_give_back_who_said_what_in_order(conversation: list[tuple[str, str]]) -> None:
    def blocks(text: str) -> list[dict[str, Any]]:
        section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
        return [{"type": "rich_text", "elements": [section]}]

    messages = [
        slack(number, "", user=f"U{_NAMES.index(name)}", user_profile={"real_name": name}, blocks=blocks(text))
        for number, (name, text) in enumerate(conversation)
    ]
    assert turns(read_json(messages)) == [(name, text.strip()) for name, text in conversation]


@settings(deadline=None)
@given(said)
def test_discord_gives_back_who_said_what_in_order(conversation: list[tuple[str, str]]) -> None:
    messages = [discord(number, text, name) for number, (name, text) in enumerate(conversation)]
    expected = [(name, text.strip()) for name, text in conversation if "<" not in text]
    found = turns(read_json(discord_export(*messages)))
    assert len(found) == len(conversation)
    assert [turn for turn, (_, text) in zip(found, conversation, strict=True) if "<" not in text] == expected


@settings(deadline=None)
@given(said)
def test_rows_and_text_give_back_who_said_what_in_order(conversation: list[tuple[str, str]]) -> None:
    lines = "\n".join(f"{name}: {text}" for name, text in conversation)
    if lines.count("```") > 1:
        return  # a fenced block, in which lines are no turns
    expected = [(name, text.strip()) for name, text in conversation]
    assert turns(read_text(lines, format="text")) == expected
    if "#Person" not in lines and "<file_" not in lines:
        assert turns(read_json({"id": "1", "dialogue": lines})) == expected


@given(st.text())
def test_clean_text_is_encodable_and_stays_clean(text: str) -> None:
    once = clean(text)
    once.encode()
    assert clean(once) == once
    assert not set(once) & set(map(chr, [*range(9), *range(11, 32), 127]))


MEGABYTE = "word <@U1> & so on, " * 52_429


@pytest.mark.parametrize("form", ["slack", "discord", "samsum", "text"])
def test_a_message_of_one_megabyte_is_read_whole(form: str) -> None:
    values: dict[str, Any] = {
        "slack": [slack(1, MEGABYTE)],
        "discord": discord_export(discord(1, MEGABYTE)),
        "samsum": {"id": "1", "dialogue": f"Ana: {MEGABYTE}"},
    }
    data = (json.dumps(values[form]) if form in values else f"Ana: {MEGABYTE}").encode()
    started = time.process_time()
    conversation = read_bytes(data, "file", format=form)
    assert time.process_time() - started < 5
    assert conversation.messages[0].text.count("word") == 52_429


@pytest.mark.parametrize("piece", ["<", "<@", "&amp", "[", "a:", "`", ":a", "<@U1", "a b "])
def test_text_made_to_be_slow_is_not(piece: str) -> None:
    hostile = piece * (600_000 // len(piece))
    inputs: list[tuple[Any, str]] = [
        ([slack(1, hostile)], "slack"),
        (discord_export(discord(1, hostile)), "discord"),
        ({"id": "1", "dialogue": f"Ana: {hostile}\n{hostile}"}, "samsum"),
    ]
    started = time.process_time()
    for value, form in inputs:
        read_json(value, format=form)
    assert time.process_time() - started < 5


def _thread(count: int) -> list[dict[str, Any]]:
    text = (
        "We looked at <https://x.org/a?b=1&amp;c=2|the graph> with <@U2> and it went down again after the restart. " * 2
    )
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return [
        slack(
            number,
            text,
            user=f"U{number % 30}",
            thread_ts=f"{1_778_575_200:.6f}",
            user_profile={"display_name": f"Person {number % 30}", "real_name": "Real Name", "team": "T1"},
            blocks=[{"type": "rich_text", "elements": [section]}],
        )
        for number in range(count)
    ]


def test_a_thread_of_10_000_messages_is_read_in_seconds_and_bounded_memory() -> None:
    data = json.dumps(_thread(10_000)).encode()
    started = time.process_time()
    assert len(read_bytes(data, "file").messages) == 10_000
    assert time.process_time() - started < 10
    tracemalloc.start()
    try:
        read_bytes(data, "file")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 300 MB is what a whole summary of it may take above one of 100 messages.
    assert peak < 150 * 2**20
