"""The summariser on the model that ships: what holds whatever the weights of the day write."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from engine.conversation import Conversation, Message
from engine.local import LocalClient
from engine.requests import Finished, SummaryRequest, SummaryResult
from engine.settings import EngineSettings

SAMPLES = json.loads((Path(__file__).parent / "text" / "topics.json").read_text(encoding="utf-8"))


async def summary(client: LocalClient, request: SummaryRequest) -> SummaryResult:
    found = [event async for event in client.summarize(request)]
    assert isinstance(found[-1], Finished)
    return found[-1].result


async def test_ten_focused_summaries_of_the_starter_rest_only_on_messages_about_their_topic() -> None:
    client = LocalClient(EngineSettings())
    try:
        requests = []
        for sample in SAMPLES:
            messages = tuple(Message(str(at), *said) for at, said in enumerate(sample["messages"], 1))
            requests.append(SummaryRequest(Conversation(sample["focus"], messages), focus=sample["focus"]))
        results = await asyncio.gather(*(summary(client, request) for request in requests))
    finally:
        await client.close()
    for sample, result in zip(SAMPLES, results, strict=True):
        assert result.demonstration and result.summary
        assert result.coverage.messages == len(sample["about"])
        assert {source for sentence in result.sentences for source in sentence.sources} <= set(sample["about"])
        for sentence in result.sentences:
            assert re.match(r"[^a-z]", sentence.text) and not re.search(r" [,.;:!?]| ' ", sentence.text)
    assert sum(bool(sentence.sources) for result in results for sentence in result.sentences) >= 5
