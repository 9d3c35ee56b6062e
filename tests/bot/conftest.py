"""Fixtures of the bot's tests."""

from __future__ import annotations

from tests.bot.slack_world import world as world
