"""The local Slack: a workspace in memory, its Web API by HTTP, its deliveries by Socket Mode.

A test makes people, channels and messages, delivers what people do, and looks at what was posted. Every request is held
against :mod:`tests.slack_server.rules`; :attr:`SlackServer.broken` must be empty at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.slack_server import rules
from tests.slack_server.deliveries import BOT, HOST, PATIENCE_S, TEAM, Deliveries
from tests.slack_server.rules import Broken

BOT_TOKEN, APP_TOKEN = "xoxb-1-2-loopback", "xapp-1-A0-3-loopback"


@dataclass
class Channel:
    id: str
    name: str
    private: bool = False
    archived: bool = False
    with_bot: bool = True
    members: list[str] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tops(self) -> list[dict[str, Any]]:
        return sorted(
            (one for one in self.messages.values() if one.get("thread_ts", one["ts"]) == one["ts"]),
            key=lambda one: one["ts"],
        )

    def thread(self, ts: str) -> list[dict[str, Any]]:
        found = [one for one in self.messages.values() if one["ts"] == ts or one.get("thread_ts") == ts]
        return sorted(found, key=lambda one: one["ts"])


class Refused(Exception):
    """An answer that is not ok, by Slack's word for it."""


class SlackServer(Deliveries):
    """One workspace; start it within a running loop."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, Channel] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.broken: list[str] = []
        self.ephemerals: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []
        self.views: dict[str, dict[str, Any]] = {}
        self.homes: dict[str, dict[str, Any]] = {}
        self.modals: list[str] = []
        self.acks: dict[str, tuple[float, dict[str, Any]]] = {}
        #: Answers to give in place of a method's own, in order: status, headers, body.
        self.instead: dict[str, list[tuple[int, dict[str, str], dict[str, Any]]]] = defaultdict(list)
        #: How many of a method's next answers get lost after it was done.
        self.lost: dict[str, int] = defaultdict(int)
        #: What is older is hidden, as on a free plan; a ``ts``, or 0.
        self.hidden_before = 0.0
        self.revoked = False
        self.scopes = [
            "app_mentions:read", "channels:history", "channels:read", "chat:write", "commands", "groups:history",
            "groups:read", "reactions:read", "users:read",
        ]  # fmt: skip
        self.connections = 0
        self.deaf = False
        self._streams: set[str] = set()
        self._responses: dict[str, dict[str, Any]] = {}
        self._triggers: dict[str, float] = {}
        self._tickets: set[str] = set()
        self._sockets: list[web.WebSocketResponse] = []
        self._changed = asyncio.Condition()
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        #: Where the bot is told to find it; a test may put another name there.
        self.base = ""
        self.port = 0

    # The workspace -------------------------------------------------------------------------------------------------

    def person(self, user_id: str, name: str, **given: Any) -> str:
        self.users[user_id] = {
            "id": user_id, "team_id": TEAM, "name": name.lower(), "deleted": False, "is_bot": False,
            "is_restricted": False, "is_ultra_restricted": False, "is_app_user": False, "tz": "Europe/Berlin",
            "profile": {"display_name": name, "real_name": f"{name} Example"}, **given,
        }  # fmt: skip
        return user_id

    def channel(self, channel_id: str, name: str, members: list[str], **given: Any) -> Channel:
        made = self.channels[channel_id] = Channel(channel_id, name, members=list(members), **given)
        return made

    def write(self, channel: str, user: str, text: str, *, ago: float = 600.0, thread: str = "", **given: Any) -> str:
        """A message, so many seconds ago; its ``ts``."""
        ts = f"{int(time.time() - ago)}.{next(self._numbers):06d}"
        raw: dict[str, Any] = {"type": "message", "ts": ts, "user": user, "text": text, "team": TEAM, **given}
        messages = self.channels[channel].messages
        if thread:
            raw["thread_ts"] = thread
            parent = messages[thread]
            parent["thread_ts"] = thread
            parent["reply_count"] = parent.get("reply_count", 0) + 1
            parent["latest_reply"] = max(ts, parent.get("latest_reply", "0"))
        messages[ts] = raw
        return ts

    def permalink(self, channel: str, ts: str) -> str:
        return f"https://{HOST}/archives/{channel}/p{ts.replace('.', '')}"

    # Starting and ending -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/response/{key}", self._response)
        app.router.add_get("/link/", self._link)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base, self.port = f"http://127.0.0.1:{port}", port

    async def go_away(self) -> None:
        """Nothing listens any more, and every connection ends."""
        assert self._runner is not None
        for site in tuple(self._runner.sites):
            await site.stop()
        self.cut()

    async def come_back(self) -> None:
        """Listen where it listened before."""
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        for socket in self._sockets:
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, holds: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> Any:
        """Wait until something holds, looked at whenever something has happened here."""
        async with self._changed:
            try:
                async with asyncio.timeout(patience):
                    while not (found := holds()):
                        await self._changed.wait()
            except TimeoutError:
                recent = [name for name, _ in self.calls[-12:]]
                raise AssertionError(f"waited in vain until {what}; calls: {recent}; broken: {self.broken}") from None
        return found

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # The Web API ---------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        try:
            given = await self._given(request)
            if self.instead[method]:
                status, headers, body = self.instead[method].pop(0)
                self.calls.append((f"{method} ({status})", given))
                return web.json_response(body, status=status, headers=headers)
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN) or self.revoked:
                raise Refused("token_revoked" if self.revoked else "invalid_auth")
            if method not in rules.METHODS:
                raise Broken(f"unknown method {method}")
            rules.check(method, given, rules.METHODS[method])
            self.calls.append((method, given))
            answer = getattr(self, "_" + method.replace(".", "_"))(given)
            if self.lost[method]:
                self.lost[method] -= 1
                await self._notify()
                return web.json_response({}, status=500)
        except Broken as error:
            self.broken.append(str(error))
            answer = {"ok": False, "error": "invalid_arguments"}
        except Refused as error:
            answer = {"ok": False, "error": str(error)}
        await self._notify()
        return web.json_response({"ok": True, **answer}, headers={"x-oauth-scopes": ",".join(self.scopes)})

    async def _given(self, request: web.Request) -> dict[str, Any]:
        given: dict[str, Any] = dict(request.query)
        if request.method == "POST":
            if request.content_type == "application/json":
                body = await request.json() if await request.text() else {}
                if not isinstance(body, dict):
                    raise Broken("a body that is no object")
                given |= body
            else:
                given |= dict(await request.post())
        for name in ("blocks", "view"):
            if isinstance(given.get(name), str):
                given[name] = json.loads(given[name])
        return given

    def _auth_test(self, _given: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"https://{HOST}/", "team": "Acme", "user": "redraft", "team_id": TEAM, "user_id": BOT,
                "bot_id": "B0REDRAFT", "is_enterprise_install": False}  # fmt: skip

    def _apps_connections_open(self, _given: dict[str, Any]) -> dict[str, Any]:
        ticket = uuid.uuid4().hex
        self._tickets.add(ticket)
        return {"url": f"{self.base.replace('http', 'ws')}/link/?ticket={ticket}"}

    def _users_info(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["user"] not in self.users:
            raise Refused("user_not_found")
        return {"user": self.users[given["user"]]}

    def _visible(self, given: dict[str, Any], *, member: bool) -> Channel:
        channel = self.channels.get(given["channel"])
        if channel is None or (channel.private and not channel.with_bot):
            raise Refused("channel_not_found")
        if member and not channel.with_bot:
            raise Refused("not_in_channel")
        return channel

    def _conversations_info(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(given, member=False)
        return {"channel": {
            "id": channel.id, "name": channel.name, "name_normalized": channel.name, "is_channel": True,
            "is_private": channel.private, "is_im": False, "is_mpim": False, "is_archived": channel.archived,
            "is_member": channel.with_bot,
        }}  # fmt: skip

    def _conversations_members(self, given: dict[str, Any]) -> dict[str, Any]:
        everybody = [*self._visible(given, member=False).members, BOT]
        return self._page("members", everybody, given, 100)

    @staticmethod
    def _page(name: str, items: list[Any], given: dict[str, Any], default: int) -> dict[str, Any]:
        start = int(given["cursor"].removeprefix("c:")) if "cursor" in given else 0
        limit = int(given.get("limit", default))
        rest = items[start + limit :]
        return {
            name: items[start : start + limit],
            "has_more": bool(rest),
            "response_metadata": {"next_cursor": f"c:{start + limit}" if rest else ""},
        }

    def _conversations_history(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(given, member=True)
        tops = [one for one in channel.tops() if float(one["ts"]) >= self.hidden_before]
        found = [one for one in tops if self._within(one["ts"], given)]
        limited = {"is_limited": True} if len(tops) < len(channel.tops()) else {}
        return self._page("messages", found[::-1], given, 100) | limited

    @staticmethod
    def _within(ts: str, given: dict[str, Any]) -> bool:
        oldest, latest = float(given.get("oldest", 0)), float(given.get("latest", 10**11))
        inclusive = str(given.get("inclusive", "0")) in ("1", "True", "true")
        return oldest <= float(ts) <= latest if inclusive else oldest < float(ts) < latest

    def _conversations_replies(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._visible(given, member=True)
        if given["ts"] not in channel.messages or float(given["ts"]) < self.hidden_before:
            raise Refused("thread_not_found")
        if channel.messages[given["ts"]].get("thread_ts", given["ts"]) != given["ts"]:
            return {"messages": [channel.messages[given["ts"]]], "has_more": False}
        thread = channel.thread(given["ts"])
        found = [one for one in thread if one["ts"] == given["ts"] or self._within(one["ts"], given)]
        return self._page("messages", found, given, 1000)

    def _writable(self, given: dict[str, Any]) -> None:
        if given["channel"][0] in "UW":
            if given["channel"] not in self.users:
                raise Refused("channel_not_found")
            return
        channel = self._visible(given, member=True)
        if channel.archived:
            raise Refused("is_archived")

    def _post(self, given: dict[str, Any]) -> dict[str, Any]:
        ts = f"{int(time.time())}.{next(self._numbers):06d}"
        post = {**given, "ts": ts, "deleted": False, "streamed": ""}
        self.posts.append(post)
        if given["channel"] in self.channels:
            raw = {"type": "message", "ts": ts, "user": BOT, "bot_id": "B0REDRAFT", "text": given.get("text", "")}
            raw |= {name: given[name] for name in ("thread_ts", "blocks") if name in given}
            self.channels[given["channel"]].messages[ts] = raw
        return {"channel": given["channel"], "ts": ts}

    def _chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:
        self._writable(given)
        return self._post(given)

    def _chat_postEphemeral(self, given: dict[str, Any]) -> dict[str, Any]:
        self._writable(given)
        if given["user"] not in self.channels[given["channel"]].members:
            raise Refused("user_not_in_channel")
        self.ephemerals.append({**given, "by": "chat.postEphemeral", "url": ""})
        return {"message_ts": f"{int(time.time())}.{next(self._numbers):06d}"}

    def posted(self, ts: str) -> dict[str, Any]:
        found = [post for post in self.posts if post["ts"] == ts and not post["deleted"]]
        if not found:
            raise Refused("message_not_found")
        return found[0]

    def _chat_update(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["ts"] in self._streams:
            raise Refused("streaming_state_conflict")
        self._writable(given)
        self.posted(given["ts"]).update(given)
        return {"channel": given["channel"], "ts": given["ts"]}

    def _chat_delete(self, given: dict[str, Any]) -> dict[str, Any]:
        self.posted(given["ts"])["deleted"] = True
        self._streams.discard(given["ts"])
        self.channels[given["channel"]].messages.pop(given["ts"], None)
        return {"channel": given["channel"], "ts": given["ts"]}

    def _chat_startStream(self, given: dict[str, Any]) -> dict[str, Any]:
        self._writable(given)
        answer = self._post({**given, "text": ""})
        self._streams.add(answer["ts"])
        self.posted(answer["ts"])["streamed"] = given.get("markdown_text", "")
        return answer

    def _chat_appendStream(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["ts"] not in self._streams:
            raise Refused("message_not_in_streaming_state")
        self.posted(given["ts"])["streamed"] += given["markdown_text"]
        return {"channel": given["channel"], "ts": given["ts"]}

    def _chat_stopStream(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["ts"] not in self._streams:
            raise Refused("message_not_in_streaming_state")
        self._streams.discard(given["ts"])
        post = self.posted(given["ts"])
        post["streamed"] += given.get("markdown_text", "")
        post["blocks"] = given.get("blocks", [])
        return {"channel": given["channel"], "ts": given["ts"]}

    def _views_open(self, given: dict[str, Any]) -> dict[str, Any]:
        born = self._triggers.pop(given["trigger_id"], None)
        if born is None:
            raise Refused("exchanged_trigger_id")
        if time.monotonic() - born > 3.0:
            raise Refused("expired_trigger_id")
        view_id = f"V{next(self._numbers)}X"
        self.views[view_id] = {"id": view_id, "hash": "1", "updated": False, **given["view"]}
        self.modals.append(view_id)
        return {"view": self.views[view_id]}

    def _views_update(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["view_id"] not in self.views:
            raise Refused("not_found")
        self.views[given["view_id"]] = {"id": given["view_id"], "hash": "2", "updated": True, **given["view"]}
        return {"view": self.views[given["view_id"]]}

    def _views_publish(self, given: dict[str, Any]) -> dict[str, Any]:
        self.homes[given["user_id"]] = given["view"]
        return {"view": {"id": f"V{next(self._numbers)}", **given["view"]}}

    async def _response(self, request: web.Request) -> web.Response:
        about = self._responses.get(request.match_info["key"])
        body = await request.json()
        try:
            if self.instead["response_url"]:
                status, headers, instead = self.instead["response_url"].pop(0)
                return web.json_response(instead, status=status, headers=headers)
            if about is None or about["uses"] >= 5:
                return web.Response(status=404, text="used_url")
            rules.check("response_url", body, rules.RESPONSE)
            if body.get("replace_original") is True and not about.get("original"):
                raise Broken("response_url: a command has no original to replace")
            about["uses"] += 1
            self.calls.append(("response_url", body))
            self.ephemerals.append(
                {
                    **body,
                    "user": about["user"],
                    "channel": about["channel"],
                    "by": "response_url",
                    "url": str(request.url),
                }
            )
        except Broken as error:
            self.broken.append(str(error))
            return web.Response(status=400, text="invalid_payload")
        finally:
            await self._notify()
        return web.Response(text="ok")

    # Socket Mode ---------------------------------------------------------------------------------------------------

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            raise web.HTTPForbidden
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        self.connections += 1
        hello = {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0"}, "debug_info": {}}
        await socket.send_str(json.dumps(hello))
        self._sockets.append(socket)
        await self._notify()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                answer = json.loads(message.data)
                if set(answer) - {"envelope_id", "payload"} or not isinstance(answer.get("envelope_id"), str):
                    self.broken.append(f"an acknowledgement with {sorted(answer)}")
                self.acks[answer.get("envelope_id", "")] = (time.monotonic(), answer.get("payload") or {})
                await self._notify()
        await self._notify()
        return socket

    def cut(self) -> None:
        """Reset every connection, without a word."""
        for socket in self.open_sockets:
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell the bot that its connection is going."""
        for socket in self.open_sockets:
            await socket.send_str(json.dumps({"type": "disconnect", "reason": reason, "debug_info": {}}))

    # What people see -----------------------------------------------------------------------------------------------

    async def told(self, user: str, *, after: int = 0, patience: float = PATIENCE_S) -> dict[str, Any]:
        """The next thing that only one person sees, beyond so many before it."""

        def mine() -> list[dict[str, Any]]:
            return [one for one in self.ephemerals if one["user"] == user][after:]

        found = await self.until(mine, f"{user} is told something", patience)
        return dict(found[0])


def texts(block_list: list[dict[str, Any]]) -> str:
    """All that can be read in blocks."""
    found = []
    for block in block_list:
        inner = block.get("text") or {}
        found.append(inner.get("text", "") if isinstance(inner, dict) else str(inner))
        found += [one.get("text", "") for one in block.get("elements", ()) if isinstance(one.get("text"), str)]
    return "\n".join(filter(None, found))


def buttons(block_list: list[dict[str, Any]]) -> dict[str, str]:
    """The values of buttons by action; of an action that is there twice, the first one's."""
    found: dict[str, str] = {}
    for block in block_list:
        if block["type"] == "actions":
            for element in block["elements"]:
                found.setdefault(element["action_id"], element["value"])
    return found
