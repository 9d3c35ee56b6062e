"""What people do in the local Slack, as Slack delivers it: commands, events, clicks, submitted modals."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import web

TEAM, BOT, HOST = "T0TEAM", "U0REDRAFT", "acme.slack.com"
#: Nothing is waited for longer, in seconds.
PATIENCE_S = 30.0


class Deliveries:
    """The part of the server that delivers; it is mixed into :class:`tests.slack_server.server.SlackServer`."""

    base: str
    acks: dict[str, tuple[float, dict[str, Any]]]
    modals: list[str]
    views: dict[str, dict[str, Any]]
    until: Callable[..., Any]
    _sockets: list[web.WebSocketResponse]
    _triggers: dict[str, float]
    _responses: dict[str, dict[str, Any]]
    _numbers: itertools.count[int]

    @property
    def open_sockets(self) -> list[web.WebSocketResponse]:
        return [socket for socket in self._sockets if not socket.closed]

    async def connected(self, patience: float = PATIENCE_S) -> None:
        await self.until(lambda: self.open_sockets, "the bot is connected", patience)

    async def send(self, kind: str, payload: dict[str, Any], *, envelope: str = "") -> str:
        """Deliver something by the newest connection; the envelope's id."""
        await self.connected()
        envelope = envelope or uuid.uuid4().hex
        value = {"type": kind, "envelope_id": envelope, "payload": payload, "accepts_response_payload": True}
        await self.open_sockets[-1].send_str(json.dumps(value))
        return envelope

    async def ack(self, envelope: str, patience: float = PATIENCE_S) -> dict[str, Any]:
        """What was acknowledged with an envelope."""
        found: tuple[float, dict[str, Any]] = await self.until(
            lambda: self.acks.get(envelope), "it is acknowledged", patience
        )
        return found[1]

    def trigger(self) -> str:
        made = f"{next(self._numbers)}.{next(self._numbers)}.{uuid.uuid4().hex}"
        self._triggers[made] = time.monotonic()
        return made

    def response_url(self, **about: Any) -> str:
        key = uuid.uuid4().hex
        self._responses[key] = {"uses": 0, **about}
        return f"{self.base}/response/{key}"

    def slash(self, user: str, channel: str, text: str, command: str = "/summarize") -> dict[str, Any]:
        """The payload of a slash command."""
        return {
            "token": "x", "team_id": TEAM, "team_domain": "acme", "channel_id": channel, "channel_name": "x",
            "user_id": user, "user_name": "x", "command": command, "text": text, "api_app_id": "A0",
            "is_enterprise_install": "false", "trigger_id": self.trigger(),
            "response_url": self.response_url(user=user, channel=channel),
        }  # fmt: skip

    async def command(self, user: str, channel: str, text: str = "", command: str = "/summarize") -> dict[str, Any]:
        """Type a command, and wait for its acknowledgement."""
        return await self.ack(await self.send("slash_commands", self.slash(user, channel, text, command)))

    def event(self, event: dict[str, Any], event_id: str = "") -> dict[str, Any]:
        return {
            "token": "x", "team_id": TEAM, "api_app_id": "A0", "type": "event_callback",
            "event_id": event_id or f"Ev{next(self._numbers)}", "event_time": int(time.time()), "event": event,
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True}],
        }  # fmt: skip

    async def happen(self, event: dict[str, Any], event_id: str = "") -> dict[str, Any]:
        """Deliver an event, and wait for its acknowledgement."""
        return await self.ack(await self.send("events_api", self.event(event, event_id)))

    def click_payload(
        self, user: str, action: str, value: str, *, channel: str = "", thread: str = "", ts: str = ""
    ) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "type": "block_actions", "api_app_id": "A0", "token": "x", "trigger_id": self.trigger(),
            "user": {"id": user, "team_id": TEAM}, "team": {"id": TEAM, "domain": "acme"},
            "actions": [{"type": "button", "action_id": action, "value": value, "block_id": "b"}],
            "container": {"type": "view", "view_id": "V1"},
        }  # fmt: skip
        if channel:
            payload["channel"] = {"id": channel, "name": "x"}
            payload["container"] = {
                "type": "message",
                "channel_id": channel,
                "message_ts": ts or "1.0",
                "is_ephemeral": not ts,
            }
            if thread:
                payload["container"]["thread_ts"] = thread
            payload["response_url"] = self.response_url(user=user, channel=channel, original=True)
        return payload

    async def click(self, user: str, action: str, value: str, **where: str) -> dict[str, Any]:
        """Press a button, and wait for the acknowledgement."""
        return await self.ack(await self.send("interactive", self.click_payload(user, action, value, **where)))

    async def modal(self, user: str, action: str, value: str, **where: str) -> dict[str, Any]:
        """Press a button that opens a modal, and wait until it is filled: the view."""
        before = len(self.modals)
        await self.click(user, action, value, **where)

        def filled() -> dict[str, Any] | None:
            if len(self.modals) <= before:
                return None
            view = self.views[self.modals[before]]
            return view if view["updated"] else None

        found: dict[str, Any] = await self.until(filled, "a modal is filled")
        return found

    def submission(self, user: str, view: dict[str, Any], **values: str) -> dict[str, Any]:
        """The payload of a submitted modal; what is not given stands as it was."""
        state: dict[str, Any] = {}
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            given = values.get(block["block_id"])
            element = block["element"]
            if element["type"] == "static_select":
                chosen = {"value": given} if given else None
                state[block["block_id"]] = {"value": {"type": element["type"], "selected_option": chosen}}
            else:
                text = element.get("initial_value") if given is None else given
                state[block["block_id"]] = {"value": {"type": element["type"], "value": text or None}}
        return {
            "type": "view_submission", "team": {"id": TEAM}, "user": {"id": user}, "api_app_id": "A0", "token": "x",
            "trigger_id": self.trigger(), "response_urls": [],
            "view": {**view, "state": {"values": state}},
        }  # fmt: skip

    async def submit(self, user: str, view: dict[str, Any], **values: str) -> dict[str, Any]:
        return await self.ack(await self.send("interactive", self.submission(user, view, **values)))
