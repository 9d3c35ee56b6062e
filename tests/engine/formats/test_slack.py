"""Slack exports and threads read as a person in the channel would have read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.conversation import Conversation
from engine.formats import read_conversation
from engine.formats.slack_text import Names, readable
from tests.engine.formats.support import read_json, refused, slack, texts, ts, turns

NAMES = Names(users={"U1": "Ana", "U2": "Bo Li"}, channels={"C1": "general"}, groups={"S1": "ops"})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hi <@U1> and <@U2|bo>", "hi @Ana and @Bo Li"),
        ("<@U9>, <@U8|zed>", "@U9, @zed"),
        ("see <#C1|general>, <#C1>, <#C1|>, <#C7>", "see #general, #general, #general, #C7"),
        ("<!here> <!channel> <!everyone> <!here|here>", "@here @channel @everyone here"),
        ("<!subteam^S1> <!subteam^S2|@leads> <!subteam^S3>", "@ops @leads @S3"),
        ("<!date^1778575200^{date_short}|12 May>, <!date^1778575200^{date}>", "12 May, 2026-05-12 08:40 UTC"),
        ("<https://x.org/a?b=1&amp;c=2|the plan>", "the plan (https://x.org/a?b=1&c=2)"),
        (
            "<https://x.org/> <https://x.org|x.org> <http://x.org|http://x.org>",
            "https://x.org/ https://x.org http://x.org",
        ),
        ("<mailto:a@b.org|a@b.org> <mailto:a@b.org|Ana> <tel:+4930>", "a@b.org Ana (a@b.org) +4930"),
        ("a &lt;b&gt; &amp;amp; &amp;lt;", "a <b> &amp; &lt;"),
        ("`List&lt;T&gt;` ```if a &lt; b```", "`List<T>` ```if a < b```"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<> <not a thing> <<@U1>>", "<> <not a thing> <@Ana>"),
        ("مرحبا <@U1> 🦊 你好", "مرحبا @Ana 🦊 你好"),
    ],
)
def test_mrkdwn_becomes_readable(source: str, expected: str) -> None:
    assert readable(source, NAMES) == expected


def _section(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(parts)}


def _text(text: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


def _blocks(*blocks: dict[str, Any]) -> str:
    return read_json([slack(1, "for the notification", blocks=list(blocks)), slack(2, "x")]).messages[0].text


def test_rich_text_keeps_lists_quotes_code_emoji_links_and_mentions() -> None:
    rich = {
        "type": "rich_text",
        "elements": [
            _section(
                _text("Plan by "),
                {"type": "user", "user_id": "U1"},
                _text(" "),
                {"type": "emoji", "name": "wave", "unicode": "1f44b-1f3fd"},
                {"type": "emoji", "name": "our_logo"},
                _text(": run "),
                _text("make test", code=True),
                _text(", see "),
                {"type": "link", "url": "https://x.org/p", "text": "the page"},
                _text("\n"),
            ),
            {
                "type": "rich_text_list",
                "style": "ordered",
                "elements": [_section(_text("one")), _section(_text("two"))],
            },
            {"type": "rich_text_list", "style": "bullet", "indent": 1, "elements": [_section(_text("nested"))]},
            {
                "type": "rich_text_list",
                "style": "ordered",
                "indent": 0,
                "offset": 2,
                "elements": [_section(_text("three"))],
            },
            {"type": "rich_text_quote", "elements": [_text("said\nbefore")]},
            {
                "type": "rich_text_preformatted",
                "elements": [_text("if a < b:\n    "), {"type": "link", "url": "https://y"}],
            },
            _section({"type": "broadcast", "range": "channel"}, _text(" "), {"type": "channel", "channel_id": "C9"}),
        ],
    }
    assert _blocks(rich) == (
        "Plan by @U1 👋🏽:our_logo:: run `make test`, see the page (https://x.org/p)\n"
        "1. one\n2. two\n  • nested\n3. three\n> said\n> before\n```\nif a < b:\n    https://y\n```\n@channel #C9"
    )


def test_layout_blocks_are_read_in_order() -> None:
    assert (
        _blocks(
            {"type": "header", "text": {"type": "plain_text", "text": "Deploy &amp; co"}},
            {"type": "divider"},
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": "by <@U1>"},
                "fields": [{"type": "mrkdwn", "text": "a: 1"}],
            },
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": "eu"}, {"type": "plain_text", "text": "12:00"}],
            },
            {
                "type": "image",
                "title": {"type": "plain_text", "text": "graph.png"},
                "image_url": "https://x",
                "alt_text": "g",
            },
            {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Ack"}}]},
        )
        == "Deploy &amp; co\nby @U1\na: 1\neu 12:00\n[image: graph.png]"
    )


def test_blocks_without_text_leave_the_messages_own_text() -> None:
    assert _blocks({"type": "divider"}, {"type": "call", "call_id": "R1"}) == "for the notification"


def test_files_are_noted_by_name_and_a_snippet_keeps_its_lines() -> None:
    conversation = read_json(
        [
            slack(1, "look", files=[{"name": "plan.png", "mimetype": "image/png"}, {"name": "report.pdf"}]),
            slack(2, "", files=[{"name": "fix.sh", "mode": "snippet", "preview": "set -e\nmake\n"}]),
            slack(3, "", files=[{"mode": "tombstone"}, {"id": "F1", "mode": "hidden_by_limit"}]),
            slack(
                4, "", files=[{"name": "memo.m4a", "mimetype": "audio/mp4"}, {"title": "clip", "mimetype": "video/mp4"}]
            ),
        ]
    )
    assert texts(conversation) == [
        "look\n[image: plan.png]\n[file: report.pdf]",
        "[file: fix.sh]\n```\nset -e\nmake\n```",
        "[file: deleted]\n[file: no longer available]",
        "[audio: memo.m4a]\n[video: clip]",
    ]


def test_attachments_are_read_in_full_from_apps_and_as_a_title_for_previews() -> None:
    conversation = read_json(
        [
            slack(
                1,
                "",
                subtype="bot_message",
                username="Gauge",
                attachments=[
                    {
                        "title": "Disk",
                        "title_link": "https://g",
                        "text": "at <https://h|h1>",
                        "fields": [{"title": "free", "value": "2 %"}],
                    },
                    {"fallback": "only this"},
                ],
            ),
            slack(
                2,
                "see <https://x.org>",
                attachments=[{"from_url": "https://x.org", "title": "The page", "text": "long"}],
            ),
            slack(
                3,
                "",
                attachments=[
                    {"is_msg_unfurl": True, "from_url": "https://s", "author_name": "Bo", "text": "old\nnews"}
                ],
            ),
        ]
    )
    assert texts(conversation) == [
        "Disk (https://g)\nat h1 (https://h)\nfree: 2 %\nonly this",
        "see https://x.org\n[link: The page]",
        "[shared message from Bo]\n> old\n> news",
    ]


def test_an_apps_notification_text_is_not_said_twice() -> None:
    conversation = read_json(
        [slack(1, "[FIRING] Disk", bot_id="B1", attachments=[{"title": "[FIRING] Disk", "text": "2 %"}])]
    )
    assert texts(conversation) == ["[FIRING] Disk\n2 %"]


def test_subtypes_say_who_is_a_bot_and_what_is_of_the_system() -> None:
    conversation = read_json(
        [
            slack(1, "<@U1> has joined the channel", subtype="channel_join"),
            slack(2, "set the topic", subtype="channel_topic"),
            slack(3, "waves", subtype="me_message"),
            slack(4, "also in the channel", subtype="thread_broadcast"),
            slack(5, "alert", subtype="bot_message", bot_id="B1", user=None, bot_profile={"name": "Gauge"}),
            slack(6, "posted by an app", bot_id="B2", user="U7"),
            slack(7, "Reminder: tea", user="USLACKBOT"),
            slack(8, "pinned", subtype="pinned_item"),
            slack(9, "This message was deleted.", user="USLACKBOT", subtype="tombstone", hidden=True),
            slack(
                60,
                "",
                user="USLACKBOT",
                subtype="huddle_thread",
                room={"created_by": "U1", "date_start": 1000, "date_end": 2500, "participant_history": ["U1", "U2"]},
            ),
        ]
    )
    assert [message.kind for message in conversation.messages] == (
        ["system", "system", "person", "person", "bot", "bot", "bot", "system", "system", "system"]
    )
    assert turns(conversation)[-2:] == [("Slackbot", "[message deleted]"), ("U1", "[huddle of 25 min with U1, U2]")]
    assert [m.author for m in conversation.messages][4:7] == ["Gauge", "U7", "Slackbot"]


def test_edits_and_deletions_reported_as_events_are_applied() -> None:
    conversation = read_json(
        [
            slack(1, "teh plan"),
            slack(2, "oops"),
            slack(3, "kept", edited={"user": "U1", "ts": ts(9)}),
            {"type": "message", "subtype": "message_changed", "ts": ts(4), "message": slack(1, "the plan")},
            {"type": "message", "subtype": "message_deleted", "ts": ts(5), "deleted_ts": ts(2)},
            {"type": "message", "subtype": "message_replied", "ts": ts(6), "message": {"ts": ts(1)}},
        ]
    )
    assert texts(conversation) == ["the plan", "[message deleted]", "kept"]
    assert conversation.messages[1].kind == "system"


def test_replies_follow_their_parent_in_order_and_name_it() -> None:
    conversation = read_json(
        [
            slack(1, "question", thread_ts=ts(1), reply_count=2),
            slack(2, "unrelated"),
            slack(30, "second answer", thread_ts=ts(1)),
            slack(20, "first answer", thread_ts=ts(1)),
            slack(25, "other thread's late reply", thread_ts=ts(-900)),
            slack(40, "its next one", thread_ts=ts(-900)),
        ]
    )
    assert texts(conversation) == [
        "question",
        "first answer",
        "second answer",
        "unrelated",
        "other thread's late reply",
        "its next one",
    ]
    assert [message.thread for message in conversation.messages] == ["", ts(1), ts(1), "", ts(-900), ts(-900)]
    assert conversation.thread == ""


def test_a_thread_alone_is_told_as_one_and_a_repeated_parent_is_read_once() -> None:
    parent = slack(1, "question", thread_ts=ts(1))
    page = {"ok": True, "messages": [parent, slack(2, "a", thread_ts=ts(1)), parent, slack(3, "b", thread_ts=ts(1))]}
    conversation = read_json(page)
    assert texts(conversation) == ["question", "a", "b"]
    assert conversation.thread == ts(1)


def test_replies_kept_inside_their_parent_by_an_archiver_are_read() -> None:
    parent = slack(1, "question", thread_ts=ts(1))
    inner = {**parent, "slackdump_thread_replies": [parent, slack(2, "answer", thread_ts=ts(1))]}
    conversation = read_json({"channel_id": "C1", "name": "general", "messages": [inner]})
    assert texts(conversation) == ["question", "answer"]
    assert (conversation.channel, conversation.title) == ("C1", "general")


def test_times_are_utc_to_the_microsecond_and_two_messages_never_share_an_id() -> None:
    conversation = read_json([slack(0.000123, "a"), slack(0.000123, "b", user="U2")])
    assert conversation.messages[0].time == datetime(2026, 5, 12, 8, 40, 0, 123, tzinfo=UTC)
    assert [message.id for message in conversation.messages] == [ts(0.000123), ts(0.000123) + "~2"]


@pytest.mark.parametrize("bad", ["x", "", None, [], {}, "1e999", "nan", -1e300, True])
def test_a_time_that_is_none_leaves_the_message_and_its_place(bad: Any) -> None:
    conversation = read_json([slack(1, "first"), {**slack(2, "second"), "ts": bad}, slack(3, "third")])
    assert texts(conversation) == ["first", "second", "third"]
    assert conversation.messages[1].time is None


def _export(root: Path, messages: list[dict[str, Any]], **indexes: Any) -> Conversation:
    folder = root / "general"
    folder.mkdir(parents=True)
    (folder / "2026-05-12.json").write_text(json.dumps(messages))
    for name, value in indexes.items():
        (root / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return read_conversation(folder / "2026-05-12.json")


USERS = [
    {"id": "U1", "name": "ana", "profile": {"display_name": "Ana", "real_name": "Ana Lucía"}},
    {"id": "U2", "name": "bo", "profile": {"display_name": "", "real_name": "Bo Li"}},
    {"id": "U3", "name": "gauge", "is_bot": True, "profile": {}},
]


def test_an_export_gives_names_of_people_and_channels_from_its_indexes(tmp_path: Path) -> None:
    messages = [slack(1, "hi <@U2>, see <#C2>"), slack(2, "hi", user="U2"), slack(3, "beep", user="U3")]
    channels = [{"id": "C1", "name": "general"}, {"id": "C2", "name": "random"}]
    conversation = _export(tmp_path, messages, users=USERS, channels=channels)
    assert turns(conversation) == [("Ana", "hi @Bo Li, see #random"), ("Bo Li", "hi"), ("gauge", "beep")]
    assert [message.kind for message in conversation.messages] == ["person", "person", "bot"]
    assert (conversation.title, conversation.channel, conversation.public) == ("#general", "C1", True)


def test_a_private_channel_of_an_export_is_not_public(tmp_path: Path) -> None:
    conversation = _export(tmp_path, [slack(1, "hi")], users=USERS, groups=[{"id": "G1", "name": "general"}])
    assert (conversation.channel, conversation.public) == ("G1", False)


@pytest.mark.parametrize("broken", ["{", "[1, 2]", "", '{"a": 1}', "\0", "[" * 100_000])
def test_a_broken_index_leaves_names_from_the_messages_and_ids(tmp_path: Path, broken: str) -> None:
    messages = [slack(1, "hi <@U2>", user_profile={"display_name": "Ana", "real_name": "A"}), slack(2, "yo", user="U2")]
    conversation = _export(tmp_path, messages, users=broken, channels=broken)
    assert turns(conversation) == [("Ana", "hi @U2"), ("U2", "yo")]
    assert conversation.public is False


def test_permalinks_are_made_only_where_channel_and_workspace_are_known(tmp_path: Path) -> None:
    shared = {"name": "a.png", "permalink": "https://team-x.slack.com/files/U1/F1/a.png"}
    messages = [slack(1, "q", files=[shared]), slack(2, "a", thread_ts=ts(1))]
    channels = [{"id": "C1", "name": "general"}]
    links = [m.permalink for m in _export(tmp_path, messages, channels=channels).messages]
    assert links[0] == "https://team-x.slack.com/archives/C1/p1778575201000000"
    assert links[1] == "https://team-x.slack.com/archives/C1/p1778575202000000?thread_ts=1778575201.000000&cid=C1"
    assert [m.permalink for m in read_json(messages).messages] == ["", ""]
    elsewhere = [slack(1, "q", files=[{"permalink": "https://team-x.slack.com.evil.example/files/a"}])]
    assert read_json({"channel_id": "C1", "messages": elsewhere}).messages[0].permalink == ""


def test_the_id_stays_when_a_text_is_edited_or_the_file_moves_and_changes_with_the_messages(tmp_path: Path) -> None:
    messages = [slack(1, "hi"), slack(2, "yo", user="U2")]
    conversation = _export(tmp_path, messages, users=USERS, channels=[{"id": "C1", "name": "general"}])
    assert conversation.id == read_json(messages).id
    assert conversation.id == read_json([{**messages[0], "text": "hello"}, messages[1]]).id
    assert conversation.id == read_json({"messages": list(reversed(messages))}).id
    assert conversation.id != read_json(messages[:1]).id
    assert conversation.id != read_json([messages[0], slack(2, "yo", user="U3")]).id


def test_messages_that_are_no_objects_are_refused_with_their_number() -> None:
    assert "entry 2" in refused(lambda: read_json([slack(1, "a"), "b"])).message


def test_names_are_made_fit_for_one_line() -> None:
    conversation = read_json(
        [slack(1, "hi", user="U1", user_profile={"display_name": " Ana\n\u202eLi\t🦊 " + "x" * 500})]
    )
    assert conversation.messages[0].author.startswith("Ana Li 🦊 xxx")
    assert len(conversation.messages[0].author) == 80
