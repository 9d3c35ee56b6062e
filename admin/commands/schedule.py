"""``redraft schedule show|set|pause|resume``: when fine-tunes start by themselves; the console's screen does the same.

They translate arguments into calls on :mod:`engine.learning.planned`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from engine.learning.planned import Plan
    from storage.database import Database

_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def register(app: typer.Typer) -> None:
    """Add ``schedule`` to the application."""
    schedule = typer.Typer(no_args_is_help=True, help="When fine-tunes start by themselves.")
    app.add_typer(schedule, name="schedule")

    @schedule.command()
    def show(json_: bool = _JSON) -> None:
        """Show the schedule in force and its next five times."""
        with _opened() as database:
            _told(_in_force(database), json_=json_)

    @schedule.command("set")
    def set_(
        expression: str | None = typer.Option(None, "--cron", help="Cron's five fields; empty is never."),
        timezone: str | None = typer.Option(None, "--timezone", help="Europe/Berlin; empty is the machine's own."),
        min_new_pairs: int | None = typer.Option(
            None, "--min-new-pairs", help="How many new approved pairs a scope needs for a fine-tune."
        ),
        json_: bool = _JSON,
    ) -> None:
        """Change the schedule, in place of what the settings say; it holds within seconds."""
        run_change(json_=json_, expression=expression, timezone=timezone, min_new_pairs=min_new_pairs)

    @schedule.command()
    def pause(json_: bool = _JSON) -> None:
        """Start no fine-tune by itself until `redraft schedule resume`."""
        run_change(json_=json_, paused=True)

    @schedule.command()
    def resume(json_: bool = _JSON) -> None:
        """Let the schedule go on; what fell into the pause is not made up for."""
        run_change(json_=json_, paused=False)


@contextmanager
def _opened() -> Iterator[Database]:
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        yield database
    finally:
        database.close()


def _in_force(database: Database) -> Plan:
    from engine.learning.planned import in_force
    from engine.learning.settings import LearningSettings

    with database.read() as session:
        return in_force(session, LearningSettings.load())


def run_change(*, json_: bool, **what: Any) -> None:
    """Change what is given and print what holds now."""
    from admin.person import person
    from engine.learning.planned import change
    from engine.learning.settings import LearningSettings

    with _opened() as database:
        seen = _in_force(database).version
        _told(change(database, LearningSettings.load(), by=person(), seen=seen, **what), json_=json_)


def _told(plan: Plan, *, json_: bool) -> None:
    from datetime import UTC, datetime

    from admin.report import print_json
    from engine.learning.planned import next_starts, told

    times = next_starts(plan, datetime.now(UTC))
    if json_:
        print_json(
            {
                "cron": plan.expression,
                "timezone": plan.timezone,
                "min_new_pairs": plan.min_new_pairs,
                "paused": plan.paused,
                "changed_at": plan.changed_at.isoformat() if plan.changed_at else None,
                "next": [at.isoformat() for at in times],
            }
        )
        return
    typer.echo(told(plan))
    for at in times:
        typer.echo(f"  {at:%A %Y-%m-%d %H:%M %Z}".rstrip())
