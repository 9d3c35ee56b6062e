"""The local Discord's answers: interactions' deadlines and tokens, refusals, rate limits and outages."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import discord
import pytest

from tests.bot.discord_app import QUIET, Team
from tests.bot.discord_app import server as server
from tests.bot.discord_app import team as team
from tests.bot.discord_raw import POST, Raw, asking, shown
from tests.bot.discord_raw import raw as raw
from tests.discord_server import rules, world
from tests.discord_server.server import DiscordServer
from tests.discord_server.values import UNKNOWN_MESSAGE

EDIT = "PATCH /webhooks/{application}/{token}/messages/{message}"


# Interactions ---------------------------------------------------------------------------------------------------------


async def test_an_interaction_is_answered_once_in_time_and_as_its_kind_allows(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    one = asking(team)
    assert (await raw.hook("POST", one, data={"content": "too early"}))[1]["code"] == 10015
    assert (await raw.answer(one, 5, {"flags": 64}))[0] == 204
    assert (await raw.answer(one, 4, {"content": "again"}))[1]["code"] == 40060
    late = asking(team)
    server.ahead += 3.1
    assert (await raw.answer(late, 5))[1]["code"] == 10062
    server.ahead = 0
    assert (await raw.answer(late, 5))[1]["code"] == 10062, "who was too late stays too late"
    assert (await raw("POST", "/interactions/1/nothing/callback", {"type": 5}))[1]["code"] == 10062
    assert server.broken == []
    for said, kind, answered, data in (
        ("type 8", 2, 8, {"choices": []}),
        ("type 4", 4, 4, {"content": "x"}),
        ("without a component", 2, 6, None),
        ("choices=", 4, 8, {"choices": [{"name": "a", "value": "a"}] * 26}),
        ("a modal after a modal", 5, 9, {}),
        ("flags 4", 2, 5, {"flags": 4}),
        ("unknown field content", 2, 5, {"content": "x"}),
        ("title=", 2, 9, {"custom_id": "m", "title": "x" * 46, "components": [shown("x")]}),
        ("components=", 2, 9, {"custom_id": "m", "title": "x", "components": [shown("x")] * 6}),
    ):
        server.broken.clear()
        assert (await raw.answer(asking(team, kind), answered, data))[0] == 400, said
        assert len(server.broken) == 1 and said in server.broken[0], server.broken
    server.broken.clear()


async def test_a_callback_has_a_body_only_where_it_is_asked_for(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    for kind, data, message in ((4, {"content": "x"}, True), (5, {"flags": 64}, False)):
        one = asking(team)
        status, answer = await raw.answer(one, kind, data, "?with_response=true")
        assert (status, answer["interaction"]["id"]) == (200, str(one.id))
        assert answer["interaction"]["response_message_loading"] is (kind == 5)
        assert answer["interaction"]["response_message_ephemeral"] is (kind == 5)
        assert ("message" in answer["resource"]) is message
    assert server.broken == []


async def test_tokens_last_15_minutes_and_answers_can_be_gone(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    one = asking(team)
    await raw.answer(one, 4, {"content": "x"})
    assert (await raw.hook("DELETE", one, "/messages/@original"))[0] == 204
    assert (await raw.hook("PATCH", one, "/messages/@original", {"content": "y"}))[1]["code"] == 10008
    server.ahead += 15 * 60 - 1
    assert (await raw.hook("POST", one, data={"content": "just in time"}))[0] == 200
    server.ahead += 2
    for method, path in (("POST", ""), ("PATCH", "/messages/@original")):
        assert (await raw.hook(method, one, path, {"content": "y"}))[1]["code"] == 50027
    assert server.broken == []


async def test_the_first_followup_of_a_deferral_is_the_answer_and_may_be_missed_for_a_moment(
    server: DiscordServer, raw: Raw
) -> None:
    team = Team(server)
    server.hiccups = 1
    one = asking(team)
    await raw.answer(one, 5, {"flags": 64})
    assert (await raw.hook("POST", one, data={"content": "x"}))[1]["code"] == 10015
    status, answer = await raw.hook("POST", one, data={"content": "x"})
    assert one.original is not None and (status, answer["id"]) == (200, str(one.original.id))
    assert (one.original.content, one.original.ephemeral, one.original.loading) == ("x", True, False)
    assert (await raw.hook("POST", one, data={"content": "y"}))[1]["id"] != answer["id"]
    assert [message.content for message in one.shown] == ["x", "y"]
    other = asking(team)
    server.hiccups = 0
    await raw.answer(other, 5)
    await raw.hook("DELETE", other, "/messages/@original")
    await raw.hook("POST", other, data={"content": "z", "flags": 64})
    assert [message.ephemeral for message in other.shown] == [True], "of a deferral that was deleted, it is its own"


async def test_a_user_installed_app_has_five_followups(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    one = asking(team, user_installed=True)
    assert server.payload(one)["authorizing_integration_owners"] == {"1": str(team.ana.id)}
    await raw.answer(one, 4, {"content": "x"})
    server.limits.of["POST /webhooks/{application}/{token}"] = None
    codes = [(await raw.hook("POST", one, data={"content": str(n)}))[1].get("code") for n in range(6)]
    assert codes == [None] * 5 + [40094]


async def test_components_v2_can_be_set_by_an_edit_that_empties_the_rest_and_never_be_taken_back(
    server: DiscordServer, raw: Raw
) -> None:
    team = Team(server)
    one = asking(team)
    await raw.answer(one, 4, {"content": "x"})
    whole = {"flags": rules.COMPONENTS_V2, "components": [shown("y")]}
    assert (await raw.hook("PATCH", one, "/messages/@original", whole))[0] == 400
    assert "content beside IS_COMPONENTS_V2" in server.broken.pop()
    assert (await raw.hook("PATCH", one, "/messages/@original", {**whole, "content": None}))[0] == 200
    assert (await raw.hook("PATCH", one, "/messages/@original", {"content": "z"}))[0] == 400
    assert "content beside IS_COMPONENTS_V2" in server.broken.pop()


# Refusals and rate limits ---------------------------------------------------------------------------------------------


async def test_writing_needs_permissions_and_people_may_take_no_direct_messages(team: Team) -> None:
    server = team.server
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    server.mute(team.general, server.app_role(team.guild))
    with pytest.raises(discord.Forbidden, match="50013"):
        await place.send("x", allowed_mentions=QUIET)
    ana = await team.app.fetch_user(team.ana.id)
    await ana.send("hello", allowed_mentions=QUIET)
    assert (await server.posted(server.direct(team.ana))).content == "hello"
    team.ana.closed = True
    with pytest.raises(discord.Forbidden, match="50007"):
        await ana.send("hello again", allowed_mentions=QUIET)
    theirs = server.write(team.general, team.ana, "hers")
    with pytest.raises(discord.Forbidden, match="50005"):
        await (await place.fetch_message(theirs.id)).edit(content="mine")
    assert [code for _, code in server.refused] == [50013, 50007, 50005]


async def test_private_threads_are_closed_to_those_who_are_not_in_them(team: Team) -> None:
    server = team.server
    private = server.thread(team.general, "between us", team.ana, private=True)
    await team.up()
    with pytest.raises(discord.Forbidden, match="50001"):
        await team.app.fetch_channel(private.id)
    private.members.add(server.app.id)
    thread: Any = await team.app.fetch_channel(private.id)
    assert (await thread.fetch_member(team.ana.id)).id == team.ana.id
    with pytest.raises(discord.NotFound, match="10007"):
        await thread.fetch_member(team.kofi.id)
    private.archived = private.locked = True
    with pytest.raises(discord.HTTPException, match="160005"):
        await thread.send("x", allowed_mentions=QUIET)


async def test_a_bucket_that_is_used_up_and_429s_of_a_route_and_of_all_are_waited_for(team: Team) -> None:
    server = team.server
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    server.limits.of[POST] = (2, 0.1)
    for n in range(5):
        await place.send(str(n), allowed_mentions=QUIET)
    assert server.limits.exceeded == [], "discord.py waits by the headers"
    server.limit_next(POST, 0.05)
    server.limit_next(POST, 0.05, everywhere=True)
    server.limit_next(POST, 0.05, shared=True)
    await place.send("after all", allowed_mentions=QUIET)
    assert [call.status for call in server.called(POST)][-4:] == [429, 429, 429, 200]
    server.limit_next(EDIT, 0.05)
    assert (await (await team.asked()).answer()).content == "6: after all"


async def test_a_client_that_does_not_wait_is_told_off(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    server.limits.of[POST] = (2, 60)
    path = f"/channels/{team.general.id}/messages"
    answers = [await raw("POST", path, {"content": "x"}) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[2][1]["retry_after"] > 50 and answers[2][1]["global"] is False
    other = server.channel(team.guild, "other")
    assert (await raw("POST", f"/channels/{other.id}/messages", {"content": "x"}))[0] == 200, "counted by channel"
    server.limits.all_routes = 0
    status, answer = await raw("GET", path)
    assert (status, answer["global"]) == (429, True)
    assert server.limits.exceeded == [POST, "global"]


async def test_outages_and_refusals_can_be_had_on_demand(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float, *_: Any) -> None:
        """What discord.py waits between attempts."""

    server = team.server
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    with monkeypatch.context() as patched:
        patched.setattr("discord.http.asyncio.sleep", at_once)
        server.fail_next(POST, 500)
        server.fail_next(POST, 502)
        await place.send("after all", allowed_mentions=QUIET)
    assert [call.status for call in server.called(POST)] == [500, 502, 200]
    server.refuse_next(POST, UNKNOWN_MESSAGE)
    with pytest.raises(discord.NotFound, match="10008"):
        await place.send("x", allowed_mentions=QUIET)
    server.fail_next(POST, 0)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await place.send("x", allowed_mentions=QUIET)
    await server.go_away()
    with pytest.raises(aiohttp.ClientConnectorError):
        await place.send("x", allowed_mentions=QUIET)
    await server.come_back()
    await place.send("back", allowed_mentions=QUIET)


async def test_a_slow_route_and_the_requests_that_count_for_a_ban_are_seen(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    server.slow["GET /channels/{channel}"] = 0.05
    path = f"/channels/{team.general.id}"
    began = time.monotonic()
    assert (await raw("GET", path))[0] == 200
    assert time.monotonic() - began >= 0.05
    server.slow.clear()
    await raw("GET", path, Authorization="Bot no")
    team.general.allow(server.app_role(team.guild), 0, world.VIEW_CHANNEL)
    await raw("GET", path)
    await raw("GET", "/channels/1")
    server.limit_next("GET /channels/{channel}")
    await raw("GET", path)
    assert [call.status for call in server.calls] == [200, 401, 403, 404, 429]
    assert server.invalid_requests == 3
    assert server.broken == []


async def test_archived_threads_are_listed_apart_newest_first(team: Team) -> None:
    server = team.server
    old = [server.thread(team.general, f"old {n}", team.ana, ago=900 - n, archived=True) for n in range(3)]
    private = server.thread(team.general, "between us", team.ana, private=True, archived=True)
    await team.up()
    place: Any = await team.app.fetch_channel(team.general.id)
    assert [one.id async for one in place.archived_threads(limit=None)] == [one.id for one in reversed(old)]
    with pytest.raises(discord.Forbidden, match="50013"):
        await place.archived_threads(private=True).__anext__()
    private.members.add(server.app.id)
    assert [one.id async for one in place.archived_threads(private=True, joined=True)] == [private.id]


async def test_a_second_identification_within_five_seconds_is_refused_if_wanted(
    server: DiscordServer, raw: Raw
) -> None:
    server.identify_apart_s = 5
    given = {"token": server.token, "intents": 1, "properties": {"os": "linux", "browser": "x", "device": "x"}}
    told = []
    for _ in range(2):
        async with raw.session.ws_connect(f"{server.base}/gateway?v=10&encoding=json") as socket:
            assert (await socket.receive_json())["op"] == 10
            await socket.send_json({"op": 2, "d": given})
            told.append((await socket.receive_json())["op"])
    assert told == [0, 9]
