"""What `redraft doctor` finds of Discord: does the token work, is the intent switched on, are the permissions given.

Synchronous, because the doctor's child process has no loop; each finding has a fix that names the page and the switch.
"""

from __future__ import annotations

from typing import Any

import httpx
from discord import ApplicationFlags, Permissions
from discord import __version__ as version
from discord.utils import oauth_url

from bot import texts
from bot.discord.people import TO_POST, TO_POST_IN_THREADS, TO_READ
from bot.settings import BotSettings
from engine.formats.values import as_dict, clean_name, dicts

_TIMEOUT_S = 10.0
_PORTAL = "discord.com/developers/applications"
#: Servers whose permissions are looked at.
_MOST_GUILDS = 10


def wanted() -> Permissions:
    """The permissions that the app asks for when it is added to a server."""
    return Permissions(**dict.fromkeys((*TO_READ, *TO_POST, *TO_POST_IN_THREADS), True))


def invitation(app: str) -> str:
    """The address by which somebody adds the app to a server."""
    return oauth_url(app, permissions=wanted(), scopes=("bot", "applications.commands"))


def checks(settings: BotSettings) -> list[dict[str, str]]:
    """Findings on Discord, by asking it; the token is set."""
    assert settings.discord_bot_token is not None
    headers = {
        "Authorization": f"Bot {settings.discord_bot_token.get_secret_value()}",
        "User-Agent": f"DiscordBot (https://github.com/Rapptz/discord.py, {version})",
    }
    try:
        with httpx.Client(base_url=settings.discord_api_url, headers=headers, timeout=_TIMEOUT_S) as client:
            return _ask(client, settings)
    except (httpx.HTTPError, ValueError):
        fix = "Check the network, and HTTPS_PROXY if you use one."
        return [_finding("Discord", "fail", f"{settings.discord_api_url} cannot be reached", fix)]


def _ask(client: httpx.Client, settings: BotSettings) -> list[dict[str, str]]:
    answer = client.get("/applications/@me")
    if answer.status_code in (401, 403):
        fix = f"Reset it at {_PORTAL} > Bot > Reset Token, and set DISCORD_BOT_TOKEN to the one that it shows."
        return [_finding("Discord", "fail", "Discord does not take the bot token", fix)]
    if answer.status_code != 200:
        fix = "Try again in a minute; discordstatus.com tells of outages."
        return [_finding("Discord", "warn", f"Discord answers with {answer.status_code}", fix)]
    app = as_dict(answer.json())
    app_id, name = str(app.get("id") or ""), clean_name(app.get("name"))
    found = [_finding("Discord", "ok", f"the bot token is that of {name}"), _intent(app)]
    if app.get("interactions_endpoint_url"):
        fix = f"Empty {_PORTAL} > General Information > Interactions Endpoint URL."
        found.append(_finding("Discord commands", "fail", "commands are sent to an address of yours", fix))
    return [*found, *_guilds(client, settings, app_id)]


def _intent(app: dict[str, Any]) -> dict[str, str]:
    flags = ApplicationFlags._from_value(int(app.get("flags") or 0))
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return _finding("Discord intents", "ok", "Message Content Intent is on")
    fix = f"Switch on {_PORTAL} > Bot > Privileged Gateway Intents > Message Content Intent."
    return _finding("Discord intents", "fail", "the app may not read what messages say", fix)


def _guilds(client: httpx.Client, settings: BotSettings, app_id: str) -> list[dict[str, str]]:
    answer = client.get("/users/@me/guilds")
    guilds = dicts(answer.json()) if answer.status_code == 200 else []
    if not guilds:
        fix = f"Add it by {invitation(app_id)}"
        return [_finding("Discord servers", "warn", "the app is in no server", fix)]
    found = []
    named = settings.discord_guilds.split()
    for missing in sorted(set(named) - {str(one.get("id")) for one in guilds}):
        fix = f"Add it by {invitation(app_id)}, or take the server out of DISCORD_GUILDS."
        found.append(_finding("Discord servers", "fail", f"the app is not in the server {missing}", fix))
    for one in guilds[:_MOST_GUILDS]:
        lacks = _lacks(Permissions(int(one.get("permissions") or 0)))
        if lacks:
            fix = f"Give them to its role in Server Settings > Roles, or add it anew by {invitation(app_id)}"
            finding = f"in {clean_name(one.get('name'))} the app lacks {texts.listed(lacks)}"
            found.append(_finding("Discord permissions", "fail", finding, fix))
    number = f"{len(guilds)} server{'s' * (len(guilds) != 1)}"
    return found or [_finding("Discord permissions", "ok", f"all are granted in {number}")]


def _lacks(rights: Permissions) -> list[str]:
    if rights.administrator:
        return []
    return [texts.PERMISSIONS[name] for name, needed in wanted() if needed and not getattr(rights, name)]


def _finding(name: str, status: str, finding: str, fix: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "finding": finding, "fix": fix}
