"""Adapters swapped under load: every answer is what its reported adapter writes alone, and none fails.

The whole in-process engine runs with a tiny real model and room for two adapters among three, so that each swap also
attaches one and takes another off. Who asks never pauses, and a swap counts once an answer by its adapter has come.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from engine import serving
from engine.conversation import Conversation
from engine.local import LocalClient
from engine.requests import Finished, SummaryRequest
from engine.settings import EngineSettings
from tests.engine.adapter_source import Table
from tests.engine.processes import talk

FULL_ROUNDS = 200
_ASKERS = 4
_CONVERSATIONS = (2, 3, 5)
#: A swap that has no answer after so many seconds has none.
_PATIENCE_S = 20.0


def run(rounds: int, seed: int) -> dict[str, object]:
    """Swap so many times.

    Raises:
        AssertionError: a request failed, or an answer is not its adapter's.
    """
    from engine.model.loading import load
    from tests.engine.model.lora import make_adapter
    from tests.engine.tiny import make

    with tempfile.TemporaryDirectory() as folder:
        model = make("bart", Path(folder) / "tiny")
        settings = EngineSettings(
            engine_model=str(model), engine_device="cpu", engine_threads=1, engine_expand="always",
            engine_max_new_tokens=12,
        )  # fmt: skip
        loaded = load(settings)
        adapters = Path(folder) / "adapters"
        names = [make_adapter(loaded, adapters, seed).id for seed in (1, 2, 3)]
        client = LocalClient(settings, load=lambda: loaded, adapters=(table := Table(adapters, *names)))
        client._service.serving._most = 2
        return asyncio.run(_swaps(client, table, names, rounds, random.Random(seed)))


async def _swaps(
    client: LocalClient, table: Table, names: list[str], rounds: int, chance: random.Random
) -> dict[str, object]:
    conversations = [talk(messages) for messages in _CONVERSATIONS]
    right = {
        (each.messages, adapter): await _written(client, each, adapter)
        for each in conversations
        for adapter in ("base", *names)
    }
    by_each = {tuple(right[each.messages, name] for each in conversations) for name in ("base", *names)}
    assert len(by_each) == 1 + len(names), "the adapters of this test do not tell themselves apart"
    answers: dict[str, int] = dict.fromkeys(("base", *names), 0)
    came = asyncio.Event()
    over = False

    async def ask(which: int) -> None:
        number = which
        while not over:
            number += 1
            conversation = conversations[number % len(conversations)]
            # One in five asks for an adapter by name, whatever serves.
            asked = chance.choice(("base", *names)) if number % 5 == 0 else None
            text, adapter = await _answer(client, conversation, asked)
            assert asked in (None, adapter), f"{asked} was asked for and {adapter} wrote"
            assert text == right[conversation.messages, adapter], f"not what {adapter} writes alone"
            answers[adapter] += asked is None
            came.set()

    every, serving._EVERY_S = serving._EVERY_S, 0.01
    watching = asyncio.create_task(client._service.watch())
    askers = [asyncio.create_task(ask(which)) for which in range(_ASKERS)]
    seconds: list[float] = []
    try:
        active = "base"
        for _ in range(rounds):
            active = chance.choice([name for name in ("base", *names) if name != active])
            table.active = {} if active == "base" else {"default": active}
            seconds.append(await _until_it_writes(active, answers, came, askers))
    finally:
        over = True
        serving._EVERY_S = every
        results = await asyncio.gather(*askers, return_exceptions=True)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        attached = client._service.serving.attached
        await client.close()
    for result in results:
        if isinstance(result, BaseException):
            raise AssertionError(f"a request failed during swaps: {result}") from result
    assert len(attached) <= 2 + 1, f"{len(attached)} adapters stayed attached"
    return {"swaps": rounds, "answers": sum(answers.values()), "failed": 0, "slowest_s": round(max(seconds), 2)}


async def _until_it_writes(
    active: str, answers: dict[str, int], came: asyncio.Event, askers: list[asyncio.Task[None]]
) -> float:
    start, before = time.monotonic(), answers[active]
    while answers[active] == before:
        came.clear()
        waiting = asyncio.create_task(came.wait())
        done, _ = await asyncio.wait({waiting, *askers}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in done - {waiting}:
            task.result()  # an asker only ends by failing
        assert done, f"{active} was made active and never wrote"
        assert time.monotonic() - start < _PATIENCE_S, f"{active} was made active and never wrote"
    return time.monotonic() - start


async def _answer(client: LocalClient, conversation: Conversation, adapter: str | None) -> tuple[str, str]:
    async with aclosing(client.summarize(SummaryRequest(conversation, adapter=adapter))) as events:
        async for event in events:
            if isinstance(event, Finished):
                return event.result.summary, event.result.adapter
    raise AssertionError("a request ended without an answer")


async def _written(client: LocalClient, conversation: Conversation, adapter: str) -> str:
    text, by = await _answer(client, conversation, adapter)
    assert by == adapter
    return text
