"""How the console's tests drive it: an app on a database, and waiting for what it does behind the keys."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC
from typing import Any

from textual import events
from textual.pilot import Pilot

from admin.console.app import ConsoleApp
from admin.console.store import Store
from admin.console.widgets.table import LiveTable
from admin.doctor import Finding
from tests.admin.console.seeding import MARIA, NOW

#: Workers that may be waiting for a person's answer.
_ASKING = ("ask", "act")
PATIENCE_S = 20.0
#: What a doctor might say; the real one asks the model libraries, which takes seconds.
FINDINGS = (
    Finding("Python", "ok", "3.11.7"),
    Finding("SQLite", "ok", "3.40.1, rollback journal (this version lacks the WAL-reset fix; slower writes, as safe)"),
    Finding("Model", "ok", "the starter model, a demonstration; `redraft init` chooses a real one"),
    Finding("Database", "ok", "whole, schema current"),
    Finding("Disk", "warn", "1.4 GB free", "Free some space, or move REDRAFT_HOME."),
    Finding("Backup", "warn", "9 days old", "Run `redraft backup DIR`."),
    Finding("Engine", "ok", "not running; `redraft up` starts it, `redraft summarize` does without"),
    Finding("Slack", "fail", "SLACK_APP_TOKEN is not set, and Slack needs both", "Set SLACK_APP_TOKEN."),
)


def console(first: str = "overview", *, by: str = MARIA, **given: Any) -> ConsoleApp:
    """A console as a test wants it: its clock stands still and nothing moves by itself."""
    read_only, pulse = given.pop("read_only", False), given.pop("pulse", False)
    given.setdefault("now", lambda: NOW)
    store = Store(by=by, read_only=read_only, now=given.pop("now"), zone=UTC, examine=lambda: FINDINGS)
    return ConsoleApp(store, first=first, pulse=pulse, **given)


async def settled(pilot: Pilot[Any]) -> None:
    """Until everything that was begun has ended, but for questions that wait for an answer."""
    app = pilot.app
    end = time.monotonic() + PATIENCE_S
    quiet = 0
    while quiet < 2:
        await pilot.pause()
        left = [
            worker
            for worker in app.workers
            if not worker.is_finished and not (worker.group in _ASKING and app.screen.is_modal)
        ]
        bare = [
            table
            for table in app.screen.query(LiveTable)
            if not table._laid_out and all(node.display for node in table.ancestors_with_self if node is not app)
        ]
        quiet = 0 if left or bare else quiet + 1
        if not left:
            await _passed_through(pilot)
        if left:
            await asyncio.wait([asyncio.ensure_future(_ended(worker)) for worker in left], timeout=0.02)
        assert time.monotonic() < end, f"still at it: {left}"


async def _passed_through(pilot: Pilot[Any]) -> None:
    """Until a key has gone its whole way: a busy machine has a pilot believe that nothing is left to do."""
    app = pilot.app
    # A table tells of its cursor by a message that climbs from widget to widget, each with a queue of its own.
    climbs = [node for table in app.screen.query(LiveTable) for node in table.ancestors_with_self]
    for pump in (app, app.screen, app.screen.focused, *climbs, app.screen, app):
        if pump is not None and pump.is_running:
            passed = asyncio.Event()
            pump.call_later(passed.set)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(passed.wait(), 1.0)


async def _ended(worker: Any) -> None:
    try:
        await worker.wait()
    except Exception:
        return


async def until(pilot: Pilot[Any], holds: Callable[[], bool], what: str) -> None:
    """Until something holds that a thread or another console brings about."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        await pilot.pause(0.01)
        assert time.monotonic() < end, f"waited in vain until {what}"


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Keys, each once what the one before began has ended."""
    for key in keys:
        await pilot.press(key)
        await _passed_through(pilot)
        await settled(pilot)


async def write(pilot: Pilot[Any], text: str) -> None:
    """Put a text where the cursor is, as a terminal that pastes does: a key press a letter takes seconds."""
    pilot.app.post_message(events.Paste(text))
    await _passed_through(pilot)
    await pilot.pause()


def screen_text(app: ConsoleApp) -> str:
    """What is on the screen, as text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in strips)


def said(app: ConsoleApp) -> list[str]:
    """What the console has told in passing, the newest last."""
    return [notification.message for notification in app._notifications]
