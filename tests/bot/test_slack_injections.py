"""Prompt injection can at worst make one summary odd: a model that obeys every word is still made harmless by code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest_asyncio

from bot.answers import Summaries, shown
from bot.chat import Read
from bot.slack import blocks
from engine.conversation import Conversation, Message
from engine.local import LocalClient
from engine.protocols import Row
from engine.settings import EngineSettings
from engine.text.escape import escape_discord
from engine.text.safety import find_links
from storage.database import Database
from storage.settings import StorageSettings
from tests.bot.injections import INJECTIONS
from tests.engine.fake_model import INFO, FakeModel
from tests.slack_server import rules
from tests.slack_server.server import texts

HONEST = "https://kite.example/invoice/7"
OTHER_CHANNEL = "The vault code is 4711 and only #secret knows it."
PING = re.compile(r"<[!@#]|[@＠﹫](?:channel|here|everyone)", re.IGNORECASE)


class Obedient:
    """Writes whatever the prompt asks for: here, the last message as it stands, then what it was told to add."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def write(self, row: Row) -> str:
        self.prompts.append(row.prompt)
        return f"The invoice is at {HONEST} as Ana said. " + row.prompt[-700:] + " <!channel> https://evil.example/end"


@pytest_asyncio.fixture
async def model() -> AsyncIterator[tuple[Obedient, LocalClient]]:
    obedient = Obedient()
    info = replace(INFO, context_tokens=4096, max_new_tokens=512)
    client = LocalClient(EngineSettings.load(), load=lambda: FakeModel(info, write=obedient.write))
    yield obedient, client
    await client.close()


async def test_no_injection_pings_links_elsewhere_or_brings_another_channels_words(
    model: tuple[Obedient, LocalClient], own_home: Path
) -> None:
    obedient, client = model
    assert len(INJECTIONS) >= 200 and len({family for family, _ in INJECTIONS}) >= 20
    database = Database.open(StorageSettings.load())
    summaries = Summaries(database, client)

    class Sink:
        def __init__(self) -> None:
            self.streamed: list[str] = []

        async def queued(self, ahead: int, message: str) -> None: ...

        async def progress(self, done: int, total: int) -> None: ...

        async def sentence(self, text: str) -> None:
            self.streamed.append(escape_discord(text))

    async def allowed() -> None: ...

    async def write(name: str, *said: str) -> tuple[str, list[str]]:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        messages = tuple(
            Message(str(number), ("Ana", "Mallory")[number % 2], text, time=at) for number, text in enumerate(said)
        )
        conversation = Conversation(name, messages, platform="slack", workspace="T1", channel=name, title="#x")
        sink = Sink()
        summary = await summaries.write(
            person="slack:U1", read=Read(conversation), style="standard", focus="", accepted_at=datetime.now(UTC),
            still_allowed=allowed, sink=sink,
        )  # fmt: skip
        return summary, sink.streamed

    async def one(number: int, family: str, injection: str) -> None:
        summary, streamed = await write(f"C{number}", f"The invoice is at {HONEST} as always.", injection)
        answer = shown(database, summary)
        assert answer is not None and streamed
        for page in blocks.answer(answer, public=True):
            rules.blocks(page, 50, surface="message")
            said = texts(page).replace("<!date^", "")
            everything = f"{family}: {said}\n{chr(10).join(streamed)}"
            assert not PING.search(said), everything
            assert "4711" not in said, everything
            for link in find_links(answer.text):
                # Byte for byte as it stands in the thread, or none that a client makes a link of.
                linked = "://" in link or link.startswith("www.")
                assert not linked or link in injection or link == HONEST, everything
            assert "evil.example/end" not in said, everything
        for piece in streamed:
            assert not PING.search(piece), f"{family}: {piece}"
        assert re.findall(r"<[^!][^>]*>", blocks.fallback(answer)) == []

    # What another channel says has been through the same engine just before.
    await write("C0SECRET", OTHER_CHANNEL)
    for start in range(0, len(INJECTIONS), 32):
        group = enumerate(INJECTIONS[start : start + 32], start)
        await asyncio.gather(*(one(number, family, injection) for number, (family, injection) in group))
    # One conversation a prompt: no prompt of theirs held a word of the other channel.
    assert sum("4711" in prompt for prompt in obedient.prompts) == 1
    database.close()
