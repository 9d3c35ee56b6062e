"""What the batcher promises: batches, fairness, cancellation, failure, the bounded queue, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Sequence

import pytest

from engine.batching import Batcher
from engine.protocols import Listener, Row
from engine.settings import EngineSettings
from engine.worker import BatchDone
from storage.errors import EngineBusy, EngineError, EngineUnavailable, ModelError
from tests.engine.fake_model import FakeModel


def row(prompt: str, tokens: int = 10, new: int = 4) -> Row:
    return Row(prompt, max_new_tokens=new, prompt_tokens=tokens)


@contextlib.asynccontextmanager
async def batching(model: FakeModel, **settings: int) -> AsyncIterator[Batcher]:
    batcher = Batcher(model, EngineSettings(**settings))  # type: ignore[arg-type]
    try:
        yield batcher
    finally:
        model.gate.set()
        await batcher.close()


async def until_started(model: FakeModel) -> None:
    assert await asyncio.to_thread(model.started.wait, 10)
    model.started.clear()


async def test_rows_submitted_together_run_as_one_batch_and_answer_in_order() -> None:
    model = FakeModel()
    async with batching(model) as batcher:
        handles = await batcher.submit([row("a"), row("b"), row("c")], "r")
        results = [await handle.result() for handle in handles]
    assert [result.text for result in results] == ["a0 a1 a2 a3", "b0 b1 b2 b3", "c0 c1 c2 c3"]
    assert model.batches == [["a", "b", "c"]]
    assert model.threads == {"redraft-model"}


async def test_requests_that_arrive_together_at_an_idle_engine_share_the_first_batch() -> None:
    model = FakeModel()
    async with batching(model) as batcher:

        async def ask(name: str) -> str:
            (handle,) = await batcher.submit([row(name)], name)
            return (await handle.result()).text

        await asyncio.gather(*(ask(f"n{index}") for index in range(16)))
    assert [len(batch) for batch in model.batches] == [16]


async def test_rows_that_arrive_while_a_batch_runs_form_the_next_one() -> None:
    model = FakeModel()
    async with batching(model) as batcher:
        model.gate.clear()
        first = await batcher.submit([row("first")], "1")
        await until_started(model)
        later = [*await batcher.submit([row("second")], "2"), *await batcher.submit([row("third")], "3")]
        assert [handle.ahead for handle in (*first, *later)] == [0, 1, 2]
        model.gate.set()
        for handle in (*first, *later):
            await handle.result()
    assert model.batches == [["first"], ["second", "third"]]


async def test_text_streams_growing_and_ends_with_the_final_text() -> None:
    model = FakeModel()
    async with batching(model) as batcher:
        (handle,) = await batcher.submit([row("w", new=50)], "r")
        texts = [text async for text in handle.texts()]
        final = (await handle.result()).text
    assert texts[-1] == final
    assert all(later.startswith(before) and later != before for before, later in itertools.pairwise(texts))


async def test_many_steps_cost_few_wake_ups_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeModel()
    loop = asyncio.get_running_loop()
    calls = 0
    plain = loop.call_soon_threadsafe

    def counted(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        return plain(*arguments, **named)  # type: ignore[arg-type]

    async with batching(model) as batcher:
        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        handles = await batcher.submit([row(f"p{index}", new=60) for index in range(32)], "r")
        for handle in handles:
            await handle.result()
        monkeypatch.undo()
    # 32 rows of 60 steps are 1,952 pieces of news.
    assert calls < 200


async def test_a_huge_request_does_not_hold_up_a_small_one() -> None:
    model = FakeModel()
    async with batching(model, engine_max_batch=8) as batcher:
        model.gate.clear()
        huge = await batcher.submit([row(f"part{index}", tokens=500) for index in range(200)], "huge")
        await until_started(model)
        small = [(await batcher.submit([row(f"small{index}", tokens=20)], f"s{index}"))[0] for index in range(3)]
        model.gate.set()
        for handle in small:
            await handle.result()
        when = [next(n for n, batch in enumerate(model.batches) if f"small{index}" in batch) for index in range(3)]
        assert max(when) <= 3
        assert (await huge[-1].result()).text


async def test_similar_lengths_go_together_and_the_token_bound_holds_with_padding() -> None:
    model = FakeModel()
    lengths = {f"x{index}": length for index, length in enumerate([400, 20, 390, 25, 410, 30, 380, 22])}
    async with batching(model, engine_max_batch=8, engine_max_batch_tokens=1600) as batcher:
        handles = []
        for name, length in lengths.items():
            handles += await batcher.submit([row(name, tokens=length)], name)
        for handle in handles:
            await handle.result()
    assert len(model.batches) == 3
    for batch in model.batches:
        tokens = [lengths[name] for name in batch]
        assert len(batch) * max(tokens) <= 1600
        assert max(tokens) < 2 * min(tokens)


async def test_a_row_longer_than_the_bound_goes_alone() -> None:
    model = FakeModel()
    async with batching(model, engine_max_batch_tokens=512) as batcher:
        handles = await batcher.submit([row("long", tokens=900), row("short", tokens=100)], "r")
        for handle in handles:
            await handle.result()
    assert model.batches == [["long"], ["short"]]


async def test_a_cancelled_row_in_the_queue_is_answered_at_once_and_never_runs() -> None:
    model = FakeModel()
    async with batching(model) as batcher:
        model.gate.clear()
        (running,) = await batcher.submit([row("running")], "1")
        await until_started(model)
        (waiting,) = await batcher.submit([row("waiting")], "2")
        waiting.cancel()
        assert (await asyncio.wait_for(waiting.result(), 5)).stopped == "cancelled"
        waiting.cancel()
        model.gate.set()
        await running.result()
        (after,) = await batcher.submit([row("after")], "3")
        await after.result()
    assert model.batches == [["running"], ["after"]]


async def test_a_cancelled_row_in_a_batch_leaves_it_and_the_others_are_unharmed() -> None:
    model = FakeModel()
    async with batching(model) as batcher:
        model.gate.clear()
        left, kept = await batcher.submit([row("left", new=30), row("kept", new=30)], "r")
        await until_started(model)
        left.cancel()
        model.gate.set()
        cancelled = await left.result()
        assert cancelled.stopped == "cancelled"
        assert cancelled.output_tokens < 30
        assert len((await kept.result()).text.split()) == 30


async def test_a_finished_row_is_answered_before_its_batch_is_over() -> None:
    model = FakeModel()
    held = threading.Event()

    class Holding(FakeModel):
        def generate(self, rows: Sequence[Row], listener: Listener) -> None:
            plain = listener.finished

            def finished(index: int, generated: object) -> None:
                plain(index, generated)  # type: ignore[arg-type]
                if index == 0:
                    held.wait(10)

            listener.finished = finished  # type: ignore[method-assign]
            super().generate(rows, listener)

    model = Holding()
    async with batching(model) as batcher:
        short, long = await batcher.submit([row("short", new=2), row("long", new=40)], "r")
        assert (await asyncio.wait_for(short.result(), 5)).text == "short0 short1"
        held.set()
        assert (await long.result()).output_tokens == 40


async def test_a_failed_batch_fails_its_rows_with_a_sentence_and_the_worker_lives_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = FakeModel()

    def fail(prompts: list[str]) -> None:
        if "bad" in prompts:
            raise ValueError(f"cannot read {prompts}")

    model.fail = fail
    async with batching(model) as batcher:
        handles = await batcher.submit([row("bad"), row("some secret words")], "r")
        for handle in handles:
            with pytest.raises(EngineError, match="failed while it wrote"):
                await handle.result()
            assert [text async for text in handle.texts()] == []
        (good,) = await batcher.submit([row("good")], "s")
        assert (await good.result()).text
    assert "a batch of 2 rows failed" in caplog.text
    assert "ValueError" in caplog.text
    assert "secret words" not in caplog.text + "".join(str(record.__dict__) for record in caplog.records)


class AcceleratorError(RuntimeError):
    """Named as torch's own, which has it from 2.8 on; the batcher knows no torch."""


@pytest.mark.parametrize(
    ("cause", "lost"),
    [
        (AcceleratorError("device-side assert triggered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), True),
        (AcceleratorError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), False),
        (RuntimeError("the sizes of the tensors do not match"), False),
    ],
)
@pytest.mark.parametrize("told", [True, False], ids=["as a sentence", "raw"])
async def test_only_a_lost_device_is_told_as_broken_and_no_halves_are_tried_on_it(
    cause: Exception, lost: bool, told: bool
) -> None:
    model = FakeModel()

    def fail(prompts: list[str]) -> None:
        if told:
            raise EngineError("The model failed while writing.") from cause
        raise cause

    model.fail = fail
    async with batching(model) as batcher:
        handles = await batcher.submit([row("a"), row("b")], "r")
        for handle in handles:
            with pytest.raises(EngineError, match="failed while"):
                await handle.result()
        if lost:
            await asyncio.wait_for(batcher.broke(), 10)
        assert bool(batcher.broken) is lost
    assert len(model.batches) == (3 if told and not lost else 1)


async def test_one_row_that_the_model_refuses_does_not_fail_its_batch() -> None:
    model = FakeModel()

    def refuse(prompts: list[str]) -> None:
        if "p5" in prompts:
            raise EngineError("The prompt has 900 tokens, and the model reads 512.", "Shorten it.")

    model.fail = refuse
    async with batching(model) as batcher:
        handles = [(await batcher.submit([row(f"p{n}")], f"r{n}"))[0] for n in range(8)]
        outcomes = await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, EngineError)] == [5]
    assert [outcome.text for outcome in outcomes[:2] if not isinstance(outcome, BaseException)] == [
        "p00 p01 p02 p03",
        "p10 p11 p12 p13",
    ]


async def test_beyond_the_queue_limit_the_engine_is_busy_and_says_how_many_are_ahead() -> None:
    model = FakeModel()
    async with batching(model, engine_queue_limit=2) as batcher:
        model.gate.clear()
        handles = list(await batcher.submit([row("running")], "0"))
        await until_started(model)
        for key in ("1", "2"):
            handles += await batcher.submit([row(f"waits{key}")], key)
        with pytest.raises(EngineBusy) as busy:
            await batcher.submit([row("refused")], "3")
        assert busy.value.ahead == 3
        handles += await batcher.submit([row("more of an admitted one")], "1")
        assert batcher.counts() == (1, 2)
        model.gate.set()
        for handle in handles:
            await handle.result()
        (again,) = await batcher.submit([row("again")], "3")
        await again.result()
    assert batcher.counts() == (0, 0)


async def test_an_admitted_request_keeps_its_place_between_its_parts_and_its_merge() -> None:
    model = FakeModel()
    async with batching(model, engine_queue_limit=1) as batcher:
        admission = batcher.admit()
        (part,) = await batcher.submit([row("part")], admission.key)
        await part.result()
        model.gate.clear()
        other = batcher.admit()
        assert other.ahead() == 1
        (merge,) = await batcher.submit([row("merge")], admission.key)
        admission.release()
        await asyncio.wait_for(other.moved(), 5)
        assert other.ahead() == 0
        assert (await asyncio.wait_for(merge.result(), 5)).stopped == "cancelled"
        other.release()
        other.release()
    assert batcher.counts() == (0, 0)


async def test_draining_refuses_new_requests_and_finishes_those_under_way() -> None:
    model = FakeModel()
    batcher = Batcher(model, EngineSettings())
    model.gate.clear()
    (handle,) = await batcher.submit([row("running", new=6)], "1")
    await until_started(model)
    draining = asyncio.create_task(batcher.drain(20))
    while not batcher.draining:
        await asyncio.sleep(0)
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await batcher.submit([row("new")], "2")
    model.gate.set()
    assert len((await handle.result()).text.split()) == 6
    assert await draining is True
    await batcher.close()


async def test_what_does_not_finish_in_time_ends_as_unavailable() -> None:
    model = FakeModel()
    batcher = Batcher(model, EngineSettings())
    model.gate.clear()
    admission = batcher.admit()
    (handle,) = await batcher.submit([row("running")], admission.key)
    await until_started(model)
    draining = asyncio.create_task(batcher.drain(0.01))
    assert await draining is False
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(EngineUnavailable):
        await handle.result()
    model.gate.set()
    assert await closing is True


async def test_a_model_that_cannot_be_loaded_is_told_to_everyone_who_waits() -> None:
    asked = threading.Event()

    def load() -> FakeModel:
        asked.wait(10)
        raise ModelError("There is no model.", "Choose one.")

    batcher = Batcher.loading(load, EngineSettings())
    (handle,) = await batcher.submit([row("a")], "1")
    asked.set()
    with pytest.raises(ModelError, match="no model"):
        await handle.result()
    with pytest.raises(ModelError, match="no model"):
        await batcher.model()
    with pytest.raises(ModelError):
        await batcher.submit([row("a")], "2")
    await batcher.close()


async def test_ten_thousand_prompts_are_held_once_and_let_go_when_written() -> None:
    class Text(str):
        """A string that can be watched."""

    model = FakeModel(write=lambda row: "w")
    seen: list[BatchDone] = []
    batcher = Batcher(model, EngineSettings(engine_max_batch=512), on_batch=seen.append)
    prompts = [Text(f"{index:05d} " + "x" * 50) for index in range(10_000)]
    references = [sys.getrefcount(prompt) for prompt in prompts[:3]]
    watched = [weakref.ref(prompt) for prompt in prompts[::500]]
    model.gate.clear()
    handles = await batcher.submit([Row(prompt, 4, prompt_tokens=2) for prompt in prompts], "r")
    # In the queue a prompt is referred to by its row and copied nowhere.
    assert [sys.getrefcount(prompt) for prompt in prompts[-3:]] == [count + 1 for count in references]
    del prompts
    model.gate.set()
    model.batches = _Forgetful()
    for handle in handles:
        await handle.result()
    await batcher.close()
    gc.collect()
    assert sum(done.rows for done in seen) == 10_000
    assert [reference() for reference in watched if reference() is not None] == []


class _Forgetful(list[list[str]]):
    def append(self, item: list[str]) -> None:
        pass
