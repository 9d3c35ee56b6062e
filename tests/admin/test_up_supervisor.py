"""What the supervisor promises, with small real processes and a clock of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from admin.supervisor import FOR_GOOD, Backoff, Child, Clock, Supervised, Supervisor
from storage.errors import RedraftError

RUNS_UNTIL_TOLD = """
import signal, sys, pathlib
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({path!r}).with_suffix(".ended").touch(), sys.exit(0)))
{before}
pathlib.Path({path!r}).touch()
signal.pause()
"""


class FakeClock(Clock):
    """Time that passes only when a test says so, or at once for whoever waits for a restart."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waited: list[float] = []

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()

    async def wait(self, waited_for: Awaitable[object], seconds: float) -> bool:
        self.waited.append(seconds)
        waiting = asyncio.ensure_future(waited_for)
        await asyncio.sleep(0)
        if waiting.done():
            return True
        waiting.cancel()
        self.seconds += seconds
        return False


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def waiting_child(name: str, path: Path, before: str = "") -> Child:
    return Child(name, python(RUNS_UNTIL_TOLD.format(path=str(path), before=before)))


def supervisor(*children: Child, clock: Clock | None = None, drain: float = 20.0) -> tuple[Supervisor, list[str]]:
    said: list[str] = []
    return Supervisor(children, drain_seconds=drain, say=said.append, clock=clock), said


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_delays_double_up_to_the_most_and_are_short_again_after_a_healthy_while() -> None:
    backoff = Backoff(first=0.5, most=30.0, healthy=60.0)
    assert [backoff.after(0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert backoff.after(59.9) == 30
    assert [backoff.after(60), backoff.after(0), backoff.after(0)] == [0.5, 1, 2]


async def test_a_child_that_dies_is_started_again_and_told_how_often_and_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import os, pathlib, signal\n"
        f"log = pathlib.Path({str(log)!r})\n"
        "n = os.environ['REDRAFT_RESTARTS']\n"
        "log.open('a').write(n + ' ' + os.environ['REDRAFT_RESTART_REASON'] + '\\n')\n"
        "if n == '0': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if n != '3': raise SystemExit(5)\n"
        "signal.pause()"
    )
    clock = FakeClock()
    keeper, said = supervisor(Child("engine", python(code)), clock=clock)
    running = asyncio.create_task(keeper.run())
    await until(lambda: log.exists() and log.read_text().count("\n") == 4)
    keeper.stop()
    await running
    lines = log.read_text().splitlines()
    assert lines[0] == "0 "
    assert lines[1] == "1 The engine was ended by SIGKILL."
    assert lines[2] == "2 The engine ended with exit code 5."
    assert clock.waited[:3] == [0.5, 1.0, 2.0]
    assert said[0] == "The engine was ended by SIGKILL. Starting it again in 0.5 s."


async def test_a_child_that_cannot_start_for_good_ends_all_with_a_sentence(tmp_path: Path) -> None:
    other = tmp_path / "other"
    waits = (
        f"import pathlib, signal\np = pathlib.Path({str(other)!r})\n"
        f"while not p.exists(): signal.sigtimedwait([], 0.01)\nraise SystemExit({FOR_GOOD})"
    )
    keeper, _ = supervisor(waiting_child("bot", other), Child("engine", python(waits)))
    with pytest.raises(RedraftError, match="The engine could not start"):
        await asyncio.wait_for(keeper.run(), 30)
    assert other.with_suffix(".ended").exists()
    assert keeper.running == {}


async def test_one_that_had_been_ready_is_started_again_even_then(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import os, pathlib, signal\n"
        "from admin.supervisor import Supervised\n"
        "me = Supervised.of_environment()\n"
        f"pathlib.Path({str(log)!r}).open('a').write(f'{{me.restarts}}\\n')\n"
        "me.ready()\n"
        f"if me.restarts == 0: raise SystemExit({FOR_GOOD})\n"
        "signal.pause()"
    )
    keeper, _ = supervisor(Child("engine", python(code), tells=True), clock=FakeClock())
    running = asyncio.create_task(keeper.run())
    await until(lambda: log.exists() and log.read_text() == "0\n1\n")
    keeper.stop()
    await running


async def test_stopping_tells_all_children_to_end_and_waits_for_them(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    keeper, _ = supervisor(waiting_child("one", one), waiting_child("two", two))
    running = asyncio.create_task(keeper.run())
    await until(lambda: one.exists() and two.exists())
    pids = list(keeper.running.values())
    keeper.stop()
    await running
    assert one.with_suffix(".ended").exists()
    assert two.with_suffix(".ended").exists()
    assert all(gone(pid) for pid in pids)


async def test_a_child_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    deaf = (
        "import pathlib, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(there)!r}).touch()\nsignal.pause()"
    )
    keeper, said = supervisor(Child("engine", python(deaf)), drain=0.05)
    running = asyncio.create_task(keeper.run())
    await until(there.exists)
    pid = keeper.running["engine"]
    keeper.stop()
    await asyncio.wait_for(running, 30)
    assert said == ["The engine did not end in 0.05 s and is killed."]
    assert gone(pid)


async def test_a_working_directory_with_packages_of_our_names_does_not_get_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "__init__.py").write_text("raise RuntimeError('somebody else')")
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "there"
    keeper, said = supervisor(waiting_child("engine", there, "import admin.supervisor"))
    running = asyncio.create_task(keeper.run())
    await until(lambda: there.exists() or bool(said))
    keeper.stop()
    await running
    assert said == []


async def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    child = RUNS_UNTIL_TOLD.format(path=str(there), before="")
    code = (
        "import asyncio, sys\nfrom admin.supervisor import Child, Supervisor\n"
        f"child = Child('engine', [sys.executable, '-c', {child!r}])\n"
        "async def main():\n"
        "    keeper = Supervisor([child], drain_seconds=5, say=print)\n"
        "    running = asyncio.create_task(keeper.run())\n"
        "    while not keeper.running: await asyncio.sleep(0.01)\n"
        "    print(keeper.running['engine'], flush=True)\n"
        "    await running\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *python(code), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 30))
    await until(there.exists)
    process.kill()
    await process.wait()
    await until(lambda: gone(pid))
    # It was asked to end, not shot.
    assert there.with_suffix(".ended").exists()


def test_a_process_started_by_hand_has_no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDRAFT_RESTARTS", "REDRAFT_RESTART_REASON", "REDRAFT_READY_FD"):
        monkeypatch.delenv(name, raising=False)
    me = Supervised.of_environment()
    assert me == Supervised(0, "", -1)
    assert not me.present
    me.ready()


def test_the_guard_gives_up_when_the_parent_is_gone_already() -> None:
    from admin import guard

    if os.fork() == 0:  # in the child, so that the kernel's promise does not hold for the test run
        try:
            guard.main(["1", sys.executable, "-c", "raise SystemExit(3)"])
        except SystemExit as end:
            os._exit(0 if not end.code else 4)
        os._exit(5)
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == (0 if os.getpid() != 1 and sys.platform == "linux" else 3)
