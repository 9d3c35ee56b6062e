"""Whoever opted out is in no message that is read, however others share what they wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.left_out import without
from engine.formats.slack import messages_of

SECRET = "the words of Nora"
OUT = frozenset({"U0NORA"})
HERS: list[dict[str, Any]] = [
    {"is_msg_unfurl": True, "author_id": "U0NORA", "text": SECRET},
    {"is_share": True, "author_id": "U0NORA", "author_name": "N.", "fallback": SECRET},
    {"is_msg_unfurl": True, "author_link": "https://acme.slack.com/team/U0NORA", "text": SECRET},
    {"is_msg_unfurl": True, "message_blocks": [{"message": {"user": "U0NORA", "blocks": [
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
            {"type": "text", "text": SECRET}]}]}]}}]},
    {"is_thread_root_unfurl": True, "author_name": "Nora", "text": SECRET},
    {"is_share": True, "author_id": "U0ANA", "text": "see", "files": [
        {"user": "U0NORA", "mode": "snippet", "name": "x", "preview": SECRET}]},
    {"is_share": True, "author_id": "U0ANA", "text": "see", "attachments": [
        {"is_share": True, "author_id": "U0NORA", "text": SECRET}]},
]  # fmt: skip


def read(*raw: dict[str, Any], out: frozenset[str] = OUT) -> str:
    found = messages_of(without(raw, out), users={}, channels={}, bots=(), channel="C1", host="")
    return "\n".join(message.text for message in found)


@pytest.mark.parametrize("attachment", HERS)
def test_no_way_of_sharing_brings_the_words_of_somebody_who_opted_out(attachment: dict[str, Any]) -> None:
    raw = {"ts": "1.2", "user": "U0ANA", "text": "look", "attachments": [attachment]}
    kept = without([raw], OUT)
    assert SECRET not in json.dumps(kept) and "look" in read(raw)
    assert without([raw], frozenset()) == [raw], "nobody opted out: nothing is touched"
    assert json.dumps(raw).count(SECRET) == 1, "what was given is not changed"


def test_files_and_the_message_that_is_answered_go_too_and_everything_of_others_stays() -> None:
    raw = {
        "ts": "1.2", "user": "U0ANA", "text": "look", "root": {"user": "U0NORA", "text": SECRET},
        "files": [{"user": "U0NORA", "name": "hers.txt"}, {"user": "U0ANA", "name": "mine.txt"}],
        "attachments": [
            {"is_share": True, "author_id": "U0TOMAS", "author_name": "Tomas", "text": "of Tomas"},
            {"text": "Build 7 failed", "bot_id": "B1"},
            {"from_url": "https://x.example/", "title": "A page"},
        ],
    }  # fmt: skip
    shown = read(raw)
    assert "hers.txt" not in shown and SECRET not in json.dumps(without([raw], OUT))
    for kept in ("look", "mine.txt", "of Tomas", "Build 7 failed", "A page"):
        assert kept in shown
    assert read({"ts": "1.2", "user": "U0NORA", "text": SECRET}) == ""


_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["attachments", "files", "user", "author_id", "message_blocks", "message", "is_share"]),
            inner, max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["attachments", "files", "user", "root", "message_blocks"]), _ANY))
def test_whatever_slack_sends_is_taken(raw: dict[str, Any]) -> None:
    assert len(without([raw], OUT)) == (raw.get("user") != "U0NORA")
