"""Conversations and summaries to store; the people are invented."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from engine.conversation import Conversation, Message
from engine.requests import Coverage, SummaryRequest, SummaryResult, SummarySentence

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
ELSEWHERE = timezone(timedelta(hours=5, minutes=30))


def conversation(identity: str = "thread-1") -> Conversation:
    return Conversation(
        id=identity,
        platform="slack",
        title="#deploys",
        workspace="T1",
        channel="C1",
        thread="1711.1",
        public=True,
        messages=(
            Message("1711.1", "Imke", "The 14:00 deploy failed 😱", NOW, "U1", "https://chat.example/p1", "1711.1"),
            Message("1711.2", "Tariq", "שלום, rolling back now\nwith `make back`", NOW.astimezone(ELSEWHERE), "U2"),
            Message("1711.3", "buildbot", "red", None, "B1", kind="bot"),
        ),
    )


def result() -> SummaryResult:
    return SummaryResult(
        summary="Imke reported a failed deploy. Tariq rolled back 3 times.",
        sentences=(
            SummarySentence("Imke reported a failed deploy.", ("1711.1",)),
            SummarySentence("Tariq rolled back 3 times.", ("1711.2", "1711.1"), True, ("3",)),
            SummarySentence("All is well.", (), False),
        ),
        coverage=Coverage(2, 1, 2, NOW.isoformat(), NOW.isoformat(), 1),
        model="starter",
        adapter="base",
        prompt_version="1",
        style="brief",
        focus="the deploy",
        input_tokens=61,
        output_tokens=17,
        seconds=0.75,
        demonstration=True,
        notes=("A repeated ending was cut off.",),
    )


def request(identity: str = "thread-1") -> SummaryRequest:
    return SummaryRequest(
        conversation(identity), style="brief", focus="the deploy", output_language="en", adapter="base"
    )


def with_messages(original: Conversation, *messages: Message) -> Conversation:
    return replace(original, messages=messages)
