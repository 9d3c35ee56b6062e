"""The chat platforms of this process: connected, their jobs worked off together, ended in good order.

Each platform is a service that says how its jobs are done (:class:`Service`); intake and runner are one for all. A
platform that cannot be reached at start is tried again, with the others going on; one whose token is refused ends the
process with a sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from bot.jobs import Handler, Intake, Later, Runner, Working
from storage.database import Database
from storage.errors import RedraftError

#: Jobs of the lane that does not wait for the model, at once.
_LIGHT = 16
_MOST_WAIT_S = 60.0


class Service(Protocol):
    """A platform in this process."""

    async def connect(self) -> Mapping[tuple[str, str], Handler]:
        """Learn who we are there; what does the platform's jobs.

        Raises:
            SettingsError: the token is refused.
            Later: the platform cannot be reached at the moment.
        """
        ...

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            SettingsError: the token is refused.
        """
        ...

    async def failed(self, working: Working, error: RedraftError | None) -> None:
        """Tell somebody that their job could not be done."""
        ...

    def figures(self) -> Mapping[str, float]:
        """How the connection is; see :data:`bot.health.Figures`."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class Chats:
    """All platforms together.

    Args:
        services: by platform; each is given the intake when it is made.
        at_once: summaries under way at once.
    """

    def __init__(
        self, database: Database, services: Callable[[Intake], Mapping[str, Service]], *, at_once: int
    ) -> None:
        self._database, self._at_once = database, at_once
        self._runner: Runner | None = None
        self.intake = Intake(database, self._wake)
        self.services = services(self.intake)
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._log = structlog.get_logger("chats")

    def _wake(self) -> None:
        if self._runner is not None:
            self._runner.wake()

    @property
    def jobs_running(self) -> int:
        """Jobs under way in this process."""
        return self._runner.running if self._runner is not None else 0

    def figures(self) -> Mapping[str, Mapping[str, float]]:
        """How each platform's connection is."""
        return {name: service.figures() for name, service in self.services.items()}

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: a platform refuses its token.
        """
        # The runner reads the handlers anew at each look, so that a platform which is late joins it.
        self._runner = Runner(
            self._database, self._handlers, failed=self._failed, lanes={"summary": self._at_once, "light": _LIGHT}
        )
        tasks = [asyncio.create_task(self._serve(name, service)) for name, service in self.services.items()]
        self._runner.start()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancelled(tasks)
            await self._runner.stop()
            for service in self.services.values():
                await service.close()

    async def _serve(self, name: str, service: Service) -> None:
        wait = 1.0
        while True:
            try:
                self._handlers.update(await service.connect())
                break
            except Later as later:
                self._log.warning("a platform cannot be reached", platform=name)
                await asyncio.sleep(max(wait, min(later.seconds, _MOST_WAIT_S)))
                wait = min(2 * wait, _MOST_WAIT_S)
        self._wake()
        await service.run()

    async def _failed(self, working: Working, error: RedraftError | None) -> None:
        await self.services[working.job.platform].failed(working, error)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
