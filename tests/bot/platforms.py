"""Slack and Discord as people use both: one way of asking, pressing, correcting and opting out, for tests of either."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tests.bot.discord_guild import Team, final
from tests.bot.slack_team import ANA, KOFI, PRIYA, TOMAS
from tests.discord_server.objects import text_of
from tests.slack_server.server import TEAM, SlackServer, buttons
from tests.slack_server.server import texts as slack_texts

_numbers = itertools.count(1)


@dataclass
class Answer:
    """A private answer: its summary's id, what it says, and the platform's own message."""

    id: str
    text: str
    message: Any


class Platform(Protocol):
    """People, channels, and what they do."""

    name: str

    def person(self, name: str) -> Any: ...
    def account(self, who: Any) -> str: ...
    def workspace(self) -> str: ...
    async def room(self, *members: str) -> Any: ...
    def room_id(self, room: Any) -> str: ...
    def write(self, room: Any, who: str, text: str, ago: float) -> Any: ...
    def message_id(self, message: Any) -> str: ...
    async def delete(self, message: Any) -> None: ...
    async def ask(self, who: str, room: Any, **options: Any) -> Answer: ...
    async def told(self, who: str, here: Any, room: Any) -> str:
        """What somebody is told who asks, in one room, for another."""
        ...

    async def press(self, who: str, answer: Answer, room: Any, action: str) -> str: ...
    async def correct(self, who: str, answer: Answer, room: Any, text: str) -> None: ...
    async def word(self, who: str, room: Any, word: str) -> str: ...
    def posts(self, room: Any) -> list[str]: ...


class OnSlack:
    name = "slack"
    _actions: ClassVar = {"share": "redraft_share", "up": "redraft_up"}

    def __init__(self, server: SlackServer) -> None:
        self.server = server
        self._people = {"Ana": ANA, "Tomas": TOMAS, "Priya": PRIYA, "Kofi": KOFI}

    def person(self, name: str) -> str:
        return self._people[name]

    def account(self, who: str) -> str:
        return f"slack:{self._people[who]}"

    def workspace(self) -> str:
        return TEAM

    async def room(self, *members: str) -> Any:
        number = next(_numbers)
        who = [self._people[one] for one in members or ("Ana", "Tomas", "Priya")]
        return self.server.channel(f"C0BOTH{number}", f"both-{number}", who, private=bool(members))

    def room_id(self, room: Any) -> str:
        return str(room.id)

    def write(self, room: Any, who: str, text: str, ago: float) -> Any:
        return room, self.server.write(room.id, self._people[who], text, ago=ago)

    def message_id(self, message: Any) -> str:
        return str(message[1])

    async def delete(self, message: Any) -> None:
        room, ts = message
        gone = room.messages.pop(ts)
        await self.server.happen(
            {"type": "message", "subtype": "message_deleted", "channel": room.id, "deleted_ts": ts, "ts": "1.1",
             "previous_message": gone, "hidden": True}
        )  # fmt: skip

    async def _answered(self, who: str, room: Any, text: str, command: str = "/summarize") -> dict[str, Any]:
        user = self._people[who]
        payload, before = self.server.slash(user, room.id, text, command), len(self.server.ephemerals)
        acknowledged = await self.server.ack(await self.server.send("slash_commands", payload))
        if acknowledged and "Reading" not in str(acknowledged.get("text")) and acknowledged.get("text"):
            return acknowledged

        def found() -> dict[str, Any] | None:
            return next((one for one in self.server.ephemerals[before:] if one["user"] in (user, "")), None)

        answered: dict[str, Any] = await self.server.until(found, "it is answered")
        return answered

    async def ask(self, who: str, room: Any, **options: Any) -> Answer:
        told = await self._answered(who, room, " ".join(str(value) for value in options.values()))
        assert "blocks" in told, told
        return Answer(buttons(told["blocks"])["redraft_correct"], slack_texts(told["blocks"]), told)

    async def told(self, who: str, here: Any, room: Any) -> str:
        return str((await self._answered(who, here, f"<#{room.id}|{room.name}>"))["text"])

    async def press(self, who: str, answer: Answer, room: Any, action: str) -> str:
        before = len(self.server.ephemerals)
        await self.server.click(self._people[who], self._actions[action], answer.id, channel=room.id)
        await self.server.until(lambda: len(self.server.ephemerals) > before, "it is told")
        return str(self.server.ephemerals[-1]["text"])

    async def correct(self, who: str, answer: Answer, room: Any, text: str) -> None:
        view = await self.server.modal(self._people[who], "redraft_correct", answer.id, channel=room.id)
        before = len(self.server.ephemerals)
        await self.server.submit(self._people[who], view, text0=text)
        await self.server.until(lambda: len(self.server.ephemerals) >= before + 2, "it is replaced, and thanked for")

    async def word(self, who: str, room: Any, word: str) -> str:
        return str((await self._answered(who, room, word, "/redraft"))["text"])

    def posts(self, room: Any) -> list[str]:
        return [slack_texts(one["blocks"]) for one in self.server.posts if one["channel"] == room.id]


class OnDiscord:
    name = "discord"
    _actions: ClassVar = {"share": "Share", "up": "👍"}

    def __init__(self, team: Team) -> None:
        self.team, self.server = team, team.server
        self._people = {"Ana": team.ana, "Tomas": team.tomas, "Priya": team.priya, "Kofi": team.kofi}

    def person(self, name: str) -> Any:
        return self._people[name]

    def account(self, who: str) -> str:
        return f"discord:{self._people[who].id}"

    def workspace(self) -> str:
        return str(self.team.acme.id)

    async def room(self, *members: str) -> Any:
        only = [*(self._people[one] for one in members), self.server.app_role(self.team.acme)] if members else None
        return await self.server.open_channel(self.team.acme, f"both-{next(_numbers)}", only=only)

    def room_id(self, room: Any) -> str:
        return str(room.id)

    def write(self, room: Any, who: str, text: str, ago: float) -> Any:
        return self.server.write(room, self._people[who], text, ago=ago)

    def message_id(self, message: Any) -> str:
        return str(message.id)

    async def delete(self, message: Any) -> None:
        await self.server.delete(message)

    async def _settled(self, asked: Any) -> Any:
        await self.server.until(lambda: asked.original is not None and final(asked.original), "it is answered")
        return asked.original

    async def ask(self, who: str, room: Any, **options: Any) -> Answer:
        message = await self._settled(await self.server.slash(self._people[who], room, "summarize", **options))
        shown = self.server.buttons(message)
        assert "Correct" in shown, text_of(message)
        return Answer(shown["Correct"].rpartition(":")[2], text_of(message), message)

    async def told(self, who: str, here: Any, room: Any) -> str:
        first = next(iter(room.history))
        link = f"https://discord.com/channels/{self.team.acme.id}/{room.id}/{first.id}"
        asked = await self.server.slash(self._people[who], here, "summarize", link=link)
        return text_of(await self._settled(asked))

    async def press(self, who: str, answer: Answer, room: Any, action: str) -> str:
        asked = await self.server.press(self._people[who], answer.message, self._actions[action])
        return text_of(await asked.answer())

    async def correct(self, who: str, answer: Answer, room: Any, text: str) -> None:
        opened = await self.server.press(self._people[who], answer.message, "Correct")
        await self.server.submit(opened, text0=text)

    async def word(self, who: str, room: Any, word: str) -> str:
        asked = await self.server.slash(self._people[who], room, f"redraft {word}")
        return text_of(await asked.answer())

    def posts(self, room: Any) -> list[str]:
        return [text_of(one) for one in self.server.posts if one.channel is room and one.seen_by is None]
