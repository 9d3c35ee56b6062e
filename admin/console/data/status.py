"""How everything stands, for the line at the top of every screen: the engine, the chats, what waits, what runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from admin.console import words
from admin.console.store import Store, in_thread
from storage.errors import RedraftError

if TYPE_CHECKING:
    from engine.requests import Health
    from storage.presence import Connection

#: An engine's beginning is reckoned from how long it says it is up: it wanders by this much.
_WANDERS = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands.

    Attributes:
        engine: as it says itself.
        since: since when it is so; of one that is down, since this console has seen it.
        chats: by platform, where a bot has said anything.
        pending: pairs that wait for approval.
        alerts: alerts that stand.
        run: the fine-tune that is under way, as ``(id, step, steps)``, or None.
        problem: what is wrong with the database, in a sentence, or empty.
    """

    engine: Health
    since: datetime
    chats: dict[str, Connection] = field(default_factory=dict)
    pending: int = 0
    alerts: int = 0
    run: tuple[str, int, int] | None = None
    problem: str = ""


async def status(store: Store, before: Status | None) -> Status:
    """How everything stands now; never raises for what is away."""
    from storage.home import Home
    from storage.presence import read

    now = store.now()
    try:
        home = Home.at(await in_thread(store.storage_settings))
    except RedraftError as error:
        from engine.requests import Health

        return Status(Health("down"), now, problem=error.message)
    health = await store.link.health(home)
    since = now - timedelta(seconds=round(health.uptime_s)) if health.state != "down" else now
    if before is not None and before.engine.state == health.state:
        same = health.state == "down" or abs(before.since - since) < _WANDERS
        since = before.since if same else since
    found = Status(replace(health, uptime_s=0.0), since, chats=read(home, now=store.clock))
    try:
        pending, alerts, run = await in_thread(lambda: _counts(store))
    except RedraftError as error:
        return replace(found, problem=error.message)
    return replace(found, pending=pending, alerts=alerts, run=run)


def _counts(store: Store) -> tuple[int, int, tuple[str, int, int] | None]:
    from storage import console_queries as queries
    from storage.run_queries import open_runs

    with store.database().read() as session:
        pending, alerts = queries.waiting_pairs(session=session), queries.standing_alerts(session=session)
        under_way = [row for row in open_runs(session=session) if row.state == "running"]
    first = under_way[0] if under_way else None
    return pending, alerts, (first.id, first.step, first.steps) if first else None


def engine_word(health: Health) -> str:
    """``up``, ``degraded``, ``loading``, ``draining`` or ``down``."""
    if health.held:
        return "degraded"
    return "degraded" if health.state == "up" and health.detail else health.state


def status_line(found: Status | None, store: Store) -> Text:
    """The line."""
    if found is None:
        return Text(" looking …", style="dim")
    if found.problem:
        return Text(f" ✕ database: {found.problem}", style="bold red")
    health = found.engine
    parts = [words.state(engine_word(health), f"engine {engine_word(health)}")]
    if health.running or health.waiting:
        parts.append(Text(f"{health.running} running, {health.waiting} waiting"))
    parts += [
        words.state(one.state, f"{name} {one.state}") for name, one in sorted(found.chats.items()) if one.state != "off"
    ]
    if found.run:
        _, step, steps = found.run
        parts.append(Text(f"▶ training {step}/{steps}" if steps else "▶ training", style="cyan"))
    if found.pending:
        parts.append(Text(f"{found.pending:,} to review"))
    if found.alerts:
        parts.append(Text(f"! {words.many(found.alerts, 'alert')}", style="yellow"))
    return Text.assemble(" ", Text("  ").join(parts))
