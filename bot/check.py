"""What `redraft doctor` is told about the chat platforms: a list of findings, made by asking those that are configured.

Plain dictionaries of strings, because they cross a process boundary: the command line may not import this package.
"""

from __future__ import annotations

from bot.settings import BotSettings
from storage.errors import SettingsError


def checks(*, connect: bool = True) -> list[dict[str, str]]:
    """Findings on each platform: ``name``, ``status`` (``ok``, ``warn``, ``fail``), ``finding`` and ``fix``.

    Args:
        connect: ask the platforms; otherwise only the settings are looked at.
    """
    try:
        settings = BotSettings.load()
    except SettingsError as error:
        return [_finding("Chats", "fail", error.message, error.hint)]
    found = []
    if settings.slack_bot_token and settings.slack_app_token:
        if connect:
            from bot.slack.check import checks as ask_slack

            found += ask_slack(settings)
        else:
            found.append(_finding("Slack", "ok", "both tokens are set"))
    elif missing := settings.missing_slack_token:
        found.append(_finding("Slack", "fail", f"{missing} is not set, and Slack needs both", f"Set {missing}."))
    else:
        found.append(_finding("Slack", "ok", "not configured; `redraft init` asks for its tokens"))
    if settings.discord_bot_token and connect:
        from bot.discord.check import checks as ask_discord

        found += ask_discord(settings)
    elif settings.discord_bot_token:
        found.append(_finding("Discord", "ok", "the token is set"))
    else:
        found.append(_finding("Discord", "ok", "not configured; `redraft init` asks for its token"))
    return found


def _finding(name: str, status: str, finding: str, fix: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "finding": finding, "fix": fix}
