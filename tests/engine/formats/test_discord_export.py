"""DiscordChatExporter files read as a person in the channel would have read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.engine.formats.support import discord, discord_export, read_json, refused, texts, turns

BO = {"id": "42", "name": "bo", "nickname": "Bo Li", "isBot": False, "roles": [{"id": "77", "name": "Leads"}]}


def _one(content: str, **more: Any) -> str:
    return read_json(discord_export(discord(1, content, mentions=[BO], **more), discord(2, "x"))).messages[0].text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hi <@42> <@!42> <@43>", "hi @Bo Li @Bo Li @43"),
        ("<@&77> <@&78>", "@Leads @78"),
        ("<#800> <#700> <#801>", "#help #Category #801"),
        ("<:sad_cat:123> <a:party:4567>", ":sad_cat: :party:"),
        ("<t:1778575200> <t:1778575200:R>", "2026-05-12 08:40 UTC 2026-05-12 08:40 UTC"),
        ("<t:999999999999>", "<t:999999999999>"),
        ("</summarize:123>", "/summarize"),
        ("<https://x.org/a>", "https://x.org/a"),
        ("@Bo Li said `a<b>` & 1 < 2", "@Bo Li said `a<b>` & 1 < 2"),
    ],
)
def test_raw_discord_text_becomes_readable(source: str, expected: str) -> None:
    conversation = read_json(discord_export(discord(1, source, mentions=[BO]), category="Category"))
    assert texts(conversation) == [expected]


def test_attachments_and_stickers_are_noted() -> None:
    files = [{"fileName": "plan.PNG"}, {"fileName": "report.pdf"}, {"fileName": "a.mp4"}]
    assert (
        _one("see", attachments=files, stickers=[{"name": "Wave", "format": "Png"}])
        == "see\n[image: plan.PNG]\n[file: report.pdf]\n[video: a.mp4]\n[sticker: Wave]"
    )


def test_an_apps_embed_is_read_in_full_and_a_links_preview_as_its_title() -> None:
    embed = {
        "title": "Build 7",
        "url": "https://ci",
        "description": "by <@42>",
        "author": {"name": "CI"},
        "fields": [{"name": "Tests", "value": "12 passed"}],
        "footer": {"text": "main"},
    }
    bot = {"id": "5", "name": "ci", "nickname": "CI bot", "isBot": True, "roles": []}
    conversation = read_json(
        discord_export(
            discord(1, "", author=bot, embeds=[embed], mentions=[BO]), discord(2, "https://ci", embeds=[embed])
        )
    )
    assert turns(conversation) == [
        ("CI bot", "CI\nBuild 7 (https://ci)\nby @Bo Li\nTests: 12 passed\nmain"),
        ("Ana", "https://ci\n[link: Build 7]"),
    ]
    assert [message.kind for message in conversation.messages] == ["bot", "person"]


def test_a_forward_is_quoted_and_a_poll_is_one_line() -> None:
    forwarded = {"content": "old\nnews", "attachments": [{"fileName": "a.png"}], "embeds": [], "stickers": []}
    reference = {"type": "Forward", "messageId": "1", "channelId": "2", "guildId": "3"}
    assert (
        _one("", forwardedMessage=forwarded, reference=reference)
        == "[forwarded message]\n> old\n> news\n> [image: a.png]"
    )
    assert _one("", reference=reference) == "[forwarded message]"
    poll = {
        "question": {"text": "When?"},
        "answers": [{"text": "Monday", "votes": 3}, {"poll_media": {"text": "Friday"}}],
    }
    assert _one("", poll=poll) == "[poll: When? Monday (3) / Friday]"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Default", "person"),
        ("Reply", "person"),
        ("20", "person"),
        ("RecipientAdd", "system"),
        ("GuildMemberJoin", "system"),
        ("ThreadCreated", "system"),
        ("ChannelPinnedMessage", "system"),
        ("Call", "system"),
        ("8", "system"),
        (7, "system"),
    ],
)
def test_the_type_says_what_a_person_wrote(kind: Any, expected: str) -> None:
    assert read_json(discord_export(discord(1, "x", type=kind))).messages[0].kind == expected


def test_a_reply_names_the_message_it_answers_but_a_forward_does_not() -> None:
    first = discord(1, "question")
    reference = {"messageId": first["id"], "channelId": "800", "guildId": "900"}
    reply = discord(2, "answer", type="Reply", reference=reference)
    forward = discord(3, "", reference={**reference, "type": "Forward"}, forwardedMessage={"content": "x"})
    conversation = read_json(discord_export(first, reply, forward))
    assert [message.thread for message in conversation.messages] == ["", first["id"], ""]


def test_permalinks_times_and_places_come_from_the_ids() -> None:
    conversation = read_json(discord_export(discord(61, "hi")))
    message = conversation.messages[0]
    assert message.permalink == f"https://discord.com/channels/900/800/{message.id}"
    assert message.time == datetime(2026, 5, 12, 9, 1, 1, 211000, tzinfo=UTC)
    assert (conversation.workspace, conversation.channel, conversation.thread) == ("900", "800", "")
    assert (conversation.platform, conversation.title, conversation.public) == ("discord", "#help", False)


def test_a_time_with_another_zone_becomes_utc() -> None:
    conversation = read_json(discord_export(discord(1, "hi", timestamp="2026-05-12T09:00:00.1234567+05:30")))
    assert conversation.messages[0].time == datetime(2026, 5, 12, 3, 30, 0, 123456, tzinfo=UTC)


def test_a_thread_belongs_to_the_channel_above_it() -> None:
    conversation = read_json(discord_export(discord(1, "hi"), type="GuildPublicThread", name="Offline mode"))
    assert (conversation.channel, conversation.thread, conversation.title) == ("700", "800", "Offline mode")
    assert conversation.messages[0].permalink.startswith("https://discord.com/channels/900/800/")


def test_a_direct_message_has_no_workspace() -> None:
    value = discord_export(discord(1, "hi"), type="DirectTextChat", name="Bo", categoryId=None)
    value["guild"] = {"id": "0", "name": "Direct Messages"}
    conversation = read_json(value)
    assert (conversation.workspace, conversation.title) == ("", "Bo")
    assert conversation.messages[0].permalink.startswith("https://discord.com/channels/@me/800/")


def test_messages_exported_newest_first_or_twice_are_read_once_and_in_order() -> None:
    messages = [discord(number, f"text {number}") for number in range(12)]
    conversation = read_json(discord_export(*reversed(messages), messages[3]))
    assert texts(conversation) == [f"text {number}" for number in range(12)]
    assert conversation.id == read_json(discord_export(*messages)).id


def test_the_id_stays_when_a_text_is_edited_and_changes_with_channel_and_messages() -> None:
    base = read_json(discord_export(discord(1, "a"), discord(2, "b"))).id
    assert read_json(discord_export(discord(1, "edited"), discord(2, "b"))).id == base
    assert read_json(discord_export(discord(1, "a"))).id != base
    assert read_json(discord_export(discord(1, "a"), discord(2, "b"), id="801")).id != base


def test_a_name_falls_back_from_nickname_to_handle_to_id() -> None:
    authors = [{"id": "1", "name": "ana", "nickname": None}, {"id": "2", "name": "", "nickname": " "}, {}]
    conversation = read_json(discord_export(*(discord(n, "x", author=author) for n, author in enumerate(authors))))
    assert [message.author for message in conversation.messages] == ["ana", "2", "Unknown"]


def test_an_export_without_content_says_what_an_exporting_bot_needs() -> None:
    error = refused(lambda: read_json(discord_export(discord(1, ""), discord(2, ""))))
    assert "message content intent" in error.hint


def test_an_entry_that_is_no_message_is_told_by_its_number() -> None:
    assert "message 2" in refused(lambda: read_json(discord_export(discord(1, "a"), {"x": 1}))).message
