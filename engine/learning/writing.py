"""Having one system after another write its summaries of held-out conversations, through whatever engine there is.

A few requests at a time, so that people's own requests find room beside them; a full queue is waited for, a lost engine
tried again a few times. A summary that fails alone counts as empty, and is counted; many are a failure of the whole. It
knows neither database nor metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from engine.learning.heldout import Held
from engine.protocols import EngineClient
from engine.requests import Finished, SummaryRequest
from storage.errors import EngineBusy, EngineError, EngineUnavailable, OptionNotHonoured, RedraftError

#: Requests under way at once; a model's batch is filled, and its queue (64) is not.
CONCURRENT = 12
#: How often a lost engine, and a full queue, are tried again, a pause between.
_LOST, _BUSY = 6, 600
_PAUSE_S = 2.0
#: Share of a system's summaries that may fail before the evaluation does, and how many may in any case.
_FAILED_SHARE, _FAILED_ANYHOW = 0.1, 2

Tell = Callable[[str], None]
Pause = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Written:
    """What one system wrote, in the order of the conversations; what failed is empty.

    Attributes:
        failed: how many summaries failed.
        refused: positions of the conversations whose options the model cannot honour.
    """

    texts: list[str]
    failed: int = 0
    refused: set[int] = field(default_factory=set)


class Writer:
    """Has summaries written and remembers them: no system is asked twice for the same.

    Args:
        client: the engine.
        tell: hears how far it is.
        pause: waits for so many seconds.
    """

    def __init__(self, client: EngineClient, *, tell: Tell | None = None, pause: Pause = asyncio.sleep) -> None:
        self._client = client
        self._tell = tell or (lambda sentence: None)
        self._pause = pause
        self._known: dict[tuple[str, Held], str] = {}

    async def write(self, held: Sequence[Held], *, adapter: str, name: str) -> Written:
        """The summaries of all conversations by one adapter (or ``base``).

        Args:
            name: what progress and errors call the system.

        Raises:
            EngineUnavailable: no engine answers, after some tries.
            EngineError: too many summaries failed.
        """
        found = Written([""] * len(held))
        problems: list[RedraftError] = []
        places = asyncio.Semaphore(CONCURRENT)
        most = max(_FAILED_ANYHOW, int(_FAILED_SHARE * len(held)))
        done = 0

        async def one(at: int) -> None:
            nonlocal done
            async with places:
                try:
                    found.texts[at] = await self._summary(held[at], adapter)
                except EngineUnavailable:
                    raise
                except OptionNotHonoured as error:
                    if adapter == "base":
                        found.refused.add(at)
                    else:
                        problems.append(error)
                except RedraftError as error:
                    problems.append(error)
                if len(problems) > most:
                    raise EngineError(
                        f"{len(problems)} of {len(held)} summaries by {name} failed, too many to measure: "
                        f"{problems[-1].message}",
                        problems[-1].hint,
                    )
            done += 1
            self._tell(f"Summaries by {name}: {done} of {len(held)}.")

        tasks = [asyncio.create_task(one(at)) for at in range(len(held))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        found.failed = len(problems)
        return found

    async def _summary(self, held: Held, adapter: str) -> str:
        key = (adapter, held)
        if key not in self._known:
            self._known[key] = await self._asked(held.request(adapter))
        return self._known[key]

    async def _asked(self, request: SummaryRequest) -> str:
        busy = lost = 0
        while True:
            try:
                return await self._finished(request)
            except EngineBusy:
                busy += 1
                if busy > _BUSY:
                    raise
            except EngineUnavailable:
                lost += 1
                if lost > _LOST:
                    raise
            await self._pause(_PAUSE_S)

    async def _finished(self, request: SummaryRequest) -> str:
        summary: str | None = None
        # To its end, not to the last event: what is left half-read would be closed who knows when.
        async for event in self._client.summarize(request):
            if isinstance(event, Finished):
                summary = event.result.summary
        if summary is None:
            raise EngineError("The engine ended without a summary.", "Try again; its log says more.")
        return summary
