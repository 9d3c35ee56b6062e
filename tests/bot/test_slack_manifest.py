"""The manifest against the code: each command, event and shortcut that it listens to, no scope that it does not use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

import bot.slack
from bot.slack import app
from bot.slack.check import scopes_wanted

FOLDER = Path(bot.slack.__file__).parent
#: What each method and event of the code needs, as the reference pages say.
SCOPES = {
    "auth_test": set(), "apps_connections_open": set(), "views_open": set(), "views_update": set(),
    "views_publish": set(), "users_info": {"users:read"}, "conversations_info": {"channels:read", "groups:read"},
    "conversations_members": {"channels:read", "groups:read"},
    "conversations_history": {"channels:history", "groups:history"},
    "conversations_replies": {"channels:history", "groups:history"},
    "chat_postMessage": {"chat:write"}, "chat_postEphemeral": {"chat:write"}, "chat_update": {"chat:write"},
    "chat_delete": {"chat:write"}, "chat_startStream": {"chat:write"}, "chat_appendStream": {"chat:write"},
    "chat_stopStream": {"chat:write"},
    "app_home_opened": set(), "app_mention": {"app_mentions:read"}, "message.channels": {"channels:history"},
    "message.groups": {"groups:history"}, "reaction_added": {"reactions:read"},
}  # fmt: skip


def manifest() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "manifest.yaml").read_text(encoding="utf-8")))


def methods() -> set[str]:
    code = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    return set(re.findall(r"\.(?:call|pages)\(\s*\"(\w+)\"", code))


def test_scopes_are_what_methods_events_and_commands_need_and_nothing_more() -> None:
    used = methods() | set(app.EVENTS)
    assert used == set(SCOPES)
    needed = set().union(*(SCOPES[one] for one in used)) | {"commands"}
    assert set(manifest()["oauth_config"]["scopes"]["bot"]) == needed
    assert scopes_wanted() == needed


def test_commands_events_and_the_shortcut_are_what_the_code_listens_to() -> None:
    given = manifest()
    assert [one["command"] for one in given["features"]["slash_commands"]] == list(app.COMMANDS)
    assert all(one["should_escape"] is True for one in given["features"]["slash_commands"])
    assert tuple(given["settings"]["event_subscriptions"]["bot_events"]) == app.EVENTS
    assert [(one["callback_id"], one["type"]) for one in given["features"]["shortcuts"]] == [(app.SHORTCUT, "message")]
    code = (FOLDER / "app.py").read_text(encoding="utf-8")
    listened = set(re.findall(r"_app\.event\(\"(\w+)\"\)", code)) | set(
        re.findall(r"_app\.event\(\{\"type\": \"(\w+)\"", code)
    )
    assert listened == {event.partition(".")[0] for event in app.EVENTS}
    assert set(re.findall(r"_app\.command\(\"(\S+)\"\)", code)) == set(app.COMMANDS)


def test_it_is_a_socket_mode_app_with_a_home_and_within_slacks_limits() -> None:
    given = manifest()
    assert given["settings"]["socket_mode_enabled"] is True
    assert given["settings"]["interactivity"]["is_enabled"] is True
    assert given["features"]["app_home"]["home_tab_enabled"] is True
    assert len(given["display_information"]["name"]) <= 35
    assert len(given["display_information"]["description"]) <= 140
    assert all(len(one["description"]) <= 2000 for one in given["features"]["slash_commands"])
    assert all(len(one["name"]) <= 24 for one in given["features"]["shortcuts"])
