"""What Redraft promises in a chat holds on both platforms, served by one real process at once."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlmodel import select

from storage.database import Database
from storage.learning_tables import CorrectionRow, PairRow
from storage.presence import read as chats_of
from storage.tables import ConversationRow, FeedbackRow, MessageRow
from tests.bot.discord_guild import Team, discord_server
from tests.bot.platforms import OnDiscord, OnSlack, Platform
from tests.bot.slack_team import bot, database, engine, slack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("both-bots")]
_numbers = itertools.count(1)


class Both:
    def __init__(self, stored: Database, **platforms: Platform) -> None:
        self.stored, self.platforms = stored, platforms

    def rows(self, table: type[Any], **where: Any) -> list[Any]:
        with self.stored.read() as session:
            return list(session.scalars(select(table).filter_by(**where)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Both]:
    home = tmp_path_factory.mktemp("both") / "home"
    async with slack() as on_slack, discord_server() as on_discord:
        team = Team(on_discord)
        with engine(home), database(home) as stored:
            async with bot(
                on_slack, home, SLACK_PACE="1000", DISCORD_BOT_TOKEN=on_discord.token, DISCORD_API_URL=on_discord.api
            ) as process:
                await on_discord.connected()
                await on_discord.until(lambda: on_discord.registered(None), "commands are told")
                yield Both(stored, slack=OnSlack(on_slack), discord=OnDiscord(team))
                assert "Traceback" not in process.log()


@pytest.fixture(params=["slack", "discord"])
def chat(request: pytest.FixtureRequest, both: Both) -> Platform:
    return both.platforms[request.param]


async def talked(chat: Platform, *members: str) -> tuple[Any, list[Any]]:
    room = await chat.room(*members)
    names = members or ("Ana", "Tomas", "Priya")
    number = next(_numbers)
    return room, [
        chat.write(room, names[n % len(names)], f"Item {n} of list {number} is checked.", 500 - 60 * n)
        for n in range(4)
    ]


async def eventually(chat: Any, holds: Any, what: str) -> None:
    import asyncio

    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_command_becomes_a_summary_a_correction_a_pair_and_a_shared_message(both: Both, chat: Platform) -> None:
    room, _ = await talked(chat)
    answer = await chat.ask("Ana", room)
    assert "4 messages by 3 people" in answer.text and "Only you can see this" in answer.text
    words = f"Ana and the others went through all four items of the list number {next(_numbers)} together."
    await chat.correct("Ana", answer, room, words)
    await eventually(chat, lambda: both.rows(CorrectionRow, summary_id=answer.id), "it is stored")
    [correction] = both.rows(CorrectionRow, summary_id=answer.id)
    assert (correction.author_id, correction.author, correction.text) == (chat.account("Ana"), "Ana", words)
    [pair] = both.rows(PairRow, id=correction.pair_id)
    assert (pair.platform, pair.workspace, pair.channel) == (chat.name, chat.workspace(), chat.room_id(room))
    assert (pair.public, pair.state, pair.origin) == (True, "pending", "edited")
    assert [await chat.press("Ana", answer, room, "share") for _ in range(2)] == ["Shared.", "It is shared already."]
    [post] = chat.posts(room)
    assert words in post and "Corrected by Ana" in post and "Shared by Ana" in post
    assert "👍" in await chat.press("Ana", answer, room, "up")
    assert [row.thumb for row in both.rows(FeedbackRow, summary_id=answer.id)] == ["up"]


async def test_nobody_gets_what_they_may_not_read_and_private_places_train_only_themselves(
    both: Both, chat: Platform
) -> None:
    here, _ = await talked(chat)
    closed, _ = await talked(chat, "Ana", "Tomas")
    assert "can read yourself" in await chat.told("Priya", here, closed)
    await chat.ask("Ana", closed)
    assert [row.public for row in both.rows(ConversationRow, channel=chat.room_id(closed))] == [False]


async def test_who_opts_out_leaves_what_is_stored_and_is_read_no_more(both: Both, chat: Platform) -> None:
    room, _ = await talked(chat, "Kofi", "Ana")
    assert "2 people" in (await chat.ask("Ana", room)).text
    account = chat.account("Kofi").partition(":")[2]
    assert both.rows(MessageRow, author_id=account)
    assert "have left what is stored" in await chat.word("Kofi", room, "optout")
    assert both.rows(MessageRow, author_id=account) == []
    assert "1 person" in (await chat.ask("Ana", room)).text
    assert "Welcome back" in await chat.word("Kofi", room, "optin")
    assert "2 people" in (await chat.ask("Ana", room)).text


async def test_a_deletion_reaches_what_is_stored_and_takes_its_pair_back(both: Both, chat: Platform) -> None:
    room, messages = await talked(chat)
    answer = await chat.ask("Ana", room)
    words = f"Everybody looked at the four items of that list, says number {next(_numbers)} in the row."
    await chat.correct("Ana", answer, room, words)
    await eventually(chat, lambda: both.rows(PairRow, summary=words), "it is stored")
    await chat.delete(messages[1])
    await eventually(chat, lambda: not both.rows(MessageRow, id=chat.message_id(messages[1])), "it has gone")
    [pair] = both.rows(PairRow, summary=words)
    assert pair.state == "rejected" and "deleted since" in pair.reject_reason
    assert "Item 1 of" not in pair.dialogue


async def test_consoles_are_told_of_both_connections(both: Both) -> None:
    await eventually(None, lambda: _states(both) == {"slack": "up", "discord": "up"}, "both are up")


def _states(both: Both) -> dict[str, str]:
    return {name: one.state for name, one in chats_of(both.stored.home).items()}
