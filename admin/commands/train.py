"""``redraft train`` and ``redraft runs list|show``.

A fine-tune is a process of its own: this command begins it, shows how far it is, and on Ctrl-C has it write a
checkpoint and end. What may be trained on, and when a run is refused, is decided in :mod:`engine.learning`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import subprocess

    import rich.progress

    from storage.database import Database
    from storage.home import Home
    from storage.learning_tables import RunRow

#: How often the run's row is looked at, in seconds.
_LOOK_S = 0.5
STOPPED = 130


def register(app: typer.Typer) -> None:
    """Add ``train`` and ``runs`` to the application."""

    @app.command()
    def train(
        scope: str = typer.Option("default", "--scope", help="Whose pairs: default, slack:TEAM, slack:TEAM/CHANNEL, …"),
        resume: str = typer.Option("", "--resume", metavar="RUN", help="Go on with a run that was stopped or failed."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Fine-tune an adapter on the approved pairs of a scope, now, however few came since the last one."""
        run_train(scope, resume=resume, json_=json_)

    runs = typer.Typer(no_args_is_help=True, help="Look at fine-tunes.")
    app.add_typer(runs, name="runs")

    @runs.command("list")
    def list_(
        scope: str = typer.Option("", "--scope", help="Only of this scope."),
        limit: int = typer.Option(20, "--limit", min=1, help="How many, the newest first."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """List fine-tunes, the newest first."""
        run_list(scope, limit=limit, json_=json_)

    @runs.command()
    def show(
        run: str = typer.Argument(..., metavar="RUN", help="Its id, or how it begins."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document, the curves included."),
    ) -> None:
        """Show one fine-tune: its data, settings, progress and result."""
        run_show(run, json_=json_)

    @runs.command()
    def stop(
        run: str = typer.Argument(..., metavar="RUN", help="Its id, or how it begins."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Have a fine-tune that is under way write a checkpoint and end; `redraft train --resume` goes on."""
        run_stop(run, json_=json_)


@contextmanager
def _opened() -> Iterator[Database]:
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        yield database
    finally:
        database.close()


def run_train(scope: str, *, resume: str, json_: bool) -> None:
    """Begin or resume a run, follow it to its end, and say what came of it."""
    from admin.present_runs import as_document, print_run
    from admin.report import print_json
    from engine.learning.runs import left_out_sentence, spawn

    with _opened() as database:
        row = _resumed(database, resume) if resume else _begun(database, scope)
        said = left_out_sentence(row.left_out)
        if said and not json_:
            typer.echo(f"Left out: {said}.", err=True)
            if row.left_out.get("unauthorised"):
                typer.echo(
                    "`redraft training authorize` records who authorised a platform, and on what basis.", err=True
                )
        process = spawn(database.home, row.id)
        interrupted = follow(database, database.home, row.id, process)
        with database.read() as session:
            row = _found(session, row.id)
    if json_:
        print_json(as_document(row))
    else:
        print_run(row, left_out_sentence(row.left_out))
    if row.state != "finished":
        typer.echo(f"redraft: {row.message or 'The fine-tune did not finish.'}", err=True)
        if row.state == "stopped":
            typer.echo(f"         Go on with: redraft train --resume {row.id}", err=True)
        raise typer.Exit(STOPPED if interrupted else 1)
    if not json_ and row.adapter_id:
        typer.echo(f"See `redraft adapters show {row.adapter_id}` and {database.home.runs / row.id / 'report.html'}.")


def _begun(database: Database, scope: str) -> RunRow:
    from admin.person import person
    from engine.learning.runs import start_run
    from engine.learning.settings import LearningSettings
    from engine.settings import EngineSettings

    return start_run(
        database,
        database.home,
        settings=LearningSettings.load(),
        engine=EngineSettings.load(),
        scope=scope,
        cause="manual",
        by=person(),
    )


def _resumed(database: Database, name: str) -> RunRow:
    from admin.person import person
    from engine.learning.stopping import resume_run

    return resume_run(database, database.home, run_id=name, by=person())


def _found(session: Any, name: str) -> RunRow:
    from engine.learning.runs import find_run

    return find_run(session, name)


def follow(database: Database, home: Home, run_id: str, process: subprocess.Popen[bytes]) -> bool:
    """Until the run's process has ended; whether somebody pressed Ctrl-C."""
    from admin.report import progress_on_stderr
    from engine.learning.runs import recover

    interrupted = False
    with progress_on_stderr() as display:
        task = display.add_task("Starting", total=None) if display is not None else None
        while True:
            try:
                while process.poll() is None:
                    if display is not None and task is not None:
                        _show(database, run_id, display, task, interrupted)
                    time.sleep(_LOOK_S)
                break
            except KeyboardInterrupt:
                # The first writes a checkpoint; somebody who presses again has waited long enough.
                process.send_signal(signal.SIGKILL if interrupted else signal.SIGTERM)
                interrupted = True
    recover(database, home, ended=(run_id,))
    return interrupted


def _show(
    database: Database, run_id: str, display: rich.progress.Progress, task: rich.progress.TaskID, interrupted: bool
) -> None:
    """What the run is at; the curves' last points."""
    from contextlib import suppress

    from storage.errors import StorageError
    from storage.run_queries import newest_loss

    with suppress(StorageError), database.read() as session:
        row = _found(session, run_id)
        loss = newest_loss(session=session, run_id=run_id)
        doing = "Stopping" if interrupted else row.message.rstrip(".") or "Training"
        shown = f", loss {loss:.3f}" if loss is not None and doing == "Training" else ""
        display.update(task, description=f"{doing}{shown}", completed=row.step, total=row.steps or None)


def run_list(scope: str, *, limit: int, json_: bool) -> None:
    """Print the runs."""
    from admin.present_runs import as_document, print_list
    from admin.report import print_json
    from engine.learning.runs import recover
    from engine.scopes import parse
    from storage.run_queries import runs

    wanted = str(parse(scope)) if scope else None
    with _opened() as database:
        recover(database, database.home)
        with database.read() as session:
            rows = runs(session=session, scope=wanted, limit=limit)
    if json_:
        print_json({"runs": [as_document(row) for row in rows]})
    elif rows:
        print_list(rows)
    else:
        typer.echo("There has been no fine-tune yet; `redraft train` begins one.")


def run_show(name: str, *, json_: bool) -> None:
    """Print one run."""
    from admin.present_runs import as_document, print_run
    from admin.report import print_json
    from engine.learning.runs import left_out_sentence, recover
    from storage.run_queries import progress

    with _opened() as database:
        recover(database, database.home)
        with database.read() as session:
            row = _found(session, name)
            points = progress(session=session, run_id=row.id)
    if json_:
        print_json(as_document(row, points))
    else:
        print_run(row, left_out_sentence(row.left_out))


def run_stop(name: str, *, json_: bool) -> None:
    """Ask a run's process to end."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning.runs import recover
    from engine.learning.stopping import stop_run

    with _opened() as database:
        recover(database, database.home)
        row = stop_run(database, database.home, run_id=name, by=person())
    if json_:
        print_json({"run": row.id, "state": row.state, "asked": row.state != "stopped"})
    elif row.state == "stopped":
        typer.echo(f"The run {row.id} is stopped. Go on with: redraft train --resume {row.id}")
    else:
        typer.echo(f"The run {row.id} was asked to stop: it writes a checkpoint and ends.")
