"""What `redraft doctor` says of Slack: each thing that is wrong, by the page and the switch that mend it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.settings import BotSettings
from bot.slack.check import checks
from tests.slack_server.server import APP_TOKEN, BOT_TOKEN, SlackServer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[SlackServer]:
    made = SlackServer()
    await made.start()
    yield made
    await made.stop()
    assert made.broken == []


async def found(server: SlackServer, **given: str) -> dict[str, dict[str, str]]:
    tokens = {
        "slack_bot_token": BOT_TOKEN,
        "slack_app_token": APP_TOKEN,
        "slack_api_url": f"{server.base}/api",
        **given,
    }
    settings = BotSettings.load(**tokens)
    return {one["name"]: one for one in await asyncio.to_thread(checks, settings)}


async def test_all_is_well(server: SlackServer) -> None:
    told = await found(server)
    assert {one["status"] for one in told.values()} == {"ok"}
    assert "redraft in Acme" in told["Slack"]["finding"]
    assert set(told) == {"Slack", "Slack scopes", "Slack connection"}


async def test_a_scope_that_is_missing_is_named(server: SlackServer) -> None:
    server.scopes.remove("groups:history")
    told = (await found(server))["Slack scopes"]
    assert (told["status"], "groups:history" in told["finding"], "Bot Token Scopes" in told["fix"]) == (
        "fail",
        True,
        True,
    )


async def test_a_bot_token_that_is_refused_is_told_and_nothing_more_is_asked(server: SlackServer) -> None:
    told = await found(server, slack_bot_token="xoxb-9-9-other")
    assert list(told) == ["Slack"]
    assert "invalid_auth" in told["Slack"]["finding"] and "Install App" in told["Slack"]["fix"]


async def test_an_app_token_that_is_refused_and_socket_mode_that_is_off_are_told_apart(server: SlackServer) -> None:
    told = (await found(server, slack_app_token="xapp-9-A0-9-other"))["Slack connection"]
    assert "connections:write" in told["fix"]
    server.instead["apps.connections.open"].append((200, {}, {"ok": False, "error": "socket_mode_not_enabled"}))
    assert "Switch Socket Mode on" in (await found(server))["Slack connection"]["fix"]


async def test_slack_that_cannot_be_reached_is_told(server: SlackServer) -> None:
    told = await found(server, slack_api_url="http://127.0.0.1:9/api/")
    assert "cannot be reached" in told["Slack"]["finding"]


async def test_the_doctor_shows_it_and_names_no_token(server: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from admin.bot_checks import bot_checks

    given = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_API_URL": f"{server.base}/api/"}
    server.scopes.remove("users:read")
    told = await asyncio.to_thread(bot_checks, given)
    assert any("users:read" in one["finding"] for one in told)
    before = len(server.calls)
    told = await asyncio.to_thread(lambda: bot_checks(given, connect=False))
    assert any(one["finding"] == "both tokens are set" for one in told) and len(server.calls) == before
    assert BOT_TOKEN not in str(told) and os.environ.get("SLACK_BOT_TOKEN") is None
