"""The local Discord, driven by the real discord.py client: what it gives, what it tells, and how its sockets behave."""

from __future__ import annotations

import time
from typing import Any

import discord
import pytest

from tests.bot.discord_app import QUIET, App, Team
from tests.bot.discord_app import server as server
from tests.bot.discord_app import team as team
from tests.discord_server import objects, world
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import User

HISTORY = "GET /channels/{channel}/messages"


# What works -----------------------------------------------------------------------------------------------------------


async def test_a_command_is_deferred_its_answer_edited_and_a_correction_typed(team: Team) -> None:
    for n in range(3):
        team.server.write(team.general, team.ana, f"message {n}", ago=60 - n)
    await team.up()
    asked = await team.asked()
    answer = await asked.answer()
    assert answer.content == "3: message 2" and answer.ephemeral and answer.seen_by is team.ana
    assert (asked.answered_by, asked.took is not None and asked.took < 3) == (5, True)
    assert [text for _, text in answer.drafts] == ["", "3: message 2"]
    opened = await team.server.press(team.ana, answer, "Correct")
    assert (await opened.shown_modal())["title"] == "Correct the summary"
    sent = await team.server.submit(opened, text="My own words.", why="better")
    assert (await sent.answer()).content == "My own words. better"
    assert not list(team.general.history)[3:], "what one person sees is in nobody's history"
    assert team.server.loud == []


async def test_autocompletion_and_the_context_menu_of_a_message_reach_the_app(team: Team) -> None:
    message = team.server.write(team.general, team.kofi, "The export fails.")
    await team.up()
    offered = await team.server.autocomplete(team.ana, team.general, "summarize", "since", "y")
    assert offered == [{"name": "yesterday", "value": "yesterday"}]
    answer = await (await team.server.context_menu(team.ana, message, "Summarize from here")).answer()
    assert answer.content == "The export fails."


async def test_people_can_do_only_what_the_client_would_let_them(team: Team) -> None:
    secret = team.server.channel(team.guild, "secret", only=[team.kofi])
    await team.up()
    server = team.server
    for wrong in (
        server.slash(team.ana, team.general, "summarise"),
        server.slash(team.ana, team.general, "summarize", when="today"),
        server.slash(team.ana, team.general, "summarize", messages=501),
        server.slash(team.ana, team.general, "summarize", messages="ten"),
        server.slash(team.ana, secret, "summarize"),
    ):
        with pytest.raises(AssertionError):
            await wrong
    answer = await (await team.asked()).answer()
    for who, button in ((team.kofi, "Correct"), (team.ana, "Share")):
        with pytest.raises(AssertionError):
            await server.press(who, answer, button)
    opened = await server.press(team.ana, answer, "Correct")
    with pytest.raises(AssertionError):
        await server.submit(opened, text="x" * 4001)


async def test_history_is_paged_newest_first_whatever_the_cursor(team: Team) -> None:
    ids = team.server.backlog(team.general, 1000, lambda n: (team.ana, f"message {n}"), ago=90_000)
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)

    async def read(**how: Any) -> list[int]:
        return [one.id async for one in place.history(**how)]

    newest = ids[::-1]
    assert await read(limit=None) == newest
    assert await read(limit=250) == newest[:250]
    assert await read(limit=120, before=discord.Object(ids[200])) == ids[199:79:-1]
    # discord.py turns what comes after a message the right way round.
    assert await read(limit=150, after=discord.Object(ids[10])) == ids[11:161]
    assert await read(limit=11, around=discord.Object(ids[500])) == ids[505:494:-1]
    pages = [call.query for call in team.server.called(HISTORY)]
    assert all(int(query["limit"]) <= 100 for query in pages)


async def test_history_of_10_000_messages_is_made_only_as_it_is_read(team: Team) -> None:
    made: list[int] = []

    def one(n: int) -> tuple[User, str]:
        made.append(n)
        return team.ana, f"message {n}"

    team.server.backlog(team.general, 10_000, one, ago=86_400 * 8)
    await team.up()
    await (await team.asked(messages=200)).answer()
    assert sorted(made) == list(range(9800, 10_000))


async def test_what_happens_in_a_channel_is_told_by_intents_and_permissions(team: Team) -> None:
    old = team.server.write(team.general, team.kofi, "old")
    secret = team.server.channel(team.guild, "secret", only=[team.ana])
    await team.up()
    await team.server.say(team.ana, secret, "not for the app")
    said = await team.server.say(team.ana, team.general, "hello")
    await team.server.edit(old, "old, edited")
    await team.server.delete(old)
    await team.server.bulk_delete(team.general, [said])
    await team.server.throw_out(team.guild)
    assert await team.heard(5) == [
        ("message", "hello"), ("edit", "old, edited"), ("delete", old.id), ("bulk", {said.id}),
        ("removed", team.guild.id),
    ]  # fmt: skip


async def test_without_the_message_content_intent_texts_are_empty_but_for_ones_own_and_mentions(team: Team) -> None:
    team.server.privileged = 0
    team.app = App(discord.Intents(guilds=True, guild_messages=True))
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    await place.send("mine", allowed_mentions=QUIET)
    await team.server.say(team.ana, team.general, "theirs")
    await team.server.say(team.ana, team.general, f"<@{team.server.app.id}> ours")
    assert [one.content async for one in place.history()] == [f"<@{team.server.app.id}> ours", "", "mine"]
    assert [text for _, text in await team.heard(3)] == ["mine", "", f"<@{team.server.app.id}> ours"]


async def test_history_is_empty_without_read_message_history_and_refused_without_view_channel(team: Team) -> None:
    message = team.server.write(team.general, team.ana, "hello")
    await team.up()
    role = team.server.app_role(team.guild)
    team.general.allow(role, 0, world.READ_MESSAGE_HISTORY)
    place: Any = await team.app.fetch_channel(team.general.id)
    assert [one async for one in place.history()] == []
    with pytest.raises(discord.Forbidden, match="50013"):
        await place.fetch_message(message.id)
    team.general.allow(role, 0, world.VIEW_CHANNEL)
    with pytest.raises(discord.Forbidden, match="50001"):
        await place.history().__anext__()
    with pytest.raises(discord.NotFound, match="10003"):
        await team.app.fetch_channel(1)


async def test_permissions_are_computed_as_documented(server: DiscordServer) -> None:
    team = Team(server)
    ana, guild, place = team.ana.id, team.guild, team.general
    assert world.permissions(ana, place) & world.VIEW_CHANNEL
    denied, allowed = server.role(guild, "denied"), server.role(guild, "allowed")
    guild.members[ana].roles += [denied.id, allowed.id]
    place.allow(denied, 0, world.SEND_MESSAGES | world.VIEW_CHANNEL)
    place.allow(allowed, world.VIEW_CHANNEL)
    assert world.permissions(ana, place) & (world.VIEW_CHANNEL | world.SEND_MESSAGES) == world.VIEW_CHANNEL
    assert not world.permissions(ana, place) & world.EMBED_LINKS, "who may not write may not embed"
    place.allow(team.ana, 0, world.VIEW_CHANNEL)
    assert world.permissions(ana, place) == 0, "who does not see a channel may do nothing there"
    assert world.permissions(guild.owner, place) == world.EVERYTHING
    thread = server.thread(place, "secret", team.kofi, private=True)
    place.overwrites.clear()
    assert world.permissions(ana, thread) == 0
    thread.members.add(ana)
    assert world.permissions(ana, thread) & world.SEND_MESSAGES_IN_THREADS
    guild.members[ana].timed_out = time.time() + 60
    assert world.permissions(ana, thread) == world.VIEW_CHANNEL | world.READ_MESSAGE_HISTORY
    thread.members.clear()
    guild.members[ana].timed_out = 0
    server.moderator(guild, team.ana)
    assert world.permissions(ana, thread), "moderators see every private thread"


async def test_threads_posts_replies_forwards_polls_and_stickers_are_read_by_the_client(team: Team) -> None:
    server, ana = team.server, team.ana
    first = server.write(team.general, ana, "The export fails.")
    server.write(team.general, team.kofi, "Since when?", reply=first, ago=500)
    server.forward(team.general, ana, first, ago=400)
    server.stick(team.general, ana, "wave", ago=300)
    server.ask(team.general, ana, "When?", "Mon", "Tue", ago=200)
    talk = server.thread(team.general, "the export", ana, starter=first, ago=100)
    server.write(talk, team.kofi, "Found it.", ago=90)
    forum = server.channel(team.guild, "help", world.FORUM, tags=["bug"])
    post = server.thread(forum, "It hangs", team.kofi, text="It hangs at start.")
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    read = [one async for one in place.history(oldest_first=True)]
    assert [one.type.name for one in read] == ["default", "reply", "default", "default", "default"]
    assert read[0].thread is not None and read[0].thread.id == talk.id
    assert read[1].reference is not None and read[1].reference.resolved.content == "The export fails."
    assert read[2].message_snapshots[0].content == "The export fails."
    assert (read[3].stickers[0].name, read[4].poll.question) == ("wave", "When?")
    thread: Any = await team.app.fetch_channel(talk.id)
    inside = [one async for one in thread.history(oldest_first=True)]
    assert [one.type.name for one in inside] == ["thread_starter_message", "default"]
    opened: Any = await team.app.fetch_channel(post.id)
    assert opened.parent.type.name == "forum"
    assert (await opened.fetch_message(post.id)).content == "It hangs at start."
    guild = await team.app.fetch_guild(team.guild.id)
    assert {one.id for one in await guild.active_threads()} == {talk.id, post.id}


async def test_messages_say_whom_they_pinged_and_what_was_previewed(team: Team) -> None:
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    text = f"<@{team.ana.id}> @everyone see https://example.com/x and <https://example.com/y>"
    await place.send(text)
    await place.send(text, allowed_mentions=QUIET, suppress_embeds=True)
    loud, quiet = team.server.posts
    # The app may not mention everyone here.
    assert (loud.pinged, objects.unfurled(loud)) == ({team.ana.id}, ["https://example.com/x"])
    assert (quiet.pinged, objects.unfurled(quiet)) == (set(), [])
    assert team.server.loud == [loud]


async def test_changes_of_roles_channels_and_threads_are_told(team: Team) -> None:
    server = team.server
    link = server.write(team.general, team.ana, "see https://example.com/x")
    private = server.thread(team.general, "between us", team.ana, private=True)
    await team.up()
    seen: Any = team.app.get_guild(team.guild.id)
    assert seen.get_thread(private.id) is None
    await server.add_to_thread(private, server.app)
    await server.role_changed(team.guild, team.guild.everyone, world.VIEW_CHANNEL)
    opened = await server.open_channel(team.guild, "new", only=[team.ana])
    opened.overwrites.clear()
    await server.channel_changed(opened)
    await server.remove_channel(team.general)
    await server.unfurl(link)
    role = await server.new_role(team.guild, "Readers", world.READ_MESSAGE_HISTORY)
    await server.give_role(team.guild, server.app, role)
    await server.give_role(team.guild, team.ana, role)
    await server.outage(team.guild)
    await server.outage(team.guild, over=True)
    await team.heard(1)
    assert team.app.heard == [("edit", link.content)]
    seen = team.app.get_guild(team.guild.id)
    assert (seen.get_channel(team.general.id), seen.get_channel(opened.id).overwrites) == (None, {})
    assert seen.default_role.permissions.value == world.VIEW_CHANNEL
    assert role.id in [one.id for one in seen.me.roles]
    told = [name for name, _ in next(iter(server.sessions.values())).log]
    assert told.count("GUILD_MEMBER_UPDATE") == 1, "of others, apps without the members intent are told nothing"
    assert ("THREAD_CREATE" in told, "THREAD_MEMBERS_UPDATE" in told) == (True, True)


async def test_members_are_asked_for_by_their_ids_without_the_members_intent(team: Team) -> None:
    await team.up()
    guild: Any = team.app.get_guild(team.guild.id)
    found = await guild.query_members(user_ids=[team.ana.id, 5])
    assert [one.id for one in found] == [team.ana.id]
    with pytest.raises(discord.NotFound, match="10007"):
        await guild.fetch_member(team.server.person("stella").id)
    with pytest.raises(discord.NotFound, match="10013"):
        await guild.fetch_member(5)
    with pytest.raises(discord.Forbidden, match="50001"):
        await team.app.http.get_members(guild.id, 5, None)


async def test_the_app_is_taken_into_a_guild_again(team: Team) -> None:
    await team.up()
    await team.server.throw_out(team.guild)
    await team.heard(1)
    assert team.app.get_guild(team.guild.id) is None
    await team.server.take_in(team.guild)
    await team.server.say(team.ana, team.general, "welcome back")
    assert (await team.heard(2))[1] == ("message", "welcome back")


# Sockets --------------------------------------------------------------------------------------------------------------


async def test_what_happens_while_the_socket_is_cut_is_replayed_when_it_is_resumed(team: Team) -> None:
    await team.up()
    for n in range(5):
        before = team.server.resumes
        team.server.cut()
        await team.server.say(team.ana, team.general, f"meanwhile {n}")
        await team.server.until(lambda before=before: team.server.resumes > before, "it is resumed")
    assert [text for _, text in await team.heard(5)] == [f"meanwhile {n}" for n in range(5)]
    assert len(team.server.identifies) == 1
    await team.server.ask_to_reconnect()
    await team.server.until(lambda: team.server.resumes == 6, "it is resumed when asked to reconnect")
    await team.server.close(4000)
    await team.server.until(lambda: team.server.resumes == 7, "it is resumed after being closed")


async def test_a_hundred_cuts_are_resumed_and_nothing_is_lost_or_twice(team: Team) -> None:
    await team.up()
    for n in range(100):
        before = team.server.resumes
        team.server.cut()
        await team.server.say(team.ana, team.general, f"meanwhile {n}")
        await team.server.until(lambda before=before: team.server.resumes > before, "it is resumed")
    assert [text for _, text in await team.heard(100)] == [f"meanwhile {n}" for n in range(100)]
    assert len(team.server.identifies) == 1


async def test_sockets_that_are_refused_and_a_server_that_goes_away_are_come_back_to(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discord.backoff.ExponentialBackoff.delay", lambda self: 0.01)
    await team.up()
    team.server.refuse_sockets = 2
    team.server.cut()
    await team.server.until(lambda: len(team.server.identifies) + team.server.resumes == 2, "it is back")
    assert team.server.refuse_sockets == 0
    await team.server.go_away()
    await team.server.come_back()
    await team.server.until(lambda: len(team.server.identifies) + team.server.resumes == 3, "it is back again")
    await team.server.connected()
    assert (await (await team.asked()).answer()).content == "0: nothing"


async def test_a_session_that_is_gone_is_begun_anew(team: Team) -> None:
    await team.up()
    await team.server.invalidate()
    await team.server.until(lambda: len(team.server.identifies) == 2, "it identifies anew")
    await team.server.connected()
    assert (await (await team.asked()).answer()).content == "0: nothing"


@pytest.mark.parametrize(
    ("token", "privileged", "fault"),
    [("wrong", 1 << 15, discord.LoginFailure), ("", 0, discord.PrivilegedIntentsRequired)],
)
async def test_a_wrong_token_and_an_intent_that_is_off_are_refused(
    team: Team, token: str, privileged: int, fault: type[Exception]
) -> None:
    team.server.privileged = privileged
    with pytest.raises(fault):
        await team.app.start(token or team.server.token)


async def test_heartbeats_are_seen_and_a_mute_socket_is_given_up_by_the_client(team: Team) -> None:
    team.server.heartbeat_ms = 20
    team.app = App(heartbeat_timeout=0.1)
    await team.up()
    await team.server.until(lambda: len(team.server.heartbeats) > 5, "heartbeats come")
    team.server.silence()
    await team.server.until(lambda: team.server.resumes == 1, "the client comes back by another socket")


async def test_shards_get_the_events_of_their_guilds_only(team: Team) -> None:
    team.server.shards = 2
    await team.up()
    await team.server.connected(2)
    told = {one.shard[0]: [name for name, _ in one.log] for one in team.server.sessions.values()}
    mine = (team.guild.id >> 22) % 2
    assert ("GUILD_CREATE" in told[mine], "GUILD_CREATE" in told[1 - mine]) == (True, False)
