"""``redraft evaluate [ADAPTER]``: measure an adapter on held-out human references, print the gate's table and verdict.

It goes through a running engine if there is one and loads the model in this process otherwise. What is measured and
what decides is :mod:`engine.learning.evaluation` and :mod:`engine.scoring.gate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from storage.database import Database
    from storage.learning_tables import AdapterRow, EvaluationRow


def register(app: typer.Typer) -> None:
    """Add ``evaluate`` to the application."""

    @app.command()
    def evaluate(
        adapter: str = typer.Argument("", metavar="[ADAPTER]", help="Its id, or how it begins; the newest candidate."),
        scope: str = typer.Option("", "--scope", help="Without ADAPTER: the newest candidate of this scope."),
        last: bool = typer.Option(False, "--last", help="Show its newest evaluation instead of making one."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Measure an adapter against what is in service, on held-out human references."""
        run(adapter.strip(), scope=scope.strip(), last=last, json_=json_)


def run(name: str, *, scope: str, last: bool, json_: bool) -> None:
    """Evaluate, or look the newest evaluation up, and print it."""
    from engine.learning.evaluation import directory_name
    from engine.learning.report import report_path, write_report
    from engine.scoring.gate import GateReport
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        adapter = _adapter(database, name, scope)
        row = _newest(database, adapter) if last else _evaluated(database, adapter)
        directory = directory_name(adapter)
        report = report_path(database.home, directory) if last else write_report(database, database.home, directory)
    finally:
        database.close()
    if json_:
        from admin.report import print_json

        print_json(as_document(row, report))
        return
    from admin.present_gate import print_gate

    typer.echo(f"Adapter {row.adapter_id} for {row.scope}, against {row.against}.\n")
    print_gate(GateReport.from_json(row.report))
    if report.is_file():
        typer.echo(f"\nThe report with curves and examples: {report}")
    if row.verdict == "better":
        typer.echo(f"Promote it with: redraft adapters promote {row.adapter_id}")


def as_document(row: EvaluationRow, report: Path) -> dict[str, Any]:
    """The ``--json`` document of an evaluation."""
    return {
        "id": row.id,
        "adapter": row.adapter_id,
        "scope": row.scope,
        "against": row.against,
        "run": row.run_id or None,
        "at": row.at.isoformat(),
        "verdict": row.verdict,
        "gate": row.report,
        "report": str(report) if report.is_file() else None,
    }


def _adapter(database: Database, name: str, scope: str) -> AdapterRow:
    from engine import scopes
    from engine.learning.registry import find
    from storage.errors import InputError
    from storage.evaluation_queries import newest_candidate

    wanted = str(scopes.parse(scope)) if scope else None
    with database.read() as session:
        if name:
            found = find(session, name)
            if wanted is not None and found.scope != wanted:
                raise InputError(f"The adapter {found.id} is for {found.scope}, not {wanted}.", "Leave --scope out.")
            return found
        newest = newest_candidate(session=session, scope=wanted)
    if newest is None:
        where = f" for {wanted}" if wanted else ""
        raise InputError(f"There is no candidate{where}.", "Train one with `redraft train`, or name an adapter.")
    return newest


def _newest(database: Database, adapter: AdapterRow) -> EvaluationRow:
    from storage.errors import InputError
    from storage.evaluation_queries import newest_evaluation

    with database.read() as session:
        row = newest_evaluation(session=session, name=adapter.id)
    if row is None:
        raise InputError(f"The adapter {adapter.id} was never evaluated.", f"Run: redraft evaluate {adapter.id}")
    return row


def _evaluated(database: Database, adapter: AdapterRow) -> EvaluationRow:
    import asyncio

    from admin.follow import following
    from admin.person import person
    from engine.client import find_client
    from engine.learning.evaluation import engines_of_their_own, evaluate
    from engine.learning.registry import RegistrySource
    from engine.learning.settings import LearningSettings
    from engine.settings import EngineSettings

    home, settings = database.home, EngineSettings.load()

    async def measured() -> EvaluationRow:
        with following() as follower:
            client = find_client(settings, home, tell=follower.tell, adapters=RegistrySource(database, home))
            try:
                return await evaluate(
                    database,
                    client,
                    LearningSettings.load(),
                    adapter_id=adapter.id,
                    by=person(),
                    tell=follower.tell,
                    elsewhere=engines_of_their_own(settings, database),
                )
            finally:
                await client.close()

    return asyncio.run(measured())
