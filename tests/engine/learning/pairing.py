"""Conversations, summaries and pairs for the tests of corrections and pairs; the people are invented."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.conversation import Conversation, Message
from engine.learning.corrections import Corrected, correct
from engine.learning.settings import LearningSettings
from engine.records import store_summary
from engine.requests import Coverage, SummaryRequest, SummaryResult, SummarySentence
from storage.database import Database
from storage.learning_tables import PairRow

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
SETTINGS = LearningSettings()
DRAFT = (
    "Imke said that the deploy of the billing service failed at 14:00, and Tariq rolled it back "
    "and opened a ticket for the database team to look at tomorrow."
)
#: Nine in ten words of it are new.
BETTER = "Billing was down from 14:00 on. The rollback by Tariq helped; the cause, a missing index, is for Monday."

#: For rules that ask the database nothing that the two would answer differently.
one_database = pytest.mark.parametrize("kind", ["sqlite"])

_numbers = itertools.count()


def words(seed: int, count: int) -> str:
    """Words that no two seeds share, so that nothing resembles anything by chance."""
    chance = random.Random(seed)
    return " ".join(f"w{seed}x{chance.randrange(10**6)}" for _ in range(count))


def messages(seed: int, count: int = 4, *, at: datetime = NOW) -> tuple[Message, ...]:
    return tuple(
        Message(
            f"{seed}.{number}", ("Imke", "Tariq")[number % 2], words(1000 * seed + number, 9),
            at + timedelta(seconds=number), f"U{number % 2}",
        )
        for number in range(count)
    )  # fmt: skip


def conversation(identity: str = "", seed: int | None = None, **changes: Any) -> Conversation:
    """A public Slack thread of its own words."""
    number = next(_numbers) if seed is None else seed
    made = Conversation(
        id=identity or f"thread-{number}",
        platform="slack",
        workspace="T1",
        channel="C1",
        thread=f"{number}.0",
        public=True,
        messages=messages(number),
    )
    return replace(made, **changes)


def summarised(
    database: Database,
    made: Conversation,
    text: str = DRAFT,
    *,
    adapter: str = "base",
    now: datetime = NOW,
    **asked: Any,
) -> str:
    """Store a conversation with a summary of it; the summary's id."""
    people = [message for message in made.messages if message.kind == "person" or asked.get("include_bots")]
    times = sorted(message.time for message in people if message.time)
    request = SummaryRequest(made, **asked)
    result = SummaryResult(
        summary=text,
        sentences=(SummarySentence(text),),
        coverage=Coverage(
            len(people), 0, 2, times[0].isoformat() if times else "", times[-1].isoformat() if times else "", 1
        ),
        model="starter",
        adapter=adapter,
        prompt_version="1",
        style=request.style,
        focus=request.focus,
        input_tokens=1,
        output_tokens=1,
        seconds=0.1,
    )
    return store_summary(database, request, result, now=now)


def corrected(
    database: Database,
    made: Conversation | None = None,
    text: str = BETTER,
    *,
    summary_id: str = "",
    blind: bool = False,
    author_id: str = "slack:U7",
    settings: LearningSettings = SETTINGS,
    **told: Any,
) -> Corrected:
    """A correction of a conversation's summary; both are made where they are not given."""
    summary_id = summary_id or summarised(database, made or conversation())
    return correct(
        database, settings, summary_id=summary_id, author_id=author_id, author="Noor", text=text, blind=blind,
        now=told.pop("now", NOW), **told,
    )  # fmt: skip


def dialogue(seed: int, turns: int = 6) -> str:
    return "\n".join(f"{('Ana', 'Bo')[turn % 2]}: {words(1000 * seed + turn, 9)}" for turn in range(turns))


def rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Rows to import, each of its own words."""
    return [
        {
            "id": f"row-{number}",
            "dialogue": dialogue(50_000 + number),
            "summary": f"Summary {number}: {words(number, 8)}",
        }
        for number in range(start, start + count)
    ]


def pair(**told: Any) -> PairRow:
    """An approved pair to train on, from a file unless told otherwise; of its own words."""
    number = next(_numbers)
    what = {
        "id": f"{number:032x}",
        "content_hash": f"{number:064x}",
        "conversation_key": f"key-{number}",
        "dialogue": f"Ana: {words(number, 8)}",
        "summary": f"Summary {number}.",
        "origin": "imported",
        "platform": "file",
        "state": "approved",
        "split": "train",
        "created_at": NOW,
        "decided_at": NOW,
    }
    return PairRow(**(what | told))


def chat_pair(**told: Any) -> PairRow:
    """An approved blind pair of a public Slack channel."""
    return pair(**({"platform": "slack", "workspace": "T1", "channel": "C1", "public": True, "origin": "blind"} | told))


def keep(database: Database, *pairs: PairRow) -> None:
    """Store pairs as they are."""
    with database.write() as session:
        session.add_all(pairs)


def said(made: Sequence[Message]) -> str:
    return "\n".join(f"{message.author}: {message.text}" for message in made)
