"""Acme on the local Discord is read by the real discord.py client as it was seeded."""

from __future__ import annotations

from typing import Any

import discord
import pytest_asyncio

from tests.bot import discord_acme as acme
from tests.bot.discord_acme import Acme
from tests.bot.discord_app import INTENTS
from tests.bot.discord_app import server as server
from tests.discord_server import world
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import Channel


@pytest_asyncio.fixture
async def client(server: DiscordServer) -> Any:
    """REST alone: nothing is told of what was seeded."""
    made = discord.Client(intents=INTENTS)
    await made.login(server.token)
    yield made
    await made.close()
    assert server.broken == []


async def read(client: Any, channel: Channel) -> list[discord.Message]:
    """All of a channel, oldest first."""
    place = await client.fetch_channel(channel.id)
    return [one async for one in place.history(limit=None, oldest_first=True)]


async def test_every_place_is_read_as_it_was_seeded(server: DiscordServer, client: Any) -> None:
    team = Acme(server)
    assert [one.content for one in await read(client, team.talk)][1:] == [
        "Since the update of the library?",
        "Yes: it writes dates in another form.",
        "I pin the old version until Friday.",
    ]
    assert (await read(client, team.whispers))[0].content == "They offer 40,000 a year."
    assert (await read(client, team.post))[0].content == "It hangs at start, why?"
    assert len(await read(client, team.closed)) == 2 and await read(client, team.empty) == []
    seen = {one.id: one for one in await (await client.fetch_guild(team.acme.id)).active_threads()}
    assert set(seen) == {team.talk.id, team.whispers.id, team.post.id}
    assert (seen[team.whispers.id].is_private(), seen[team.talk.id].parent_id) == (True, team.general.id)


async def test_people_see_what_they_should(server: DiscordServer) -> None:
    team = Acme(server)
    places = (team.general, team.secret, team.elsewhere, team.talk, team.whispers, team.unheard, team.post)
    seen = {
        who.name: [one.name for one in places if world.permissions(who.id, one) & world.READ_MESSAGE_HISTORY]
        for who in (team.ana, team.priya, team.noor, team.stella, server.app)
    }
    assert seen == {
        "ana": ["general", "secret", "elsewhere", "the export", "the offer", "It hangs at start"],
        "priya": ["general", "the export", "the party", "It hangs at start"],
        "noor": ["general", "the export", "the offer", "the party", "It hangs at start"],
        "stella": [],
        "redraft": ["general", "secret", "the export", "the offer", "It hangs at start"],
    }


async def test_messages_without_a_text_and_texts_that_are_hard_come_whole(server: DiscordServer, client: Any) -> None:
    team = Acme(server)
    odd = {name: one for one in await read(client, team.odds) for name, it in team.odd.items() if it.id == one.id}
    assert set(odd) == set(team.odd)
    bare = (acme.EMBED, acme.STICKER, acme.POLL, acme.FORWARD, acme.FILE)
    assert [odd[name].content for name in bare] == [""] * 5
    assert (odd[acme.EMBED].embeds[0].description, odd[acme.EMBED].author.bot) == ("3 tests fail.", True)
    assert (odd[acme.STICKER].stickers[0].name, odd[acme.FILE].attachments[0].filename) == ("Waving hand", "chart.png")
    poll: Any = odd[acme.POLL].poll
    assert (poll.question, [one.text for one in poll.answers]) == ("Lunch where?", ["Canteen", "Outside"])
    assert odd[acme.FORWARD].message_snapshots[0].content.startswith("The export to the partners")
    assert odd[acme.WEBHOOK].webhook_id == odd[acme.WEBHOOK].author.id
    assert odd["joined"].type is discord.MessageType.new_member
    reference: Any = odd["reply to one that is gone"].reference
    assert isinstance(reference.resolved, discord.DeletedReferencedMessage)
    said = {one.id: one for one in await read(client, team.tongues)}
    assert {one.id: one.content for one in team.said.values()} == {key: one.content for key, one in said.items()}
    assert max(len(one.content) for one in said.values()) in range(1950, 2001)


async def test_the_archive_has_10_000_messages_that_end_now(server: DiscordServer, client: Any) -> None:
    team = Acme(server)
    ids = team.fill()
    place = await client.fetch_channel(team.archive.id)
    newest = [one async for one in place.history(limit=3)]
    assert [one.id for one in newest] == ids[:-4:-1]
    assert newest[0].content == "Shipment 9999 of 10000 has left the yard."
    assert 50 < (discord.utils.utcnow() - newest[0].created_at).total_seconds() < 120
