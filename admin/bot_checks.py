"""The bot's own findings about its settings, asked in a child process: ``admin`` may not import ``bot``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

#: Seconds that the child may take; it imports its settings and asks the platforms, each within ten seconds.
_TIMEOUT_S = 60


def bot_checks(environment: Mapping[str, str] | None = None, *, connect: bool = True) -> list[dict[str, str]]:
    """Run ``python -m bot --check``; ``environment`` is added to this process's own.

    Args:
        connect: ask the platforms that are configured; otherwise only the settings are looked at.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bot", "--check" if connect else "--check-settings"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
        found: list[dict[str, str]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return [
            {
                "name": "Chats",
                "status": "fail",
                "finding": "the bot's process does not start",
                "fix": "Run `redraft bot` and read what it says.",
            }
        ]
    return found


def refusal(tokens: Mapping[str, str]) -> str:
    """Why the bot's settings refuse these tokens, or an empty string; other settings in force are left out."""
    alone = {"SLACK_BOT_TOKEN": "", "SLACK_APP_TOKEN": "", "DISCORD_BOT_TOKEN": "", **tokens}
    refused = [
        one["finding"]
        for one in bot_checks({**alone, "REDRAFT_ENV_FILE": os.devnull}, connect=False)
        if one["name"] == "Chats"
    ]
    return refused[0] if refused else ""
