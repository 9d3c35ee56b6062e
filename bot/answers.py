"""Writing summaries for people in chats, and what an answer shows: text, coverage, corrections, sources.

:class:`Summaries` asks the engine, one conversation a prompt, and stores what it wrote; the asker's right to read is
asked before and after. :func:`shown` loads a stored summary as it is to be shown now, corrected if somebody did. It
knows no platform and no markup.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bot import texts
from bot.chat import Place, Quiet, Read, Sink
from bot.jobs import Later
from engine import records
from engine.formats.values import iso_time
from engine.learning import changes, corrections
from engine.protocols import EngineClient
from engine.requests import Finished, Progress, Queued, SentenceWritten, Style, SummaryRequest, SummaryResult
from storage import chat_queries as queries
from storage.chat_tables import ChatAnswerRow
from storage.database import Database
from storage.errors import EngineBusy, EngineUnavailable, InputError
from storage.learning_tables import CorrectionRow

#: How long a request waits for an engine that is starting, busy or being restarted, in all.
_PATIENCE = timedelta(minutes=15)
#: Waits grow with the age of the request, between these bounds in seconds.
_SOONEST_S, _LATEST_S = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the messages that it rests on: ``(author, permalink)``, the strongest first."""

    text: str
    sources: tuple[tuple[str, str], ...]
    supported: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A summary as it is to be shown now.

    Attributes:
        text: a person's newest text in its place, else what the engine wrote.
        corrected_by: whose text it is, or empty.
        correction: that correction's id, or empty: what a further one builds on.
        first, last: times of the first and the last message covered (aware, UTC), or None.
        older: the oldest messages of the stretch that were left out; ``older_more`` where there may be further ones.
    """

    id: str
    place: Place
    title: str
    text: str
    style: str
    focus: str
    corrected_by: str
    correction: str
    messages: int
    people: int
    first: datetime | None
    last: datetime | None
    left_out: int
    older: int
    older_more: bool
    adapter: str
    demonstration: bool
    notes: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    asked_by: str
    created_at: datetime


class Summaries:
    """Writes and stores summaries.

    Args:
        database: where they are stored.
        client: the engine.
    """

    def __init__(self, database: Database, client: EngineClient) -> None:
        self._database, self._client = database, client

    async def ready(self, accepted_at: datetime) -> None:
        """Return if the engine takes requests; asked before messages are read, so that none are read in vain.

        Raises:
            Later: it is away; the job is to be done again.
            EngineUnavailable: it has been for too long.
        """
        if (await self._client.health()).state in ("down", "draining"):
            raise _later(EngineUnavailable("The engine is not running."), accepted_at)

    async def write(
        self,
        *,
        person: str,
        read: Read,
        style: Style,
        focus: str,
        accepted_at: datetime,
        still_allowed: Callable[[], Awaitable[None]],
        sink: Sink | None = None,
    ) -> str:
        """Have a conversation summarised and store both.

        Args:
            accepted_at: when it was asked for; an engine that is away or busy is waited for from then on.
            still_allowed: asked once the summary is written; raises where the person may not read it any more.
            sink: hears it while it is written; and its place, where the engine's line is full.

        Returns:
            The summary's id.

        Raises:
            Later: the engine is away or busy.
            RedraftError: it cannot be summarised.
        """
        if not any(message.kind == "person" and message.text for message in read.conversation.messages):
            raise InputError(texts.NOTHING_THERE)
        request = SummaryRequest(conversation=read.conversation, style=style, focus=focus)
        try:
            result = await self._ask(request, sink or Quiet())
        except (EngineBusy, EngineUnavailable) as error:
            later = _later(error, accepted_at)
            if sink is not None and isinstance(error, EngineBusy) and isinstance(later, Later):
                await sink.queued(error.ahead, "")
            raise later from error
        await still_allowed()
        return await asyncio.to_thread(self._store, person, request, result, read.began)

    def _store(self, person: str, request: SummaryRequest, result: SummaryResult, began: datetime | None) -> str:
        """Store both, and take out at once who has opted out since the messages were read.

        Whoever does so from now on finds the messages stored, and takes them out themselves.
        """
        now = datetime.now(UTC)
        summary_id = records.store_summary(
            self._database, request, result, asked_by=person, now=now, read_at=began or now
        )
        platform = request.conversation.platform
        with self._database.read() as session:
            out = queries.opted_out(session=session, platform=platform)
        for author in sorted({f"{platform}:{message.author_id}" for message in request.conversation.messages} & out):
            changes.take_out_author(self._database, person=author, now=now)
        return summary_id

    async def _ask(self, request: SummaryRequest, sink: Sink) -> SummaryResult:
        events = cast("Any", self._client.summarize(request))
        async with aclosing(events) as stream:
            async for event in stream:
                match event:
                    case Queued():
                        await sink.queued(event.ahead, event.message)
                    case Progress():
                        await sink.progress(event.done, event.total)
                    case SentenceWritten():
                        await sink.sentence(event.sentence.text)
                    case Finished():
                        return event.result
        raise EngineUnavailable("The engine said nothing.")


def _later(error: Exception, accepted_at: datetime) -> Exception:
    age = datetime.now(UTC) - accepted_at
    return Later(min(max(age.total_seconds() / 4, _SOONEST_S), _LATEST_S)) if age < _PATIENCE else error


def shown(database: Database, summary_id: str) -> Shown | None:
    """A stored summary as it is to be shown now, or None where there is none any more."""
    with database.read() as session:
        stored = records.load_summary(session, summary_id)
        if stored is None:
            return None
        newest = newest_of(corrections.corrections(session, summary_id))
        answers = queries.answers_of(session=session, summary_id=summary_id)
    conversation, result = stored.request.conversation, stored.result
    messages = {message.id: message for message in conversation.messages}
    return Shown(
        id=stored.id,
        place=Place(conversation.platform, conversation.workspace, conversation.channel, conversation.thread),
        title=conversation.title,
        text=newest.text if newest else result.summary,
        style=result.style,
        focus=result.focus,
        corrected_by=newest.author if newest else "",
        correction=newest.id if newest else "",
        messages=result.coverage.messages,
        people=result.coverage.authors,
        first=iso_time(result.coverage.first),
        last=iso_time(result.coverage.last),
        left_out=result.coverage.left_out,
        older=max((row.older for row in answers), default=0),
        older_more=any(row.more for row in answers),
        adapter=result.adapter,
        demonstration=result.demonstration,
        notes=result.notes,
        sentences=tuple(
            Sentence(
                sentence.text,
                tuple((messages[one].author, messages[one].permalink) for one in sentence.sources if one in messages),
                sentence.supported and any(one in messages for one in sentence.sources),
            )
            for sentence in result.sentences
        ),
        asked_by=stored.asked_by,
        created_at=stored.created_at,
    )


def newest_of(rows: list[CorrectionRow]) -> CorrectionRow | None:
    """The correction that stands: the newest one of all."""
    return max(rows, key=lambda row: (row.created_at, row.id), default=None)


def record_shown(
    database: Database,
    *,
    summary_id: str,
    platform: str,
    person: str,
    private: bool,
    channel: str = "",
    thread: str = "",
    message: str = "",
    older: int = 0,
    more: bool = False,
    seen_channel: str = "",
    answer_id: str = "",
    now: datetime | None = None,
) -> None:
    """Store where a summary is shown now, so that a correction reaches it; and that its asker used Redraft there.

    Args:
        seen_channel: the channel in which ``new`` begins from now on for the person, or empty.
        answer_id: of what was recorded before and is now somewhere else; empty makes a new one.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with database.write() as session:
        queries.save_answer(
            session=session,
            answer=ChatAnswerRow(
                id=answer_id or uuid.uuid4().hex, summary_id=summary_id, platform=platform, person=person,
                private=private, channel=channel, thread=thread, message=message, older=older, more=more,
                created_at=moment,
            ),
        )  # fmt: skip
        if seen_channel:
            queries.save_seen(session=session, person=person, channel=seen_channel, at=moment)


def parts(text: str, limit: int) -> tuple[list[str], list[str]]:
    """A text in pieces of at most ``limit`` UTF-16 units, and what stood between them: joined, they are the text."""
    from engine.text.escape import split_text

    pieces = split_text(text, limit)
    between, at = [], 0
    for number, piece in enumerate(pieces):
        start = text.index(piece, at)
        if number:
            between.append(text[at:start])
        at = start + len(piece)
    return pieces, between


def joined(pieces: list[str], between: list[str]) -> str:
    """The text of several inputs; where one was emptied, what stood before it goes too."""
    text = ""
    for number, piece in enumerate(pieces):
        gap = between[number - 1] if 0 < number <= len(between) else "\n\n" if number else ""
        text += (gap if text and piece.strip() else "") + piece
    return text
