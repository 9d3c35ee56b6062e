"""The REST routes of the local Discord: their parameters, queries, bodies, and rate limits. Others are a failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.discord_server import commands
from tests.discord_server.values import Check, integer, matches, query_flag, query_number, shaped, snowflake, text

#: Requests a second, of an app, without those for interactions.
GLOBAL = 50


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    #: The server's method that answers.
    handler: str
    query: dict[str, Check] = field(default_factory=dict)
    #: What the body must be; None: there must be none. Messages are looked at by those who know which kind it is.
    body: Callable[[Any], Any] | None = None
    #: Is it for the app's token? Interactions' routes have a token of their own.
    bot: bool = True
    #: Requests in so many seconds, and the parameters by which they are counted apart.
    limit: tuple[int, float] | None = (50, 1.0)
    major: tuple[str, ...] = ("channel", "guild")

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def pattern(self) -> re.Pattern[str]:
        names = {"token": r"[\w.-]+", "message": r"\d+|@original", "emoji": r"[^/]+"}
        return re.compile(
            re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{names.get(found[1], r'[0-9]+')})", self.path)
        )


def any_body(value: Any) -> bool:
    return isinstance(value, dict)


def _one_command(value: Any) -> bool:
    commands.command(value)
    return True


_PAGE: dict[str, Check] = {
    "limit": query_number(1, 100), "before": snowflake, "after": snowflake, "around": snowflake,
}  # fmt: skip
_ARCHIVED: dict[str, Check] = {"limit": query_number(2, 100), "before": text(1, 40)}
_MEMBERS: dict[str, Check] = {"with_member": query_flag, "after": snowflake, "limit": query_number(1, 100)}
_HOOK: dict[str, Check] = {"with_components": query_flag}
_APP = "/applications/{application}"

ROUTES = [
    Route("GET", "/gateway/bot", "gateway_bot"),
    Route("GET", "/users/@me", "me"),
    Route("GET", "/users/@me/guilds", "my_guilds", {
        "limit": query_number(1, 200), "before": snowflake, "after": snowflake, "with_counts": query_flag,
    }),
    Route("DELETE", "/users/@me/guilds/{guild}", "leave"),
    Route("POST", "/users/@me/channels", "open_direct", body=shaped("direct", {"recipient_id!": snowflake})),
    Route("GET", "/users/{user}", "user"),
    Route("GET", "/oauth2/applications/@me", "application"),
    Route("GET", "/applications/@me", "application"),
    Route("GET", f"{_APP}/commands", "commands", {"with_localizations": query_flag}),
    Route("PUT", f"{_APP}/commands", "set_commands", body=commands.every),
    Route("POST", f"{_APP}/commands", "add_command", body=_one_command),
    Route("GET", f"{_APP}/commands/{{command}}", "one_command"),
    Route("DELETE", f"{_APP}/commands/{{command}}", "drop_command"),
    Route("GET", f"{_APP}/guilds/{{guild}}/commands", "commands", {"with_localizations": query_flag}),
    Route("PUT", f"{_APP}/guilds/{{guild}}/commands", "set_commands", body=commands.every),
    Route("POST", f"{_APP}/guilds/{{guild}}/commands", "add_command", body=_one_command),
    Route("GET", f"{_APP}/guilds/{{guild}}/commands/permissions", "command_permissions"),
    Route("GET", f"{_APP}/guilds/{{guild}}/commands/{{command}}", "one_command"),
    Route("DELETE", f"{_APP}/guilds/{{guild}}/commands/{{command}}", "drop_command"),
    Route(
        "POST", "/interactions/{interaction}/{token}/callback", "callback", {"with_response": query_flag}, any_body,
        bot=False, limit=None,
    ),
    Route(
        "POST", "/webhooks/{application}/{token}", "followup", {**_HOOK, "wait": query_flag}, any_body, bot=False,
        limit=(5, 2.0), major=("token",),
    ),
    Route("GET", "/webhooks/{application}/{token}/messages/{message}", "answer", bot=False, major=("token",)),
    Route(
        "PATCH", "/webhooks/{application}/{token}/messages/{message}", "edit_answer", _HOOK, any_body, bot=False,
        limit=(5, 2.0), major=("token",),
    ),
    Route(
        "DELETE", "/webhooks/{application}/{token}/messages/{message}", "delete_answer", bot=False, limit=(5, 2.0),
        major=("token",),
    ),
    Route("GET", "/channels/{channel}", "channel_info"),
    Route("GET", "/channels/{channel}/messages", "history", _PAGE),
    Route("POST", "/channels/{channel}/messages", "post", body=any_body, limit=(5, 5.0)),
    Route("GET", "/channels/{channel}/messages/{message}", "one_message"),
    Route("PATCH", "/channels/{channel}/messages/{message}", "edit_message", body=any_body, limit=(5, 5.0)),
    Route("DELETE", "/channels/{channel}/messages/{message}", "delete_message", limit=(5, 1.0)),
    Route("POST", "/channels/{channel}/typing", "typing", limit=(5, 5.0)),
    Route("GET", "/channels/{channel}/thread-members", "thread_members", _MEMBERS),
    Route("GET", "/channels/{channel}/thread-members/{user}", "thread_member", {"with_member": query_flag}),
    Route("PUT", "/channels/{channel}/thread-members/@me", "join_thread"),
    Route("DELETE", "/channels/{channel}/thread-members/@me", "leave_thread"),
    Route("GET", "/channels/{channel}/threads/archived/public", "archived", _ARCHIVED),
    Route("GET", "/channels/{channel}/threads/archived/private", "archived_private", _ARCHIVED),
    Route("GET", "/channels/{channel}/users/@me/threads/archived/private", "archived_joined", _ARCHIVED),
    Route("GET", "/guilds/{guild}", "guild_info", {"with_counts": query_flag}),
    Route("GET", "/guilds/{guild}/channels", "guild_channels"),
    Route("GET", "/guilds/{guild}/threads/active", "active_threads"),
    Route("GET", "/guilds/{guild}/roles", "guild_roles"),
    Route("GET", "/guilds/{guild}/roles/{role}", "guild_role"),
    Route("GET", "/guilds/{guild}/members", "guild_members", {"limit": query_number(1, 1000), "after": snowflake}),
    Route("GET", "/guilds/{guild}/members/{user}", "guild_member"),
]  # fmt: skip

BY_NAME = {route.name: route for route in ROUTES}

#: Fields of a callback, by its type; None: no data.
CALLBACK: dict[str, Check] = {"type!": integer(1, 12), "data": lambda value: value is None or isinstance(value, dict)}
USER_AGENT = matches(r"DiscordBot \(https?://[^ ,)]+,? ?[\w.]+\).*")


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a request, and its parameters; those with a word in place of an id go first."""
    for route in sorted(ROUTES, key=lambda one: one.path.count("{")):
        if route.method == method and (found := _PATTERNS[route.name].fullmatch(path)):
            return route, found.groupdict()
    return None


_PATTERNS = {route.name: route.pattern for route in ROUTES}
