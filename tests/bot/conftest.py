"""Fixtures of the bot's tests."""

from __future__ import annotations

from tests.bot.discord_world import acme as acme
from tests.bot.slack_world import world as world
