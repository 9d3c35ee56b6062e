"""Slack's Web API as the bot calls it: in its turn by tier, patient, with names that go stale, through a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.chat import Forbidden, NotThere, Place
from bot.jobs import Later
from bot.slack.client import Pace, Slack, SlackRefused, TokenRefused
from bot.slack.people import People
from tests.bot.slack_team import ANA, GENERAL, GUEST, KOFI, SECRET, STRANGER, TOMAS, people
from tests.slack_server.server import BOT_TOKEN, TEAM, SlackServer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[SlackServer]:
    made = SlackServer()
    people(made)
    await made.start()
    yield made
    await made.stop()
    assert made.broken == []


@pytest_asyncio.fixture
async def slack(server: SlackServer) -> AsyncIterator[Slack]:
    made = Slack(BOT_TOKEN, f"{server.base}/api/", Pace(1000))
    yield made
    await made.close()


async def test_calls_keep_to_their_tier_after_a_burst() -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(clock=lambda: now[0], sleep=sleep)
    for _ in range(50):
        await pace.turn("conversations.history")
    assert slept == []
    for _ in range(100):
        await pace.turn("conversations.history")
    assert now[0] == pytest.approx(100 * 60 / 50)
    await pace.turn("chat.update")
    assert now[0] == pytest.approx(120), "each method has its own rate"
    before = now[0]
    await pace.leisure("conversations.history")
    assert now[0] - before == pytest.approx(30), "what nobody waits for leaves half of the burst to others"
    await pace.leisure("conversations.info")
    now[0] += 600
    slept.clear()
    for _ in range(50):
        await pace.turn("conversations.history")
    assert slept == []


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (200, "token_revoked", TokenRefused), (200, "account_inactive", TokenRefused),
        (200, "invalid_auth", TokenRefused), (200, "channel_not_found", NotThere), (200, "thread_not_found", NotThere),
        (200, "missing_scope", SlackRefused), (200, "ratelimited", Later), (200, "internal_error", Later),
        (502, "", Later),
    ],
)  # fmt: skip
async def test_what_slack_refuses_is_told_apart(
    server: SlackServer, slack: Slack, status: int, code: str, error: type[Exception]
) -> None:
    server.instead["users.info"] += [(status, {}, {"ok": False, "error": code})] * 4
    with pytest.raises(error) as refused:
        await slack.call("users_info", user=ANA)
    assert BOT_TOKEN not in str(refused.value)


async def test_a_rate_limit_is_waited_out_as_slack_says(
    server: SlackServer, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *given: Any) -> None:
        if seconds >= 1:
            waits.append(seconds)
            seconds = 0
        await real(seconds)

    monkeypatch.setattr("slack_sdk.http_retry.builtin_async_handlers.asyncio.sleep", sleep)
    limited = (429, {"Retry-After": "30"}, {"ok": False, "error": "ratelimited"})
    server.instead["users.info"] += [limited] * 3
    assert (await slack.call("users_info", user=ANA))["user"]["id"] == ANA
    assert len(waits) == 3 and all(30 <= wait <= 31 for wait in waits)
    server.instead["users.info"] += [limited] * 7
    with pytest.raises(Later) as later:
        await slack.call("users_info", user=ANA)
    assert later.value.seconds == 30


async def test_names_are_asked_for_once_and_again_when_they_are_stale(server: SlackServer, slack: Slack) -> None:
    now = [0.0]
    team = People(slack, TEAM, "redraft", clock=lambda: now[0])

    def asked() -> int:
        return sum(name == "users.info" for name, _ in server.calls)

    found = await team.names([ANA, TOMAS, ANA, "U0GONE"])
    assert {key: user.name for key, user in found.items()} == {ANA: "Ana", TOMAS: "Tomas", "U0GONE": "U0GONE"}
    await team.names([ANA, TOMAS])
    assert asked() == 3
    server.users[ANA]["profile"]["display_name"] = "Ana Lucía"
    now[0] += 3700
    assert (await team.user(ANA)).name == "Ana Lucía" and asked() == 4


async def test_rights_are_those_of_members_and_of_full_members_where_it_is_public(
    server: SlackServer, slack: Slack
) -> None:
    team = People(slack, TEAM, "redraft")
    general, secret = Place("slack", TEAM, GENERAL), Place("slack", TEAM, SECRET)
    for user, place in ((ANA, general), (GUEST, general), (KOFI, general), (ANA, secret)):
        await team.require(f"slack:{user}", place)
    for user, place in ((STRANGER, general), (KOFI, secret), (GUEST, secret), ("U0NOBODY", general)):
        with pytest.raises(Forbidden):
            await team.require(f"slack:{user}", place)
    server.users[KOFI]["deleted"] = True
    with pytest.raises(Forbidden):
        await team.require(f"slack:{KOFI}", general)
    with pytest.raises(NotThere):
        await team.require(f"slack:{ANA}", Place("slack", "T0OTHER", GENERAL))


async def test_somebody_on_the_last_page_of_a_large_channel_is_found(server: SlackServer, slack: Slack) -> None:
    server.channels[SECRET].members = [f"U1{number}" for number in range(2500)] + [ANA]
    team = People(slack, TEAM, "redraft")
    await team.require(f"slack:{ANA}", Place("slack", TEAM, SECRET))
    assert sum(name == "conversations.members" for name, _ in server.calls) == 3


async def test_a_proxy_of_the_environment_is_honoured(server: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    slack = Slack(BOT_TOKEN, "http://slack.example/api/", Pace(1000))
    with pytest.raises(Later):
        await slack.call("auth_test")
    assert slack.web.proxy == f"http://127.0.0.1:{port}"
    await slack.close()
    listening.close()
    assert b"http://slack.example/api/auth.test" in seen[0]
