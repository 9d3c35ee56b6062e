"""Which adapter writes what: by scope, by name, through promotions, refusals, a source that fails, and a fine-tune.

The whole in-process engine runs, over a hand-written model that notes who wrote and can be held.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import serving
from engine.conversation import Conversation
from engine.local import LocalClient
from engine.metrics import Metrics
from engine.protocols import Row, ServingTable
from engine.requests import Finished, Queued, SummaryRequest
from engine.settings import EngineSettings
from storage.errors import AdapterError, EngineError, EngineUnavailable, ModelError, OptionNotHonoured, StorageError
from tests.engine.adapter_source import Table
from tests.engine.fake_model import FakeModel
from tests.engine.test_client_contract import talk, until


def by_whom(row: Row) -> str:
    return f"Ana checked the export job with {row.adapter} on Monday."


def in_channel(workspace: str = "T1", channel: str = "C1") -> Conversation:
    return replace(talk(), platform="slack", workspace=workspace, channel=channel)


class Engine:
    """An engine of one process and what stands around it."""

    def __init__(self, table: Table, model: FakeModel, client: LocalClient, loads: list[FakeModel]) -> None:
        self.table, self.model, self.client, self.loads = table, model, client, loads
        self.service = client._service
        self.wanted = False

    async def writes(self, conversation: Conversation | None = None, adapter: str | None = None) -> str:
        """Who wrote a summary; what the result says and what the model was told are the same."""
        request = SummaryRequest(conversation or talk(), adapter=adapter)
        (*_, last) = [event async for event in self.client.summarize(request)]
        assert isinstance(last, Finished)
        assert last.result.summary == by_whom(Row("", 1, adapter=last.result.adapter))
        return last.result.adapter

    async def look(self) -> None:
        await self.service.serving.look()


Make = Callable[..., contextlib.AbstractAsyncContextManager[Engine]]


@pytest.fixture
def engine(tmp_path: Path) -> Make:
    @contextlib.asynccontextmanager
    async def make(*available: str, watched: bool = False, **active: str) -> AsyncIterator[Engine]:
        table = Table(tmp_path, *available, **active)
        refuse: dict[str, str] = {}
        loads: list[FakeModel] = []
        wanted: list[Engine] = []

        def load() -> FakeModel:
            model = FakeModel(write=by_whom)
            model.refuse = refuse
            if loads:
                model.gate = loads[0].gate
            loads.append(model)
            return model

        client = LocalClient(
            EngineSettings(),
            load=load,
            adapters=table,
            memory_wanted=lambda: any(made.wanted for made in wanted),
            observer=Metrics(),
        )
        await client._service.ready()
        made = Engine(table, loads[0], client, loads)
        wanted.append(made)
        watching = asyncio.create_task(client._service.watch()) if watched else None
        try:
            yield made
        finally:
            loads[0].gate.set()
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await client.close()

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that looks a hundred times a second."""
    monkeypatch.setattr(serving, "_EVERY_S", 0.01)


async def test_the_narrowest_active_scope_serves_and_the_base_where_none_is(engine: Make) -> None:
    active = {"default": "adef", "slack:T1": "ateam", "slack:T1/C1": "achan"}
    async with engine("adef", "ateam", "achan", **active) as made:
        assert await made.writes(in_channel()) == "achan"
        assert await made.writes(in_channel(channel="C2")) == "ateam"
        assert await made.writes(in_channel(workspace="T2")) == "adef"
        assert await made.writes() == "adef"
        del made.table.active["default"]
        await made.look()
        assert await made.writes() == "base"
        assert await made.writes(in_channel(workspace="T2")) == "base"


async def test_base_and_any_adapter_there_is_may_be_asked_for_by_name(engine: Make) -> None:
    async with engine("aserving", "acandidate", default="aserving") as made:
        assert await made.writes(adapter="base") == "base"
        assert await made.writes(adapter="acandidate") == "acandidate"
        assert await made.writes(adapter="acan") == "acandidate"
        assert await made.writes() == "aserving"
        with pytest.raises(OptionNotHonoured, match="no adapter 'anobody'"):
            await made.writes(adapter="anobody")
        with pytest.raises(OptionNotHonoured):
            await made.writes(adapter="a")


async def test_one_that_was_recorded_a_moment_ago_is_found_by_name(engine: Make) -> None:
    async with engine() as made:
        await made.writes()
        made.table.available.append("anew")
        assert await made.writes(adapter="anew") == "anew"


async def test_an_engine_without_a_source_serves_the_base_and_refuses_names() -> None:
    client = LocalClient(EngineSettings(), load=lambda: FakeModel(write=by_whom))
    try:
        (*_, last) = [event async for event in client.summarize(SummaryRequest(talk()))]
        assert last.result.adapter == "base"
        with pytest.raises(OptionNotHonoured, match="no adapter"):
            [event async for event in client.summarize(SummaryRequest(talk(), adapter="a1234"))]
    finally:
        await client.close()


async def test_a_refused_adapter_is_told_with_its_reason_and_the_one_before_goes_on(engine: Make) -> None:
    async with engine("aold", "anew", default="aold") as made:
        assert await made.writes() == "aold"
        made.model.refuse["anew"] = "its file is cut short"
        made.table.active["default"], made.table.before["default"] = "anew", ["aold"]
        await made.look()
        assert await made.writes() == "aold"
        health = await made.client.health()
        assert "anew was refused: its file is cut short" in health.detail
        assert "The adapter before it, aold, serves default." in health.detail
        assert health.adapters == ("aold",)
        with pytest.raises(AdapterError, match="cut short"):
            await made.writes(adapter="anew")


async def test_after_a_restart_the_one_before_stands_in_for_a_refused_adapter_and_the_wider_scope_comes_after(
    engine: Make,
) -> None:
    async with engine("ateam", "aolder", "aold", "anew", **{"slack:T1": "ateam", "slack:T1/C1": "anew"}) as made:
        made.table.before["slack:T1/C1"] = ["aold", "aolder"]
        made.model.refuse["anew"] = "one bit is flipped"
        assert await made.writes(in_channel()) == "aold", "it had never served in this process"
        assert "The adapter before it, aold, serves slack:T1/C1." in (await made.client.health()).detail
        assert await made.writes(in_channel(channel="C2")) == "ateam"
    async with engine("ateam", "aolder", "aold", "anew", **{"slack:T1": "ateam", "slack:T1/C1": "anew"}) as made:
        made.table.before["slack:T1/C1"] = ["aold", "aolder"]
        made.model.refuse |= {"anew": "one bit is flipped", "aold": "its file is cut short"}
        assert await made.writes(in_channel()) == "aolder"
        made.table.before["slack:T1/C1"] = ["aold"]
        await made.look()
        assert await made.writes(in_channel()) == "ateam"
        assert "The adapter ateam of slack:T1 serves slack:T1/C1." in (await made.client.health()).detail


async def test_a_watched_engine_has_what_stands_in_attached_before_anybody_asks(engine: Make, quick: None) -> None:
    async with engine("aold", "anew", watched=True) as made:
        made.model.refuse["anew"] = "it has the wrong rank"
        made.table.active["default"], made.table.before["default"] = "anew", ["aold"]
        await until(lambda: made.model.attached == ("aold",))


async def test_what_stands_in_stays_attached_before_visitors(engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine("aold", "anew", "aaa1", "aaa2", default="anew") as made:
        monkeypatch.setattr(made.service.serving, "_most", 2)
        made.table.before["default"] = ["aold"]
        made.model.refuse["anew"] = "it has the wrong rank"
        assert await made.writes() == "aold"
        for name in ("aaa1", "aaa2"):
            await made.writes(adapter=name)
        assert set(made.model.attached) == {"aold", "aaa2"}


async def test_without_one_before_the_wider_scope_serves_and_then_the_base(engine: Make) -> None:
    async with engine("ateam", "achan", **{"slack:T1": "ateam", "slack:T1/C1": "achan"}) as made:
        made.model.refuse["achan"] = "it is a symbolic link"
        assert await made.writes(in_channel()) == "ateam"
        assert "The adapter ateam of slack:T1 serves slack:T1/C1." in (await made.client.health()).detail
        made.model.refuse["ateam"] = "it is a symbolic link"
        made.table.active = {"slack:T1/C1": "achan"}
        await made.look()
        assert await made.writes(in_channel()) == "base"
        assert "The base model serves slack:T1/C1." in (await made.client.health()).detail


async def test_one_before_that_was_taken_out_since_does_not_go_on(engine: Make) -> None:
    async with engine("aold", "anew", default="aold") as made:
        assert await made.writes() == "aold"
        made.model.refuse["anew"] = "broken"
        made.table.active, made.table.available = {"default": "anew"}, ["aold", "anew"]  # rejected, say
        await made.look()
        assert await made.writes() == "base"


async def test_files_that_were_mended_are_taken_at_the_next_look(engine: Make) -> None:
    async with engine("anew", default="anew") as made:
        (made.table.folder / "anew").mkdir()
        made.model.refuse["anew"] = "its file is missing"
        assert await made.writes() == "base"
        made.model.refuse.clear()
        await made.look()
        assert await made.writes() == "base", "the same files were read again at once"
        (made.table.folder / "anew" / "file").write_text("mended")
        await made.look()
        assert await made.writes() == "anew"
        assert (await made.client.health()).detail == ""


async def test_a_request_ends_on_the_adapter_it_began_with(engine: Make) -> None:
    async with engine("aold", "anew", default="aold") as made:
        made.model.gate.clear()
        first = asyncio.create_task(made.writes())
        assert await asyncio.to_thread(made.model.started.wait, 10)
        made.table.active["default"], made.table.available = "anew", ["anew"]
        await made.look()
        second = asyncio.create_task(made.writes())
        await until(lambda: made.service.batcher.counts()[1] == 1)
        made.model.gate.set()
        assert (await first, await second) == ("aold", "anew")
        await made.service.serving._bring_about()
        assert made.model.attached == ("anew",), "one that is there no more stayed attached"


async def test_a_watched_promotion_and_rollback_need_no_request_to_come_into_effect(engine: Make, quick: None) -> None:
    async with engine("aone", "atwo", watched=True) as made:
        for name in ("aone", "atwo", "aone"):
            made.table.active["default"] = name
            await until(lambda name=name: made.service.serving._table.active.get("default") == name)
            await until(lambda name=name: name in made.model.attached)
            assert await made.writes() == name
        assert made.model.threads == {"redraft-model"}, "adapters were attached outside the worker's thread"


async def test_only_so_many_stay_attached_the_least_used_go_and_those_in_use_stay(
    engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"aaa{n}" for n in range(5)]
    async with engine(*names, default="aaa0") as made:
        monkeypatch.setattr(made.service.serving, "_most", 2)
        await made.writes()
        for name in names[1:4]:
            await made.writes(adapter=name)
        assert set(made.model.attached) == {"aaa0", "aaa3"}, "what is in service went before a visitor"
        made.model.gate.clear()
        held = [asyncio.create_task(made.writes(adapter=name)) for name in ("aaa3", "aaa0")]
        await until(lambda: made.service.batcher.counts() == (2, 0))
        third = asyncio.create_task(made.writes(adapter="aaa4"))
        await until(lambda: made.service.batcher.counts() == (2, 1))
        made.model.gate.set()
        assert await asyncio.gather(*held, third) == ["aaa3", "aaa0", "aaa4"]


async def test_one_that_is_wanted_while_another_is_taken_off_stays(
    engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine("aaa0", "aaa1", "aaa2", default="aaa0") as made:
        for name in ("aaa0", "aaa1", "aaa2"):
            await made.writes(adapter=name)
        ours = made.service.serving
        monkeypatch.setattr(ours, "_most", 1)  # two too many: the first to go is the one used longest ago
        between, leases = made.service.batcher.between, []

        async def meanwhile(work: Callable[[Any], Any]) -> Any:
            if not leases:
                leases.append(await ours.lease(SummaryRequest(talk(), adapter="aaa2")))
            return await between(work)

        monkeypatch.setattr(ours._models, "between", meanwhile)
        await ours._take_off()
        assert set(made.model.attached) == {"aaa0", "aaa2"}
        leases[0].release()


async def test_a_source_that_fails_is_told_and_the_engine_goes_on_with_the_last_table(engine: Make) -> None:
    async with engine("aone", default="aone") as made:
        assert await made.writes() == "aone"
        made.table.problem = StorageError("The database is locked.")
        await made.look()
        assert await made.writes() == "aone"
        assert "cannot be read at the moment" in (await made.client.health()).detail
        made.table.problem = None
        await made.look()
        assert (await made.client.health()).detail == ""


@pytest.mark.parametrize("turns", range(5))
async def test_a_watch_that_is_cancelled_just_as_the_source_answers_ends(
    engine: Make, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr(serving, "_EVERY_S", 0.01)
    async with engine("aone", default="aone") as made:
        asked, answer = threading.Event(), threading.Event()
        read = made.table.serving

        def slowly() -> ServingTable:
            asked.set()
            answer.wait(10)
            return read()

        monkeypatch.setattr(made.table, "serving", slowly)
        watching = asyncio.create_task(made.service.watch())
        await until(asked.is_set)
        answer.set()
        for thread in threading.enumerate():
            if thread.name == "redraft-adapters":
                thread.join(10)  # the event loop stands still, so that answer and cancellation reach it together
        for _ in range(turns):
            await asyncio.sleep(0)
        watching.cancel()
        done, _ = await asyncio.wait([watching], timeout=5)
        assert done, "the cancellation was lost"
        assert watching.cancelled()


async def test_a_source_that_hangs_holds_nobody_up(engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_PATIENCE_S", 0.05)
    async with engine("aone", default="aone") as made:
        assert await made.writes() == "aone"
        answer = threading.Event()
        plain = made.table.serving
        monkeypatch.setattr(made.table, "serving", lambda: (answer.wait(10), plain())[1])
        made.table.active.clear()
        for _ in range(3):
            await made.look()
            assert await made.writes() == "aone"
        answer.set()
        await made.look()
        assert await made.writes() == "base"
        assert made.table.looks == 2, "it was asked again before it had answered"


async def test_many_who_want_a_new_adapter_at_once_wait_for_one_attempt(engine: Make) -> None:
    async with engine("anew", default="anew") as made:
        prepared: list[Path] = []
        plain = made.model.prepare
        made.model.prepare = lambda directory: (prepared.append(directory), plain(directory))[1]  # type: ignore[method-assign]
        assert await asyncio.gather(*(made.writes() for _ in range(8))) == ["anew"] * 8
        assert len(prepared) == 1


async def test_a_fine_tune_gets_the_memory_requests_wait_with_a_message_and_are_served_after(
    engine: Make, quick: None
) -> None:
    async with engine("aone", watched=True, default="aone") as made:
        assert await made.writes() == "aone"
        made.wanted = True
        await until(lambda: made.service.batcher.away)
        assert made.model.unloaded
        health = await made.client.health()
        assert (health.held, health.model, health.adapters) == (True, None, ())
        assert "fine-tune" in health.detail
        events = made.client.summarize(SummaryRequest(talk()))
        first = await anext(events)
        assert isinstance(first, Queued)
        assert "as soon as it has ended" in first.message
        rest = asyncio.create_task(_rest(events))
        made.wanted = False
        (*told, last) = await asyncio.wait_for(rest, 10)
        assert isinstance(last, Finished)
        assert last.result.adapter == "aone"
        assert [event.message for event in told if isinstance(event, Queued)][-1:] in ([], [""])
        assert len(made.loads) == 2
        assert not (await made.client.health()).held


async def _rest(events: Any) -> list[Any]:
    return [event async for event in events]


async def test_a_request_under_way_goes_on_with_its_adapter_after_a_fine_tune_had_the_memory(
    engine: Make, quick: None
) -> None:
    async with engine("aone", watched=True, default="aone") as made:
        made.model.gate.clear()
        first = asyncio.create_task(made.writes())
        second = None
        try:
            assert await asyncio.to_thread(made.model.started.wait, 10)
            second = asyncio.create_task(made.writes())  # its adapter is leased, its row waits behind the hold
            await until(lambda: made.service.batcher.counts() == (1, 1))
            made.wanted = True
            await until(lambda: made.service.batcher.held)
            made.model.gate.set()
            assert await first == "aone"
            await until(lambda: made.service.batcher.away)
        finally:
            made.wanted = False
        assert await second == "aone"
        assert made.loads[-1].batches, "the model before was asked to write"


async def test_a_model_that_cannot_be_loaded_again_ends_the_engine_and_whoever_waits_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from engine import worker

    monkeypatch.setattr(worker, "_RELOAD_PAUSE_S", 0.01)
    models = [FakeModel(write=by_whom)]

    def load() -> FakeModel:
        if not models:
            raise ModelError("The memory is too small.")
        return models.pop()

    client = LocalClient(EngineSettings(), load=load)
    try:
        batcher = client._service.batcher
        await client._service.ready()
        batcher.hold(True)
        await until(lambda: batcher.away)
        waiting = asyncio.create_task(_rest(client.summarize(SummaryRequest(talk()))))
        await until(lambda: batcher.counts() == (0, 1))
        batcher.hold(False)
        assert "could not be loaded again" in await asyncio.wait_for(batcher.broke(), 10)
        with pytest.raises(EngineError, match="could not be loaded again"):
            await waiting
        with pytest.raises(EngineError, match="could not be loaded again"):
            await _rest(client.summarize(SummaryRequest(talk())))
    finally:
        await client.close()


async def test_closing_while_a_fine_tune_has_the_memory_ends_at_once(engine: Make, quick: None) -> None:
    async with engine(watched=True) as made:
        made.wanted = True
        await until(lambda: made.service.batcher.away)
        waiting = asyncio.create_task(made.writes())
        await until(lambda: made.service.batcher.counts() == (0, 1))
        async with asyncio.timeout(5):
            await made.client.close()
            with pytest.raises(EngineUnavailable):
                await waiting


async def test_summaries_are_counted_by_adapter_and_refusals_are(engine: Make) -> None:
    async with engine("aone", "abad", default="aone") as made:
        made.model.refuse["abad"] = "broken"
        for adapter in (None, None, "base"):
            await made.writes(adapter=adapter)
        with pytest.raises(AdapterError):
            await made.writes(adapter="abad")
        metrics = made.service._observer
        assert isinstance(metrics, Metrics)
        text = metrics.exposition(made.service).decode()
    assert 'redraft_summaries_total{adapter="aone"} 2.0' in text
    assert 'redraft_summaries_total{adapter="base"} 1.0' in text
    assert "redraft_adapter_refusals_total 1.0" in text
    assert "redraft_adapters 1.0" in text
