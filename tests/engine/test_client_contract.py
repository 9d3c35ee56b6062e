"""One contract for both ways to the engine: in this process, and over HTTP to another one on loopback.

Both run the whole of it: the client, admission, the real summariser, the batcher. The model is a small hand-written
one that a test can hold, except where a real tiny BART is called for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from engine import address, wire
from engine.app import build_app
from engine.client import HttpClient
from engine.conversation import Conversation, Message
from engine.local import LocalClient
from engine.metrics import Metrics
from engine.protocols import EngineClient, TextModel
from engine.requests import Event, Finished, Progress, Queued, SentenceWritten, SummaryRequest
from engine.server import _listening, _uvicorn
from engine.service import EngineService
from engine.settings import EngineSettings
from storage.errors import EngineBusy, EngineError, EngineUnavailable, InputError, ModelError, OptionNotHonoured
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.fake_model import FakeModel

SENTENCES = "Ana checked the export job. Ben restarted it at 14:30. Mei moved the review to Monday."


def talk(messages: int = 4, name: str = "talk") -> Conversation:
    said = ("Ana checked the export job.", "Ben restarted it at 14:30.", "Mei moved the review to Monday.", "Thanks.")
    return Conversation(
        name,
        tuple(
            Message(str(n), ("Ana", "Ben", "Mei", "Kofi")[n % 4], f"{said[n % 4]} That was number {n}.")
            for n in range(messages)
        ),
    )


class Served:
    """A model behind one of the two clients."""

    def __init__(self, client: EngineClient, service: EngineService, model: FakeModel) -> None:
        self.client = client
        self.service = service
        self.model = model


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@contextlib.asynccontextmanager
async def _local(load: Callable[[], TextModel], home: Home, settings: EngineSettings) -> AsyncIterator[Any]:
    client = LocalClient(settings, home, load=load)
    try:
        yield client, client._service
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _http(load: Callable[[], TextModel], home: Home, settings: EngineSettings) -> AsyncIterator[Any]:
    metrics = Metrics()
    service = EngineService(settings, load, observer=metrics)
    server = _uvicorn(build_app(service, metrics, address.ensure_token(home)))
    with FileLock(address.lock_file(home)), _listening(settings) as (listener, url):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        address.publish(home, address.Address(url, os.getpid(), settings.engine_socket))
        client = HttpClient(home)
        try:
            yield client, service
        finally:
            await client.close()
            await service.close()
            server.should_exit = True
            await serving
            address.withdraw(home)


@pytest.fixture(params=["local", "http", "unix"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    @contextlib.asynccontextmanager
    async def serving(
        model: FakeModel | None = None, load: Callable[[], TextModel] | None = None, **given: Any
    ) -> AsyncGenerator[Served, None]:
        model = model or FakeModel(write=lambda row: SENTENCES)
        socket = str(tmp_path / "engine.sock") if request.param == "unix" else ""
        settings = EngineSettings(engine_port=0, engine_socket=socket, **given)
        home = Home.create(StorageSettings.load())
        make = _local if request.param == "local" else _http
        async with make(load or (lambda: model), home, settings) as (client, service):
            try:
                yield Served(client, service, model)
            finally:
                model.gate.set()

    return serving


async def events_of(client: EngineClient, request: SummaryRequest) -> list[Event]:
    return [event async for event in client.summarize(request)]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_place_comes_first_then_sentences_then_one_end_whose_text_is_what_was_streamed(serve: Serve) -> None:
    async with serve() as served:
        events = await events_of(served.client, SummaryRequest(talk()))
    assert isinstance(events[0], Queued)
    assert events[0].ahead == 0
    assert [type(event) for event in events[1:]] == [SentenceWritten] * (len(events) - 2) + [Finished]
    assert isinstance(events[-1], Finished)
    result = events[-1].result
    sentences = [event.sentence for event in events if isinstance(event, SentenceWritten)]
    assert list(result.sentences) == sentences
    assert result.summary == " ".join(sentence.text for sentence in sentences)
    assert "14:30" in result.summary
    assert (result.model, result.adapter, result.coverage.messages) == ("fake", "base", 4)


async def test_both_ways_say_the_same(own_home: Path) -> None:
    home, settings = Home.create(StorageSettings.load()), EngineSettings(engine_port=0)
    results = []
    for make in (_local, _http):
        async with make(lambda: FakeModel(write=lambda row: SENTENCES), home, settings) as (client, _):
            (*_, last) = await events_of(client, SummaryRequest(talk()))
            assert isinstance(last, Finished)
            results.append((last.result.summary, last.result.sentences, last.result.coverage))
    assert results[0] == results[1]


async def test_a_long_conversation_tells_its_progress_to_the_end(serve: Serve) -> None:
    async with serve() as served:
        events = await events_of(served.client, SummaryRequest(talk(200)))
    progress = [event for event in events if isinstance(event, Progress)]
    assert len(progress) > 2
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert progress[-1].done == progress[-1].total


async def test_many_at_once_share_batches_and_each_gets_its_own_answer(serve: Serve) -> None:
    async with serve(engine_queue_limit=64) as served:
        requests = [SummaryRequest(talk(3 + n % 3, f"t{n}")) for n in range(20)]
        answers = await asyncio.gather(*(events_of(served.client, request) for request in requests))
    for request, events in zip(requests, answers, strict=True):
        assert isinstance(events[-1], Finished)
        assert events[-1].result.coverage.messages == len(request.conversation.messages)
    assert len(served.model.batches) < 10


async def test_who_waits_is_told_how_many_are_ahead_and_when_they_move_up(serve: Serve) -> None:
    seen: list[Event] = []

    async def follow(client: EngineClient) -> None:
        async for event in client.summarize(SummaryRequest(talk(name="third"))):
            seen.append(event)

    async with serve() as served:
        served.model.gate.clear()
        first = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (1, 0))
        async with aclosing(served.client.summarize(SummaryRequest(talk(name="second")))) as second:  # type: ignore[type-var]
            assert await anext(second) == Queued(1)
            third = asyncio.create_task(follow(served.client))
            await until(lambda: seen == [Queued(2)])
        await until(lambda: seen == [Queued(2), Queued(1)])
        served.model.gate.set()
        await asyncio.gather(first, third)
    assert isinstance(seen[-1], Finished)


async def test_beyond_the_limit_the_engine_is_busy_and_serves_again_when_it_is_not(serve: Serve) -> None:
    async with serve(engine_queue_limit=1) as served:
        served.model.gate.clear()
        first = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (1, 0))
        second = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (1, 1))
        with pytest.raises(EngineBusy) as busy:
            await events_of(served.client, SummaryRequest(talk()))
        assert busy.value.ahead == 2
        assert "2 ahead of you" in busy.value.message
        served.model.gate.set()
        await asyncio.gather(first, second)
        assert await events_of(served.client, SummaryRequest(talk()))


async def test_closing_the_iterator_cancels_the_request_and_frees_its_rows(serve: Serve) -> None:
    async with serve() as served:
        served.model.gate.clear()
        async with aclosing(served.client.summarize(SummaryRequest(talk()))) as events:  # type: ignore[type-var]
            await anext(events)
            await until(lambda: served.service.batcher.counts() == (1, 0))
        await until(lambda: served.service.batcher.counts() == (0, 0))
        waiting = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (0, 1))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: served.service.batcher.counts() == (0, 0))
        served.model.gate.set()
        assert isinstance((await events_of(served.client, SummaryRequest(talk())))[-1], Finished)
    # The one that waited never ran.
    assert len(served.model.batches) == 2


async def test_an_option_that_the_model_cannot_honour_is_refused_by_name(serve: Serve) -> None:
    async with serve() as served:
        with pytest.raises(OptionNotHonoured, match="language"):
            await events_of(served.client, SummaryRequest(talk(), output_language="German"))
        with pytest.raises(OptionNotHonoured, match="a-17"):
            await events_of(served.client, SummaryRequest(talk(), adapter="a-17"))


async def test_a_conversation_with_nothing_to_read_is_refused(serve: Serve) -> None:
    bots = Conversation("b", (Message("1", "robot", "beep", kind="bot"),))
    async with serve() as served:
        with pytest.raises(InputError):
            await events_of(served.client, SummaryRequest(bots))
        with pytest.raises(InputError):
            await events_of(served.client, SummaryRequest(Conversation("none", ())))


async def test_a_failed_batch_is_told_as_a_sentence_and_the_next_request_works(serve: Serve) -> None:
    async with serve() as served:

        def fail(prompts: list[str]) -> None:
            served.model.fail = None
            raise RuntimeError("device-side assert")

        served.model.fail = fail
        with pytest.raises(EngineError, match="failed while it wrote") as failed:
            await events_of(served.client, SummaryRequest(talk()))
        assert failed.value.hint
        assert isinstance((await events_of(served.client, SummaryRequest(talk())))[-1], Finished)


async def test_health_tells_that_the_device_has_failed(serve: Serve) -> None:
    async with serve() as served:

        def fail(prompts: list[str]) -> None:
            raise RuntimeError("CUDA error: device-side assert triggered")

        served.model.fail = fail
        with pytest.raises(EngineError):
            await events_of(served.client, SummaryRequest(talk()))
        await asyncio.wait_for(served.service.batcher.broke(), 10)
        assert (await served.client.health()).detail == "The model's device has failed."


async def test_health_tells_loading_then_up_with_the_model_and_what_runs(serve: Serve) -> None:
    loaded = threading.Event()
    model = FakeModel(write=lambda row: SENTENCES)

    def load() -> TextModel:
        assert loaded.wait(10)
        return model

    async with serve(model, load) as served:
        served.service.start()
        health = await served.client.health()
        assert (health.state, health.model) == ("loading", None)
        asked = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (0, 1))
        assert (await served.client.health()).waiting == 1
        model.gate.clear()
        loaded.set()
        await until(lambda: served.service.batcher.counts() == (1, 0))
        health = await served.client.health()
        assert (health.state, health.running, health.waiting) == ("up", 1, 0)
        assert health.model == model.info
        model.gate.set()
        await asked


async def test_a_model_that_cannot_be_loaded_is_told_to_who_asks(serve: Serve) -> None:
    def load() -> TextModel:
        raise ModelError("There is no model of that name.", "Run `redraft init`.")

    async with serve(load=load) as served:
        with pytest.raises(ModelError, match="no model of that name") as failed:
            await events_of(served.client, SummaryRequest(talk()))
        assert failed.value.hint == "Run `redraft init`."


async def test_an_engine_that_goes_down_says_so_and_health_never_raises(serve: Serve) -> None:
    async with serve() as served:
        served.model.gate.clear()
        running = asyncio.create_task(events_of(served.client, SummaryRequest(talk())))
        await until(lambda: served.service.batcher.counts() == (1, 0))
        draining = asyncio.create_task(served.service.drain(20))
        await until(lambda: served.service.batcher.draining)
        assert (await served.client.health()).state == "draining"
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await events_of(served.client, SummaryRequest(talk()))
        served.model.gate.set()
        assert isinstance((await running)[-1], Finished)
        assert await draining is True
        client = served.client
    assert (await client.health()).state == "down"


async def test_the_log_of_an_engine_in_this_process_is_for_its_owner_only(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a command, which configures none
    home, settings = Home.create(StorageSettings.load()), EngineSettings(engine_port=0)
    model = FakeModel()

    def fail(prompts: list[str]) -> None:
        raise RuntimeError("native code")

    model.fail = fail
    before = os.umask(0)
    try:
        async with _local(lambda: model, home, settings) as (client, _):
            with pytest.raises(EngineError):
                await events_of(client, SummaryRequest(talk()))
    finally:
        os.umask(before)
    log = home.logs / "local.log"
    assert "native code" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_while_nothing_is_written_the_http_engine_gives_signs_of_life(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEARTBEAT_S", 0.01)
    home, settings = Home.create(StorageSettings.load()), EngineSettings(engine_port=0)
    model = FakeModel(write=lambda row: SENTENCES)
    model.gate.clear()
    lines: list[str] = []
    async with _http(lambda: model, home, settings), httpx.AsyncClient(trust_env=False, timeout=20) as raw:
        where = address.published(home)
        assert where is not None
        body = wire.encode_request(SummaryRequest(talk()))
        headers = {"Authorization": f"Bearer {address.read_token(home)}"}
        async with raw.stream("POST", f"{where.url}/v1/summaries", content=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                lines.append(line)
                if lines.count("") == 3:
                    model.gate.set()
    assert lines.count("") >= 3
    assert '"event":"finished"' in lines[-1]
