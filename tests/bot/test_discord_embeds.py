"""What Discord is sent keeps every limit and shows as it is written, whatever people and the model say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answers import Sentence, Shown, Summaries, shown
from bot.chat import Place, Read
from bot.discord import embeds, modals
from bot.discord.embeds import Content, payload
from bot.discord.messages import Writer
from bot.discord.modals import Remembered
from bot.discord.words import ask_of, links, suggestions
from bot.when import NotUnderstood
from engine.conversation import Conversation, Message
from engine.local import LocalClient
from engine.settings import EngineSettings
from engine.text.escape import units
from engine.text.safety import find_links
from storage.database import Database
from storage.settings import StorageSettings
from tests.bot.injections import INJECTIONS
from tests.bot.test_slack_injections import HONEST, OTHER_CHANNEL, Obedient
from tests.discord_server import components, rules
from tests.engine.fake_model import INFO, FakeModel

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Texts as people write them, with what Discord makes something of.
words = st.text(st.sampled_from("ab *_~`|[]()<>@#:/\\-+1.\n😀é\u202e") | st.characters(codec="utf-8"), max_size=400)
long_words = st.builds(lambda text, times: text * times, words, st.integers(1, 60))


def made(text: str = "Text.", **given: Any) -> Shown:
    return replace(
        Shown(
            id="0" * 32, place=Place("discord", "1", "2"), title="#general", text=text, style="standard", focus="",
            corrected_by="", correction="", messages=3, people=2, first=AT, last=AT, left_out=0, older=0,
            older_more=False, adapter="base", demonstration=False, notes=(), sentences=(), asked_by="discord:1",
            created_at=AT,
        ),
        **given,
    )  # fmt: skip


def held(content: Content, kind: str = "create") -> dict[str, Any]:
    """The body of a message, held against Discord's rules by the local one."""
    body = payload(content, edit=kind == "edit")
    rules.message(kind, body)
    assert body["allowed_mentions"] == {"parse": []}
    assert body.get("flags", 0) & rules.SUPPRESS_EMBEDS or not body.get("content")
    return body


@given(text=long_words, title=words, focus=words, name=words, note=long_words)
@settings(max_examples=60, deadline=None)
def test_answers_keep_every_limit(text: str, title: str, focus: str, name: str, note: str) -> None:
    one = made(text, title=title, focus=focus, corrected_by=name, notes=(note,), older=9, left_out=3)
    pages = embeds.answer(one, public=False, shared_by=name, private_note=True)
    for page in pages:
        for kind in ("create", "edit"):
            held(page, kind)
    said = "".join(page.embeds[0].description or "" for page in pages)
    # Nothing of it is left out: what was escaped is there again without its backslashes.
    plain = re.sub(r"\s|\\", "", said)
    assert re.sub(r"\s|\\", "", text)[:50] in plain or not text.strip()


@given(
    texts=st.lists(words, max_size=12), author=words, link=st.sampled_from(["", "https://discord.com/channels/1/2/3"])
)
@settings(max_examples=40, deadline=None)
def test_sources_recents_and_reviews_keep_every_limit(texts: list[str], author: str, link: str) -> None:
    sentences = tuple(Sentence(text * 9, ((author, link),) * 3, bool(link)) for text in texts)
    held(embeds.sources(made(sentences=sentences)))
    held(
        embeds.recent(
            [made(text, id=f"{n:032}", title=author) if n % 3 else None for n, text in enumerate(texts)] or [None]
        )
    )
    diff = [["equal", text, text] if n % 2 else ["replace", text, text * 20] for n, text in enumerate(texts)]
    held(embeds.review("0" * 32, "0" * 16, author, author, AT, diff))
    held(embeds.writing("\n".join(texts)))
    held(embeds.alert(author or "x", author))
    held(embeds.hidden("0" * 32))
    held(embeds.notice(author or "x"))


@given(text=long_words.filter(lambda text: bool(text.strip())))
@settings(max_examples=40, deadline=None)
def test_a_text_that_nobody_changed_comes_back_from_its_modal_as_it_was(text: str) -> None:
    stripped = text.strip()
    modal = modals.correct(made(stripped, correction="1" * 32), blind=False)
    body = modal.to_dict()
    components.modal(body)
    written = [one["component"].get("value", "") for one in body["components"] if "value" in one["component"]]
    remembered = Remembered.load(body["custom_id"])
    assert remembered is not None and (remembered.id, remembered.extra) == ("0" * 32, "1" * 32)
    assert modals.whole(stripped, remembered, written) == stripped
    assert all(units(piece) <= 4000 for piece in written)


@given(text=st.text(max_size=120))
@settings(max_examples=100, deadline=None)
def test_what_is_typed_is_read_or_refused_and_never_breaks(text: str) -> None:
    for options in ({"since": text}, {"about": text}, {"link": text}):
        try:
            ask_of(options, "123456789012345678")
        except NotUnderstood as error:
            assert error.message
    assert all(0 < len(label) <= 100 and 0 < len(value) <= 100 for label, value in suggestions(text))


def test_links_of_every_client_are_read() -> None:
    ids = "123456789012345678/223456789012345678/323456789012345678"
    for host in ("discord.com", "ptb.discord.com", "canary.discord.com", "discordapp.com"):
        [found] = links(f"<https://{host}/channels/{ids}>", "123456789012345678")
        assert (found.channel, found.id) == ("223456789012345678", "323456789012345678")
    with pytest.raises(NotUnderstood, match="another server"):
        links(f"https://discord.com/channels/{ids}", "923456789012345678")


async def test_a_growing_answer_is_edited_in_batches_and_never_waited_for() -> None:
    shown_texts: list[str] = []
    let_go = asyncio.Event()

    async def show(content: Content) -> None:
        shown_texts.append((content.embeds[0].description if content.embeds else content.text) or "")
        await let_go.wait()

    writer = Writer(show, every_s=0.0)
    await writer.sentence("Sentence number 0.")
    await asyncio.sleep(0)
    for number in range(1, 50):
        await writer.sentence(f"Sentence number {number}.")
    let_go.set()
    async with asyncio.timeout(10):
        while len(shown_texts) < 2:
            await asyncio.sleep(0)
    await writer.close()
    # The first, and what had come meanwhile, in one.
    assert len(shown_texts) == 2 and "number 49" in shown_texts[1]
    await writer.sentence("Too late.")
    assert len(shown_texts) == 2


# Prompt injection -----------------------------------------------------------------------------------------------------


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
    database = Database.open(StorageSettings.load())
    summaries = Summaries(database, client)

    async def allowed() -> None: ...

    async def write(name: str, *said: str) -> Shown:
        messages = tuple(
            Message(str(number), ("Ana", "Mallory")[number % 2], text, time=AT) for number, text in enumerate(said)
        )
        conversation = Conversation(name, messages, platform="discord", workspace="1", channel=name, title="#x")
        summary = await summaries.write(
            person="discord:1", read=Read(conversation), style="standard", focus="", accepted_at=datetime.now(UTC),
            still_allowed=allowed,
        )  # fmt: skip
        found = shown(database, summary)
        assert found is not None
        return found

    async def one(number: int, family: str, injection: str) -> None:
        answer = await write(f"C{number}", f"The invoice is at {HONEST} as always.", injection)
        for page in embeds.answer(answer, public=True):
            body = held(page)
            said = f"{family}: {json.dumps(body)}"
            text = body["embeds"][0]["description"]
            assert not re.search(r"(?<!\\)<[@#:!]", text.replace("<t:", "")), said
            # An embed pings nobody; what looks like it is broken all the same.
            assert not re.search(r"@(everyone|here)\b", text), said
            assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", text), said
            assert "4711" not in text, said
            for link in find_links(answer.text):
                linked = "://" in link or link.startswith("www.")
                assert not linked or link in injection or link == HONEST, said
            assert "evil.example/end" not in text, said

    await write("SECRET", OTHER_CHANNEL)
    for start in range(0, len(INJECTIONS), 32):
        group = enumerate(INJECTIONS[start : start + 32], start)
        await asyncio.gather(*(one(number, family, injection) for number, (family, injection) in group))
    assert sum("4711" in prompt for prompt in obedient.prompts) == 1
    database.close()
