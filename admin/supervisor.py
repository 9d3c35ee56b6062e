"""Starts processes, starts them again when they die, and ends them in order.

A child that dies is started again after a delay that doubles up to :attr:`Backoff.most`, and is short again once the
child has been well for a while. A child that cannot start for good (it says why itself and ends with exit code
:data:`FOR_GOOD`, before it was ever ready) ends the whole. The first SIGTERM or SIGINT is passed on as SIGTERM, and
the children get their time to drain. Children end with their supervisor, also when that is killed
(:mod:`admin.guard`).

It knows nothing of what the children do, and of time only what it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import RedraftError

_log = logging.getLogger(__name__)

#: Where this program's packages are, for children of a checkout that is not installed.
_ROOT = Path(__file__).resolve().parent.parent
#: Exit code of a child that has said what is wrong, when starting it again would not help (sysexits' EX_CONFIG).
FOR_GOOD = 78
_RESTARTS, _REASON, _READY = "REDRAFT_RESTARTS", "REDRAFT_RESTART_REASON", "REDRAFT_READY_FD"


@dataclass(frozen=True, slots=True)
class Supervised:
    """What a child knows of its supervisor; by hand there is none.

    Attributes:
        restarts: how often the child was started again.
        detail: why it was last, one sentence, or an empty string.
        ready_fd: file descriptor on which to say that it is ready, or -1.
    """

    restarts: int = 0
    detail: str = ""
    ready_fd: int = -1

    @classmethod
    def of_environment(cls) -> Supervised:
        """From this process's environment, where the supervisor left it; for entry points."""
        restarts, descriptor = os.environ.get(_RESTARTS, ""), os.environ.get(_READY, "")
        return cls(
            restarts=int(restarts) if restarts.isdecimal() else 0,
            detail=os.environ.get(_REASON, ""),
            ready_fd=int(descriptor) if descriptor.isdecimal() else -1,
        )

    @staticmethod
    def without_descriptor(environment: Mapping[str, str]) -> dict[str, str]:
        """An environment for the same process begun anew, after it has said that it is ready.

        By then the descriptor's number may be another file's.
        """
        return {name: value for name, value in environment.items() if name != _READY}

    @property
    def present(self) -> bool:
        """Whether there is a supervisor."""
        return self.ready_fd >= 0

    def ready(self) -> None:
        """Tell the supervisor that this child does its work."""
        if self.ready_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self.ready_fd, b"\n")
                os.close(self.ready_fd)


class Clock:
    """Time as the supervisor sees it; tests have one of their own."""

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        await asyncio.sleep(seconds)

    async def wait(self, waited_for: Awaitable[object], seconds: float) -> bool:
        """Wait for something, but no longer than ``seconds``; whether it came."""
        try:
            async with asyncio.timeout(seconds):
                await waited_for
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class Backoff:
    """Delays before starting again, in seconds.

    Attributes:
        first: after the first death.
        most: never longer than this.
        healthy: a child that has been ready for as long counts as well: the next delay is ``first`` again.
    """

    first: float = 0.5
    most: float = 30.0
    healthy: float = 60.0
    _next: float = field(default=0.0, init=False)

    def after(self, well_for: float) -> float:
        """The delay after a child died that had been ready for ``well_for`` seconds (0: never)."""
        delay = self.first if well_for >= self.healthy or not self._next else self._next
        self._next = min(self.most, delay * 2)
        return min(self.most, delay)


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running.

    Attributes:
        name: what people call it (``engine``).
        command: program and arguments.
        tells: whether it says itself when it is ready (:meth:`Supervised.ready`); otherwise it counts as ready once
            it has run for ``settles`` seconds.
        settles: see ``tells``.
    """

    name: str
    command: Sequence[str]
    tells: bool = False
    settles: float = 10.0


class Supervisor:
    """Keeps children running until :meth:`stop`.

    Args:
        children: what to run.
        drain_seconds: how long a child may take to end after SIGTERM before it is killed.
        say: tells a person one sentence.
        clock: time.
        backoff: makes the delays of one child.
        environment: of the children; by default this process's own.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        drain_seconds: float,
        say: Callable[[str], None],
        clock: Clock | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._children = children
        self._drain_seconds = drain_seconds
        self._say = say
        self._clock = clock or Clock()
        self._backoff = backoff
        self._environment = dict(os.environ if environment is None else environment)
        self._stop = asyncio.Event()
        self._failed: RedraftError | None = None
        #: Process ids of the children that run now, by name.
        self.running: dict[str, int] = {}

    def stop(self) -> None:
        """End all children in order; :meth:`run` returns when they have ended."""
        self._stop.set()

    async def run(self) -> None:
        """Keep the children running until :meth:`stop`, or a signal when :meth:`stop_on_signals` was called.

        Raises:
            RedraftError: a child cannot start, and trying again would not help; the others have been ended.
        """
        await asyncio.gather(*(self._keep(child) for child in self._children))
        if self._failed is not None:
            raise self._failed

    def stop_on_signals(self) -> None:
        """End in order at SIGTERM, SIGINT and SIGHUP; from the running loop of the main thread."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)

    async def _keep(self, child: Child) -> None:
        backoff, restarts, reason, ever_ready = self._backoff(), 0, "", False
        while not self._stop.is_set():
            code, well_for, was_ready = await self._run_once(child, restarts, reason)
            ever_ready = ever_ready or was_ready
            if self._stop.is_set():
                return
            if code == FOR_GOOD and not ever_ready:
                # It has said why on standard error, and nothing will have changed in half a second.
                self._failed = RedraftError(f"The {child.name} could not start.", "It says why above.")
                self._stop.set()
                return
            restarts, reason = restarts + 1, _reason(child.name, code)
            delay = backoff.after(well_for)
            _log.warning("%s; starting it again in %.1f s (%d)", reason.rstrip("."), delay, restarts)
            self._say(f"{reason} Starting it again in {delay:g} s.")
            if await self._clock.wait(self._stop.wait(), delay):
                return

    async def _run_once(self, child: Child, restarts: int, reason: str) -> tuple[int, float, bool]:
        """Run a child until it ends: its exit code, how long it had been ready, and whether it ever was."""
        receiving, sending = os.pipe()
        os.set_blocking(receiving, False)
        environment = {**self._environment, _RESTARTS: str(restarts), _REASON: reason, _READY: str(sending)}
        # `python -m` would otherwise import a package of the working directory that is called `admin` or `bot`.
        environment["PYTHONSAFEPATH"] = "1"
        if _ROOT.name not in ("site-packages", "dist-packages"):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH"))))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "admin.guard", str(os.getpid()), *child.command),
                env=environment,
                pass_fds=(sending,),
                # Ctrl-C reaches the supervisor alone, which then ends the children in order.
                start_new_session=True,
            )
        finally:
            os.close(sending)
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(receiving, _hear, loop, receiving, ready)
        started = self._clock.now()
        ready_at: list[float] = []
        watching = asyncio.create_task(self._until_ready(child, ready, ready_at, started))
        self.running[child.name] = process.pid
        _log.info("started %s, process %d", child.name, process.pid)
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self._end(child, process, ending)
            code = await ending
            _hear(loop, receiving, ready)
            if child.tells and ready.is_set() and not ready_at:
                ready_at.append(self._clock.now())
            return code, self._clock.now() - ready_at[0] if ready_at else 0.0, bool(ready_at)
        finally:
            del self.running[child.name]
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)
            loop.remove_reader(receiving)
            os.close(receiving)

    async def _until_ready(self, child: Child, ready: asyncio.Event, ready_at: list[float], started: float) -> None:
        if child.tells:
            await ready.wait()
        else:
            await self._clock.sleep(child.settles)
        ready_at.append(self._clock.now())
        _log.info("%s is ready after %.1f s", child.name, self._clock.now() - started)

    async def _end(self, child: Child, process: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        if not await self._clock.wait(asyncio.shield(ending), self._drain_seconds):
            _log.warning("%s did not end in %.0f s and is killed", child.name, self._drain_seconds)
            self._say(f"The {child.name} did not end in {self._drain_seconds:g} s and is killed.")
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _hear(loop: asyncio.AbstractEventLoop, descriptor: int, ready: asyncio.Event) -> None:
    """Read what a child has said; it says one thing, then closes."""
    with contextlib.suppress(BlockingIOError):
        if os.read(descriptor, 16):
            ready.set()
        loop.remove_reader(descriptor)


def _reason(name: str, code: int) -> str:
    if code >= 0:
        return f"The {name} ended with exit code {code}."
    try:
        which = signal.Signals(-code).name
    except ValueError:
        which = f"signal {-code}"
    return f"The {name} was ended by {which}."
