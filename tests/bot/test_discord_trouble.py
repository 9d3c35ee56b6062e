"""Discord's bot when things go wrong: tokens that are over, refusals, rate limits, and a gateway that breaks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from discord.backoff import ExponentialBackoff
from sqlmodel import select

from storage.chat_tables import ChatJobRow, ChatMarkRow
from storage.errors import SettingsError
from tests.bot.discord_guild import COMMANDS, Team, discord_server, final, serving
from tests.bot.discord_world import IN_THE_GUILD, Acme
from tests.discord_server.objects import text_of
from tests.discord_server.values import UNKNOWN_INTERACTION

CALLBACK = "POST /interactions/{interaction}/{token}/callback"
EDIT_ANSWER = "PATCH /webhooks/{application}/{token}/messages/{message}"
HISTORY = "GET /channels/{channel}/messages"
IN_WORLD: Any = IN_THE_GUILD


def direct(acme: Acme, who: Any) -> list[Any]:
    channel = acme.server.direct(who)
    return [one for one in acme.server.posts if one.channel is channel]


async def paused(acme: Acme, who: Any, channel: Any, **options: Any) -> Any:
    """A summary that is asked for and not written yet."""
    acme.bot.pause.clear()
    asked = await acme.server.slash(who, channel, "summarize", **options)
    await asked.acknowledged()
    await acme.server.until(lambda: acme.bot.paused, "it is being written")
    return asked


class TestInteractions:
    pytestmark = IN_WORLD

    async def test_a_token_that_is_over_makes_a_message_to_the_person_or_to_the_channel(self, acme: Acme) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        # Discord's clock is put forward, as if the engine had taken a quarter of an hour.
        for options, where in (({}, acme.server.direct(acme.priya)), ({"share": True}, channel)):
            asked = await paused(acme, acme.priya, channel, **options)
            before = len(acme.server.posts)
            acme.server.ahead += 16 * 60
            acme.bot.pause.set()
            post = await acme.server.until(
                lambda where=where, before=before: next(
                    (one for one in acme.server.posts[before:] if one.channel is where and one.components), None
                ),
                "it arrives as a message",
            )
            acme.server.ahead = 0.0
            assert "3 messages" in text_of(post)
            assert asked.original is not None and not final(asked.original)
        # What is done with it there works as everywhere.
        told = direct(acme, acme.priya)[-1]
        assert "👍 noted" in await acme.pressed(acme.priya, told, "👍")

    async def test_who_takes_no_messages_finds_the_answer_in_recent(self, acme: Acme) -> None:
        channel, who = await acme.room(), acme.server.person("quiet", "Quiet", closed=True)
        acme.server.member(acme.acme, who)
        acme.talk(channel, 3)
        await paused(acme, who, channel)
        acme.server.ahead += 16 * 60
        acme.bot.pause.set()
        await acme.server.until(
            lambda: [row.state for row in acme.rows(ChatJobRow, person=f"discord:{who.id}")] == ["done"], "it is done"
        )
        acme.server.ahead = 0.0
        asked = await acme.server.slash(who, channel, "redraft recent")
        assert "1 ·" in text_of(await asked.answer())

    async def test_an_answer_that_its_reader_dismissed_comes_again(self, acme: Acme) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        asked = await paused(acme, acme.ana, channel)
        assert asked.original is not None
        asked.original.deleted = True
        acme.bot.pause.set()
        assert "3 messages" in text_of(await asked.followup(1))

    async def test_an_acknowledgement_that_came_too_late_still_leads_to_an_answer(self, acme: Acme) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        before = len(direct(acme, acme.tomas))
        acme.server.refuse_next(CALLBACK, UNKNOWN_INTERACTION)
        await acme.server.slash(acme.tomas, channel, "summarize")
        await acme.server.until(lambda: len(direct(acme, acme.tomas)) > before, "it arrives as a message")
        assert "3 messages" in text_of(direct(acme, acme.tomas)[-1])

    async def test_a_404_for_a_moment_after_the_deferral_is_waited_out(self, acme: Acme) -> None:
        acme.server.hiccups = 2
        try:
            channel = await acme.room()
            acme.talk(channel, 3)
            before = len(direct(acme, acme.ana))
            asked = await acme.server.slash(acme.ana, channel, "redraft mydata")
            assert "stored about you" in (await acme.told(asked)).lower()
            assert len(direct(acme, acme.ana)) == before
            assert asked.followups == []
        finally:
            acme.server.hiccups = 0

    async def test_rate_limits_of_a_route_and_of_all_are_waited_out(
        self, acme: Acme, caplog: pytest.LogCaptureFixture
    ) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        acme.server.limit_next(HISTORY, 0.2)
        acme.server.limit_next("GET /channels/{channel}", 0.2, everywhere=True)
        acme.server.limit_next(EDIT_ANSWER, 0.2)
        assert "3 messages" in await acme.said(acme.ana, channel)
        # The library would tell the address of what was limited, an interaction's token in it.
        assert "/webhooks/" not in caplog.text

    async def test_one_interaction_delivered_twice_is_answered_once(self, acme: Acme) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        asked = await acme.server.slash(acme.ana, channel, "summarize")
        await acme.server.dispatch("INTERACTION_CREATE", acme.server.payload(asked), guild=acme.acme.id)
        await acme.server.until(lambda: asked.original is not None and final(asked.original), "it is answered")
        await acme.server.until(lambda: acme.server.refused.count((CALLBACK, 40060)), "the second is known")
        assert len([row for row in acme.rows(ChatJobRow) if row.key == f"discord:{asked.id}"]) == 1
        assert asked.followups == []

    async def test_what_cannot_be_stored_is_told_at_once(self, acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
        from bot.jobs import Intake
        from storage.errors import StorageError

        def broken(_self: Any, _jobs: Any) -> Any:
            raise StorageError("The disk is full.")

        monkeypatch.setattr(Intake, "_store", broken)
        asked = await acme.server.slash(acme.ana, acme.general, "summarize")
        assert "could not take that" in text_of(await asked.answer()) and asked.original.seen_by is acme.ana

    async def test_a_guild_that_is_away_is_waited_for(self, acme: Acme) -> None:
        channel = await acme.room()
        acme.talk(channel, 3)
        asked = await acme.server.slash(acme.ana, channel, "summarize")
        await acme.server.outage(acme.acme)
        await acme.server.outage(acme.acme, over=True)
        await acme.server.until(lambda: asked.original is not None and final(asked.original), "it is answered")


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's waits between two connections are none."""
    monkeypatch.setattr(ExponentialBackoff, "delay", lambda _self: 0.0)


async def test_a_gateway_that_is_cut_a_hundred_times_is_resumed_and_loses_nothing(
    own_home: Path, no_backoff: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        async with serving(team, own_home) as bot:
            for number in range(100):
                seen = len(server.connections)
                server.cut()
                if number % 10 == 0:
                    asked = await server.slash(team.ana, team.general, "redraft mydata")
                    await asked.answer()
                await server.until(lambda seen=seen: len(server.connections) > seen, "it connects again")
                await server.connected()
            assert "3 messages" in text_of(await bot.summary(team.ana, team.general))
            assert server.resumes


async def test_sessions_that_discord_ends_are_begun_anew(own_home: Path, no_backoff: None) -> None:
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        async with serving(team, own_home) as bot:
            await server.ask_to_reconnect()
            await server.connected()
            await server.invalidate(resumable=False)
            await server.until(lambda: len(server.connections) >= 3 and server.open_connections, "it identifies anew")
            await server.connected()
            assert "3 messages" in text_of(await bot.summary(team.ana, team.general))


async def test_buttons_answer_again_after_the_client_had_to_be_opened_anew(own_home: Path, no_backoff: None) -> None:
    """What the library cannot read of a delivery closes its client; ours opens it again."""
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        async with serving(team, own_home) as bot:
            answer = await bot.summary(team.ana, team.general)
            connection = bot.service._discord
            assert connection is not None
            before = len(server.connections)
            await connection.client.close()
            await server.until(lambda: len(server.connections) > before, "it connects again")
            await server.connected()
            pressed = await server.press(team.ana, answer, "Sources")
            await pressed.acknowledged()


async def test_an_outage_is_survived_and_figures_tell_of_it(own_home: Path, no_backoff: None) -> None:
    """A real one: nothing listens any more, then it does again."""
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        async with serving(team, own_home) as bot:
            await server.until(lambda: bot.service.figures()["connected"] == 1.0, "it says that it is connected")
            await server.go_away()
            await server.until(lambda: bot.service.figures()["connected"] == 0.0, "it says that it is not")
            await asyncio.sleep(1.0)
            await server.come_back()
            await server.connected(patience=60)
            assert "3 messages" in text_of(await bot.summary(team.ana, team.general))


@pytest.mark.parametrize(("code", "said"), [(4004, "does not take the bot's token"), (4013, "does not take this app")])
async def test_an_app_that_discord_refuses_ends_with_a_sentence(own_home: Path, code: int, said: str) -> None:
    async with discord_server() as server:
        team = Team(server)
        server.close_next.append(code)
        with pytest.raises(SettingsError, match=said):
            async with serving(team, own_home, connected=False) as bot:
                await asyncio.wait_for(_ended(bot), 20)


async def test_a_token_that_is_reset_ends_with_a_sentence(own_home: Path) -> None:
    async with discord_server() as server:
        team = Team(server)
        server.revoked = True
        with pytest.raises(SettingsError, match="does not take the bot's token"):
            async with serving(team, own_home, connected=False) as bot:
                await asyncio.wait_for(_ended(bot), 20)


async def _ended(bot: Any) -> None:
    await bot.running


async def test_without_the_message_content_intent_it_says_so_and_goes_on_once_it_is_on(own_home: Path) -> None:
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        server.privileged = 0
        async with serving(team, own_home) as bot:
            assert "Message Content Intent" in text_of(await bot.summary(team.ana, team.general))
            from tests.discord_server.payloads import MESSAGE_CONTENT

            server.privileged = MESSAGE_CONTENT
            assert "3 messages" in text_of(await bot.summary(team.ana, team.general))


async def test_commands_are_told_to_discord_only_when_they_change(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guild_route = "PUT /applications/{application}/guilds/{guild}/commands"

    def told(name: str) -> int:
        return sum(call.name == name for call in server.calls)

    async with discord_server() as server:
        team = Team(server)
        async with serving(team, own_home) as bot:
            await server.until(lambda: told(COMMANDS) and _marked(bot), "they are told, and that is remembered")
        async with serving(team, own_home) as bot:
            await bot.server.until(lambda: _marked(bot), "it has looked")
            await (await server.slash(team.ana, team.general, "redraft help")).answer()
        assert told(COMMANDS) == 1
        # In listed servers only: they leave everywhere else.
        async with serving(team, own_home, discord_guilds=str(team.acme.id)):
            await server.until(lambda: server.registered(team.acme.id) and not server.registered(None), "they moved")
        assert (told(COMMANDS), told(guild_route)) == (2, 1)
        monkeypatch.setitem(__import__("bot.texts", fromlist=["COMMANDS"]).COMMANDS, "mydata", "Something else")
        async with serving(team, own_home, connected=False, discord_guilds=str(team.acme.id)):
            await server.until(lambda: told(guild_route) == 2, "a new definition is told")
        assert "Something else" in json.dumps(server.registered(team.acme.id))


def _marked(bot: Any) -> bool:
    with bot.stored.read() as session:
        return bool(session.scalars(select(ChatMarkRow)).all())


async def test_what_was_accepted_before_a_crash_is_finished_after_it_and_its_buttons_work(own_home: Path) -> None:
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 3)
        async with serving(team, own_home) as bot:
            answer = await bot.summary(team.ana, team.general)
            opened = await server.press(team.ana, answer, "Correct")
            await opened.shown_modal()
            bot.pause.clear()
            asked = await server.slash(team.ana, team.general, "summarize", style="brief")
            await server.until(lambda: bot.paused, "it is being written")
            bot.crash()
        async with serving(team, own_home) as bot:
            await server.until(lambda: asked.original is not None and final(asked.original), "it is finished")
            assert "(brief)" in text_of(asked.original) and asked.followups == []
            # What was open is submitted to a process that has never seen it.
            sent = await server.submit(opened, text0="Ana finds the export jobs in good order, all three of them.")
            await sent.followup(1)
            assert "in good order" in text_of(answer)
