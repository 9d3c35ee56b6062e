"""Who may read what in Discord, and what becomes of what is stored when messages, channels and guilds go."""

from __future__ import annotations

from typing import Any

import pytest

from bot.chat import Forbidden, Place
from storage.learning_tables import PairRow
from storage.tables import ConversationRow, MessageRow, SummaryRow
from tests.bot.discord_world import IN_THE_GUILD, Acme
from tests.bot.test_discord_answers import words
from tests.bot.test_discord_asking import link
from tests.discord_server.objects import text_of
from tests.discord_server.world import (
    CONNECT,
    EMBED_LINKS,
    FORUM,
    MANAGE_THREADS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)  # fmt: skip

pytestmark = IN_THE_GUILD
NOT_YOURS = "You can only have summarised what you can read yourself"


async def test_nobody_gets_a_summary_of_a_channel_that_they_do_not_see(acme: Acme) -> None:
    hidden = await acme.room(only=[acme.ana, acme.server.app_role(acme.acme)])
    acme.talk(hidden, 3)
    before = len(acme.server.calls)
    assert NOT_YOURS in await acme.said(acme.tomas, acme.general, link=link(next(iter(hidden.history))))
    assert not any(call.name == "GET /channels/{channel}/messages" for call in acme.server.calls[before:])
    assert "3 messages" in await acme.said(acme.ana, acme.general, channel=hidden)


async def test_standing_in_a_channel_without_its_history_is_not_enough(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    acme.server.without_history(channel, acme.tomas)
    assert NOT_YOURS in await acme.said(acme.tomas, channel)
    assert "3 messages" in await acme.said(acme.priya, channel)


async def test_what_the_app_lacks_is_named_rather_than_an_empty_channel_shown(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    app = acme.server.app_role(acme.acme)
    channel.allow(app, 0, READ_MESSAGE_HISTORY)
    said = await acme.said(acme.ana, channel)
    assert "I lack the permission Read Message History" in said
    channel.allow(app, 0, VIEW_CHANNEL)
    assert "View Channel" in await acme.said(acme.ana, channel)


async def test_a_right_that_goes_while_it_is_written_keeps_the_answer_back(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    acme.bot.pause.clear()
    asked = await acme.server.slash(acme.tomas, channel, "summarize")
    await acme.server.until(lambda: acme.bot.paused, "it is being written")
    channel.allow(acme.tomas, 0, READ_MESSAGE_HISTORY)
    acme.bot.pause.set()
    await acme.server.until(lambda: "only have summarised" in text_of(asked.original), "it is kept back")
    assert acme.rows(SummaryRow, asked_by=f"discord:{acme.tomas.id}") == [
        row for row in acme.rows(SummaryRow, asked_by=f"discord:{acme.tomas.id}") if row.text
    ]
    assert acme.rows(ConversationRow, channel=str(channel.id)) == []


async def test_buttons_ask_for_the_right_each_time(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    answer = await acme.summary(acme.tomas, channel)
    channel.allow(acme.tomas, 0, VIEW_CHANNEL | READ_MESSAGE_HISTORY)
    for button in ("Sources", "👍", "Share", "Correct"):
        assert "not in that channel any more" in await acme.pressed(acme.tomas, answer, button), button


async def test_nobody_has_the_app_say_what_they_could_not_say_themselves(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    acme.server.mute(channel, acme.tomas)
    asked = await acme.server.slash(acme.tomas, channel, "summarize", share=True)
    told = await asked.followup(1)
    assert "may not write in that channel" in text_of(told) and told.seen_by is acme.tomas
    assert asked.original is None or asked.original.deleted
    answer = await acme.summary(acme.tomas, channel)
    assert "may not write" in await acme.pressed(acme.tomas, answer, "Share")
    # And where the app itself may not, it says what it lacks.
    channel.allow(acme.server.app_role(acme.acme), 0, SEND_MESSAGES | EMBED_LINKS)
    answer = await acme.summary(acme.priya, channel)
    assert "Send Messages, Embed Links" in await acme.pressed(acme.priya, answer, "Share")


async def test_what_is_of_another_channel_is_never_answered_for_everybody(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    answer = await acme.summary(acme.ana, acme.general, channel=channel, share=True)
    assert answer.seen_by is acme.ana and "3 messages" in text_of(answer)


async def test_a_private_thread_is_its_members_and_trains_nothing_but_its_own(acme: Acme) -> None:
    channel = await acme.room()
    thread = await acme.server.open_thread(
        channel, "salaries", acme.ana, private=True, members=[acme.tomas, acme.server.app]
    )
    acme.talk(thread, 3)
    assert NOT_YOURS in await acme.said(acme.priya, channel, link=link(next(iter(thread.history))))
    answer = await acme.summary(acme.tomas, thread)
    assert "3 messages" in text_of(answer)
    opened = await acme.server.press(acme.tomas, answer, "Correct")
    await (await acme.server.submit(opened, text0=words())).followup(1)
    [row] = acme.rows(ConversationRow, thread=str(thread.id))
    assert (row.public, row.direct, row.channel) == (False, False, str(thread.id))
    [pair] = acme.rows(PairRow, channel=str(thread.id))
    assert not pair.public
    # Whoever may manage threads sees all of them.
    moderators = await acme.server.new_role(acme.acme, "Moderators", MANAGE_THREADS)
    await acme.server.give_role(acme.acme, acme.kofi, moderators)
    assert "3 messages" in await acme.said(acme.kofi, thread)
    await acme.server.take_role(acme.acme, acme.kofi, moderators)
    assert NOT_YOURS in await acme.said(acme.kofi, channel, link=link(next(iter(thread.history))))


async def test_a_channel_that_not_everybody_sees_is_private_for_training(acme: Acme) -> None:
    closed = await acme.room(only=[acme.ana, acme.tomas, acme.server.app_role(acme.acme)])
    acme.talk(closed, 3)
    await acme.said(acme.ana, closed)
    assert [row.public for row in acme.rows(ConversationRow, channel=str(closed.id))] == [False]
    # And so is one that is closed later.
    channel = await acme.room()
    acme.talk(channel, 3)
    answer = await acme.summary(acme.ana, channel)
    opened = await acme.server.press(acme.ana, answer, "Correct")
    await (await acme.server.submit(opened, text0=words())).followup(1)
    assert [pair.public for pair in acme.rows(PairRow, channel=str(channel.id))] == [True]
    channel.allow(acme.acme.everyone, 0, VIEW_CHANNEL)
    await acme.server.channel_changed(channel)
    await acme.server.until(
        lambda: [pair.public for pair in acme.rows(PairRow, channel=str(channel.id))] == [False], "it is closed"
    )


# What happens to messages ---------------------------------------------------------------------------------------------


async def kept(acme: Acme) -> tuple[Any, list[Any]]:
    """A channel of four messages whose summary was corrected."""
    channel = await acme.room()
    messages = acme.talk(channel, 4)
    answer = await acme.summary(acme.ana, channel)
    opened = await acme.server.press(acme.ana, answer, "Correct")
    await (await acme.server.submit(opened, text0=words())).followup(1)
    return channel, messages


def texts(acme: Acme, *messages: Any) -> list[str]:
    found = [row.text for one in messages for row in acme.rows(MessageRow, id=str(one.id))]
    return sorted(found)


async def test_edits_and_deletions_reach_what_is_stored_although_nothing_is_cached(acme: Acme) -> None:
    channel, messages = await kept(acme)
    await acme.server.edit(messages[0], f"The export job was <@{acme.tomas.id}>'s after all.")
    await acme.server.until(
        lambda: texts(acme, messages[0]) == ["The export job was @Tomas's after all."], "the edit arrives"
    )
    [pair] = acme.rows(PairRow, channel=str(channel.id))
    assert pair.state == "rejected" and "edited since" in pair.reject_reason
    await acme.server.delete(messages[1])
    await acme.server.until(lambda: texts(acme, messages[1]) == [], "the deletion arrives")
    await acme.server.bulk_delete(channel, messages[2:])
    await acme.server.until(lambda: texts(acme, *messages[2:]) == [], "the bulk deletion arrives")
    assert len(texts(acme, *messages)) == 1


async def test_a_thread_that_is_deleted_takes_what_is_stored_of_it_along_and_so_does_a_channel(acme: Acme) -> None:
    channel = await acme.room()
    first = acme.server.write(channel, acme.ana, "Shall we move the release?", ago=900)
    thread = await acme.server.open_thread(channel, "the release", acme.ana, starter=first)
    reply = acme.server.write(thread, acme.tomas, "Yes, to Thursday.", ago=-1)
    await acme.said(acme.ana, thread)
    # An edit in a thread is found by the message alone.
    await acme.server.edit(reply, "Yes, to Friday.")
    await acme.server.until(lambda: texts(acme, reply) == ["Yes, to Friday."], "the edit arrives")
    await acme.server.remove_channel(thread)
    await acme.server.until(lambda: texts(acme, reply) == [], "the thread is gone")
    assert len(texts(acme, first)) == 1, "what the thread hung under stands in its channel still"
    messages = acme.talk(channel, 2)
    await acme.said(acme.ana, channel)
    assert len(texts(acme, *messages)) == 2
    await acme.server.remove_channel(channel)
    await acme.server.until(lambda: texts(acme, *messages) == [], "the channel is gone")


async def test_the_sweep_finds_what_no_event_told(acme: Acme) -> None:
    channel, messages = await kept(acme)
    # Behind the gateway's back.
    messages[0].content, messages[0].edited = "Something else by now.", acme.server.now() + 1
    messages[1].deleted = True
    channel.history.drop(messages[1].id)
    await acme.bot.changes.sweep()
    assert texts(acme, messages[0]) == ["Something else by now."]
    assert texts(acme, messages[1]) == [] and len(texts(acme, *messages)) == 3
    # Nothing of it is said by a channel that the app cannot read any more.
    other, kept_ones = await kept(acme)
    other.allow(acme.server.app_role(acme.acme), 0, VIEW_CHANNEL)
    await acme.bot.changes.sweep()
    assert len(texts(acme, *kept_ones)) == 4
    await acme.server.remove_channel(channel)


async def test_a_history_that_comes_back_empty_is_no_deletion(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, messages = await kept(acme)

    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []  # what Discord shows of a history that the app has lost the right to

    monkeypatch.setattr(acme.bot.changes._history, "page", nothing)
    await acme.bot.changes.sweep()
    assert len(texts(acme, *messages)) == 4
    [pair] = acme.rows(PairRow, channel=str(channel.id))
    assert pair.state != "rejected"


async def test_what_the_app_cannot_read_any_more_counts_as_private(acme: Acme) -> None:
    channel, messages = await kept(acme)
    [pair] = acme.rows(PairRow, channel=str(channel.id))
    assert pair.public
    channel.allow(acme.server.app_role(acme.acme), 0, VIEW_CHANNEL)
    await acme.bot.changes.sweep()
    [pair] = acme.rows(PairRow, channel=str(channel.id))
    assert not pair.public and len(texts(acme, *messages)) == 4


async def test_the_chat_of_a_voice_channel_is_for_those_who_may_come_in(acme: Acme) -> None:
    channel = acme.server.channel(acme.acme, "standup-room", 2)
    channel.allow(acme.acme.everyone, 0, CONNECT)
    channel.allow(acme.server.app_role(acme.acme), CONNECT)
    seen = await acme.bot.changes._people.readable(acme.acme.id, channel.id)
    assert not seen.public
    with pytest.raises(Forbidden):
        await acme.bot.changes._people.reader(f"discord:{acme.ana.id}", seen)


async def test_a_forum_is_reviewed_by_those_who_may_read_it(acme: Acme) -> None:
    people = acme.bot.changes._people
    forum = acme.server.channel(acme.acme, "help-desk", FORUM)
    of_it = Place("discord", str(acme.acme.id), str(forum.id))
    await people.require(f"discord:{acme.ana.id}", of_it)
    forum.allow(acme.acme.everyone, 0, VIEW_CHANNEL)
    forum.allow(acme.server.app_role(acme.acme), VIEW_CHANNEL)
    with pytest.raises(Forbidden):
        await people.require(f"discord:{acme.ana.id}", of_it)


async def test_what_changes_while_it_is_read_is_stored_as_it_is_now(acme: Acme) -> None:
    channel = await acme.room()
    messages = acme.talk(channel, 3)
    acme.bot.pause.clear()
    asked = await acme.server.slash(acme.ana, channel, "summarize")
    await acme.server.until(lambda: acme.bot.paused, "it is being written")
    await acme.server.delete(messages[1])
    await acme.server.edit(messages[2], "Quite another thing.")
    await acme.server.until(lambda: acme.bot.changes.waiting(str(messages[2].id)), "the bot has heard of it")
    acme.bot.pause.set()
    await acme.server.until(
        lambda: texts(acme, messages[1]) == [] and texts(acme, messages[2]) == ["Quite another thing."],
        "both have arrived",
    )
    assert asked.original is not None


async def test_leaving_a_guild_ends_collection_there_and_keeps_what_is_stored(acme: Acme) -> None:
    server = acme.server
    other = server.guild("Other")
    server.member(other, acme.ana)
    channel = server.channel(other, "far-away")
    acme.talk(channel, 3)
    await server.take_in(other)
    answer = await acme.summary(acme.ana, channel)
    await server.throw_out(other)
    assert "not in that server any more" in await acme.pressed(acme.ana, answer, "Sources")
    await acme.bot.changes.sweep()
    assert len(acme.rows(ConversationRow, channel=str(channel.id))) == 1
