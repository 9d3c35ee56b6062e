"""What is stored of an answer when people change their minds while it is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from sqlmodel import select

from bot import feedback
from bot.answers import Summaries
from bot.chat import Quiet, Read
from bot.jobs import Later
from engine.conversation import Conversation
from engine.local import LocalClient
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import EngineBusy
from storage.tables import ConversationRow, MessageRow
from tests.engine.fake_model import FakeModel
from tests.engine.test_client_contract import talk


def slack(conversation: Conversation) -> Conversation:
    messages = tuple(
        replace(message, author_id=("U1", "U2")[at % 2]) for at, message in enumerate(conversation.messages)
    )
    return replace(conversation, platform="slack", workspace="T1", channel="C1", messages=messages)


async def test_who_opts_out_while_an_answer_is_written_is_not_stored_with_it(database: Database) -> None:
    client = LocalClient(EngineSettings(), load=lambda: FakeModel())
    began = datetime.now(UTC) - timedelta(minutes=3)
    read = Read(slack(talk()), began=began)
    authors = {message.author_id for message in read.conversation.messages}
    assert authors == {"U1", "U2"}

    async def opts_out() -> None:
        feedback.opt_out(database, "slack:U2", now=datetime.now(UTC))

    try:
        await Summaries(database, client).write(
            person="slack:U1", read=read, style="standard", focus="", accepted_at=datetime.now(UTC),
            still_allowed=opts_out,
        )  # fmt: skip
    finally:
        await client.close()
    with database.read() as session:
        stored = session.scalars(select(MessageRow)).all()
        [conversation] = session.scalars(select(ConversationRow)).all()
    assert {row.author_id for row in stored} == {"U1"}
    # What is edited from the reading on is looked for by the sweep.
    assert conversation.read_at == pytest.approx(began, abs=timedelta(seconds=1))


async def test_a_full_engine_tells_the_place_in_its_line_and_the_request_is_done_later(database: Database) -> None:
    class Full:
        async def summarize(self, _request: Any) -> Any:
            raise EngineBusy(17)
            yield

    class Sink(Quiet):
        heard: ClassVar[list[int]] = []

        async def queued(self, ahead: int, message: str) -> None:
            self.heard.append(ahead)

    async def allowed() -> None: ...

    with pytest.raises(Later):
        await Summaries(database, Full()).write(  # type: ignore[arg-type]
            person="slack:U1", read=Read(slack(talk())), style="standard", focus="", accepted_at=datetime.now(UTC),
            still_allowed=allowed, sink=Sink(),
        )  # fmt: skip
    assert Sink.heard == [17]
