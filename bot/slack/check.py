"""What `redraft doctor` finds of Slack: do the tokens work, has the app its scopes, can Socket Mode be reached.

Synchronous, because the doctor's child process has no loop; each finding has a fix that names the page and the switch.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.settings import BotSettings

_TIMEOUT_S = 10
_PORTAL = "api.slack.com/apps"


def manifest() -> Path:
    """The manifest from which the app is made."""
    return Path(__file__).with_name("manifest.yaml")


def scopes_wanted() -> set[str]:
    """The scopes that the manifest asks for."""
    text = manifest().read_text(encoding="utf-8")
    listed = text.partition("    bot:\n")[2].partition("settings:")[0]
    return set(re.findall(r"^ +- ([\w:.]+)", listed, re.MULTILINE))


def checks(settings: BotSettings) -> list[dict[str, str]]:
    """Findings on Slack, by asking it; both tokens are set."""
    assert settings.slack_bot_token is not None and settings.slack_app_token is not None
    quiet = logging.getLogger("slack-doctor")
    quiet.setLevel(logging.CRITICAL)
    client = WebClient(
        token=settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        timeout=_TIMEOUT_S,
        logger=quiet,
    )
    try:
        me = client.auth_test()
    except SlackApiError as error:
        code = str(error.response.get("error") or "")
        fix = f"Reinstall the app at {_PORTAL} > Install App, and set SLACK_BOT_TOKEN to the token that it shows."
        return [_finding("Slack", "fail", f"Slack does not take the bot token ({code})", fix)]
    except Exception:
        return [_unreachable(settings)]
    found = [_finding("Slack", "ok", f"the bot token is that of {me.get('user')} in {me.get('team')}")]
    has = {one.strip() for one in str(me.headers.get("x-oauth-scopes") or "").split(",") if one.strip()}
    missing = sorted(scopes_wanted() - has)
    if missing:
        fix = f"Add them at {_PORTAL} > OAuth & Permissions > Bot Token Scopes, and reinstall the app."
        found.append(_finding("Slack scopes", "fail", f"the app lacks {', '.join(missing)}", fix))
    else:
        found.append(_finding("Slack scopes", "ok", "all are granted"))
    return [*found, _socket(client, settings)]


def _socket(client: WebClient, settings: BotSettings) -> dict[str, str]:
    assert settings.slack_app_token is not None
    try:
        client.apps_connections_open(app_token=settings.slack_app_token.get_secret_value())
    except SlackApiError as error:
        code = str(error.response.get("error") or "")
        fix = (
            f"Switch Socket Mode on at {_PORTAL} > Socket Mode."
            if code in ("socket_mode_not_enabled", "forbidden_for_interactive_workflows")
            else f"Make a token with connections:write at {_PORTAL} > Basic Information > App-Level Tokens, "
            "and set SLACK_APP_TOKEN to it."
        )
        return _finding("Slack connection", "fail", f"Slack opens no connection ({code})", fix)
    except Exception:
        return _unreachable(settings)
    return _finding("Slack connection", "ok", "Socket Mode can be used")


def _unreachable(settings: BotSettings) -> dict[str, str]:
    return _finding(
        "Slack",
        "fail",
        f"{settings.slack_api_url} cannot be reached",
        "Check the network, and HTTPS_PROXY if you use one.",
    )


def _finding(name: str, status: str, finding: str, fix: str = "") -> dict[str, str]:
    return {"name": name, "status": status, "finding": finding, "fix": fix}
