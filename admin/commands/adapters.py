"""``redraft adapters list|show|promote|rollback|retire|reject`` and ``redraft alerts``.

They translate arguments into calls on :mod:`engine.learning.registry` and :mod:`engine.learning.promotion`, and ask a
person at a terminal before anything that serves changes. Which promotion is refused is decided there, not here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from engine.learning.promotion import Move
    from storage.database import Database

_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_YES = typer.Option(False, "--yes", help="Do not ask.")
_ADAPTER = typer.Argument(..., metavar="ADAPTER", help="Its id, or how it begins.")
_REASON = typer.Option("", "--reason", help="Why; the ledger keeps it.")


def register(app: typer.Typer) -> None:
    """Add ``adapters`` and ``alerts`` to the application."""
    adapters = typer.Typer(no_args_is_help=True, help="What serves, what waits, and who decides.")
    app.add_typer(adapters, name="adapters")

    @adapters.command("list")
    def list_(
        scope: str = typer.Option("", "--scope", help="Only of this scope: default, slack:TEAM, slack:TEAM/CHANNEL."),
        state: str = typer.Option("", "--state", help="Only these: active, candidate, retired, rejected."),
        json_: bool = _JSON,
    ) -> None:
        """List the adapters, newest first, and how their summaries were received."""
        run_list(scope=scope, state=state, json_=json_)

    @adapters.command()
    def show(adapter: str = _ADAPTER, json_: bool = _JSON) -> None:
        """Show where an adapter comes from (pairs, run, base), its gate, and what was done to it."""
        run_show(adapter, json_=json_)

    @adapters.command()
    def promote(
        adapter: str = _ADAPTER,
        force: bool = typer.Option(False, "--force", help="Although the gate does not call it better; needs --reason."),
        reason: str = _REASON,
        yes: bool = _YES,
        json_: bool = _JSON,
    ) -> None:
        """Put an adapter in service for its scope; only one that the gate calls better, unless forced."""
        run_promote(adapter, force=force, reason=reason, ask=not (yes or json_), json_=json_)

    @adapters.command()
    def rollback(
        scope: str = typer.Option("default", "--scope", help="The scope to take back."),
        reason: str = _REASON,
        yes: bool = _YES,
        json_: bool = _JSON,
    ) -> None:
        """Go back to the adapter before, or to the base; the one left is rejected, with the reason."""
        run_rollback(scope, reason=reason, ask=not (yes or json_), json_=json_)

    @adapters.command()
    def retire(adapter: str = _ADAPTER, reason: str = _REASON, yes: bool = _YES, json_: bool = _JSON) -> None:
        """Take an adapter out of service, or put a candidate aside."""
        run_removal("retire", adapter, reason=reason, ask=not (yes or json_), json_=json_)

    @adapters.command()
    def reject(adapter: str = _ADAPTER, reason: str = _REASON, yes: bool = _YES, json_: bool = _JSON) -> None:
        """Reject a candidate: the same pairs and settings are not offered again."""
        run_removal("reject", adapter, reason=reason, ask=not (yes or json_), json_=json_)

    @app.command()
    def alerts(json_: bool = _JSON) -> None:
        """Show what an administrator should act on, each with the command to type."""
        run_alerts(json_=json_)


def run_list(*, scope: str, state: str, json_: bool) -> None:
    """Print the adapters."""
    from admin.present_adapters import adapter_document, print_adapters
    from admin.report import print_json
    from engine import scopes
    from engine.learning.bases import base_in_service
    from engine.learning.registry import list_adapters
    from engine.learning.watch import service_figures
    from engine.settings import EngineSettings
    from storage.errors import InputError

    if state and state not in ("active", "candidate", "retired", "rejected"):
        raise InputError(f"{state[:40]!r} is no state of an adapter.", "Say active, candidate, retired or rejected.")
    wanted = str(scopes.parse(scope)) if scope else None
    with _opened() as database:
        with database.read() as session:
            rows = list_adapters(session, scope=wanted, state=state or None)
            figures = {one.adapter: one for one in service_figures(session)}
        base = base_in_service(database, EngineSettings.load())
    if not json_:
        print_adapters(rows, figures, base.label)
        return
    documents: list[dict[str, Any]] = []
    for row in rows:
        seen = figures.get(row.id)
        received = {
            "summaries": seen.summaries if seen else 0,
            "corrected": seen.corrected if seen else 0,
            "thumbs_up": seen.thumbs_up if seen else 0,
            "thumbs_down": seen.thumbs_down if seen else 0,
        }
        documents.append({**adapter_document(row), "received": received})
    print_json({"base": base.label, "base_configured": base.configured, "adapters": documents})


def run_show(name: str, *, json_: bool) -> None:
    """Print all about one adapter."""
    from admin.present_adapters import lineage_document, print_lineage
    from admin.report import print_json
    from engine.learning.registry import lineage

    with _opened() as database, database.read() as session:
        found = lineage(session, database.home, name)
    if json_:
        print_json(lineage_document(found))
    else:
        print_lineage(found)


def run_promote(name: str, *, force: bool, reason: str, ask: bool, json_: bool) -> None:
    """Promote, after the gate was shown and a person at a terminal has agreed."""
    from admin.person import person
    from admin.present_adapters import print_gate_in_short
    from engine.learning.pointers import pointer
    from engine.learning.promotion import obstacle, promote
    from engine.learning.registry import find
    from engine.learning.settings import LearningSettings
    from storage.adapter_queries import newest_evaluation

    settings = LearningSettings.load()
    with _opened() as database:
        with database.read() as session:
            row = find(session, name)
            gate = newest_evaluation(session=session, adapter_id=row.id)
            serves, against = pointer(session, row.scope), obstacle(session, row)
        if not json_:
            print_gate_in_short(gate)
        if row.state != "active" and (force or against is None):
            warning = f"{against.message} " if against is not None else ""
            _agreed(f"{warning}Put {row.id} in service for {row.scope}, in place of {serves}?", ask)
        # What was shown is what is decided on: should another serve by now, it is refused and nobody is surprised.
        _told(
            promote(
                database,
                database.home,
                settings,
                adapter_id=row.id,
                by=person(),
                force=force,
                reason=reason,
                expected=serves,
            ),
            json_=json_,
        )


def run_rollback(scope: str, *, reason: str, ask: bool, json_: bool) -> None:
    """Roll a scope back."""
    from admin.person import person
    from engine import scopes
    from engine.learning.pointers import BASE, pointer
    from engine.learning.promotion import rollback
    from engine.learning.settings import LearningSettings

    scope, settings = str(scopes.parse(scope)), LearningSettings.load()
    with _opened() as database:
        with database.read() as session:
            serves = pointer(session, scope)
        if serves != BASE and reason.strip():
            _agreed(f"Take {serves} out of service for {scope}, reject it, and go back to what was before?", ask)
        _told(
            rollback(
                database, database.home, settings, scope=scope, by=person(), reason=reason, expected=serves
            ),
            json_=json_,
        )  # fmt: skip


def run_removal(what: str, name: str, *, reason: str, ask: bool, json_: bool) -> None:
    """Retire or reject an adapter."""
    from admin.person import person
    from engine.learning.promotion import reject, retire
    from engine.learning.registry import find
    from engine.learning.settings import LearningSettings

    act: Callable[..., Move] = {"retire": retire, "reject": reject}[what]
    settings = LearningSettings.load()
    with _opened() as database:
        with database.read() as session:
            row = find(session, name)
        if row.state == "active" and what == "retire":
            _agreed(f"Take {row.id} out of service for {row.scope}?", ask)
        _told(
            act(database, database.home, settings, adapter_id=row.id, by=person(), reason=reason, expected=row.state),
            json_=json_,
        )


def run_alerts(*, json_: bool) -> None:
    """Print the alerts that stand, the disk and the backups looked at just now."""
    from admin.present_adapters import alert_document, print_alerts
    from admin.report import print_json
    from engine.learning.alerts import refresh
    from storage.settings import StorageSettings

    with _opened() as database:
        rows = refresh(database, database.home, StorageSettings.load())
    if json_:
        print_json({"alerts": [alert_document(row) for row in rows]})
    else:
        print_alerts(rows)


@contextmanager
def _opened() -> Iterator[Database]:
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        yield database
    finally:
        database.close()


def _agreed(question: str, ask: bool) -> None:
    """Ask a person at a terminal; a script has decided already."""
    if ask and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(question, abort=True)


def _told(move: Move, *, json_: bool) -> None:
    from admin.present_adapters import move_document, print_move
    from admin.report import print_json

    if json_:
        print_json(move_document(move))
    else:
        print_move(move)
