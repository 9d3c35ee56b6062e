"""``redraft ledger show`` and ``redraft ledger verify``.

They translate arguments into calls on :mod:`engine.learning.ledger_check` and what it finds into text or JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from engine.learning.ledger_check import Line


def register(app: typer.Typer) -> None:
    """Add ``ledger`` to the application."""
    ledger = typer.Typer(no_args_is_help=True, help="Who did what: the ledger, and whether it is whole.")
    app.add_typer(ledger, name="ledger")

    @ledger.command()
    def show(
        action: list[str] = typer.Option([], "--action", help="Only this action, or all that begin so: adapter."),
        actor: str = typer.Option("", "--actor", help="Only what this person did: local:maria, slack:U01AB, redraft."),
        subject: str = typer.Option("", "--subject", help="Only what was done to this adapter, run, pair …"),
        since: datetime | None = typer.Option(
            None, "--since", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only from this local time on."
        ),
        before: int | None = typer.Option(
            None, "--before", min=1, help="Only lines before this number: the next page."
        ),
        limit: int = typer.Option(50, "--limit", min=1, max=10_000, help="How many lines, the newest first."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Show the ledger, newest first."""
        run_show(
            actions=action, actor=actor, subject=subject, since=since, before=before, limit=limit, json_=json_
        )  # fmt: skip

    @ledger.command()
    def verify(json_: bool = typer.Option(False, "--json", help="Print one JSON document.")) -> None:
        """Check every line against its hash and against the heads kept outside the database; exit 1 on a finding."""
        run_verify(json_=json_)


def run_show(
    *,
    actions: list[str],
    actor: str,
    subject: str,
    since: datetime | None,
    before: int | None,
    limit: int,
    json_: bool,
) -> None:
    """Print a page of the ledger."""
    from admin.report import print_json
    from engine.learning.ledger_check import show
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        page = show(
            database,
            actions=actions,
            actor=actor,
            subject=subject,
            since=since.astimezone() if since else None,
            before=before,
            limit=limit,
        )
    finally:
        database.close()
    if json_:
        lines = [
            {
                "seq": line.seq,
                "at": line.at.isoformat(),
                "actor": line.actor,
                "person": line.person or None,
                "action": line.action,
                "subject": line.subject,
                "details": dict(line.details),
            }
            for line in page.lines
        ]
        print_json({"lines": lines, "next_before": page.next_before})
        return
    if not page.lines:
        typer.echo("The ledger has no such line.")
        return
    for line in page.lines:
        typer.echo(_told(line))
    if page.next_before is not None:
        typer.echo(f"Earlier ones: add --before {page.next_before}")


def run_verify(*, json_: bool) -> None:
    """Check the ledger, say what was found, and exit 1 if that is anything."""
    from admin.report import print_json
    from engine.learning.ledger_check import verify
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        done = verify(database)
    finally:
        database.close()
    if json_:
        findings = [{"kind": one.kind, "seq": one.seq, "sentence": one.sentence} for one in done.findings]
        print_json(
            {
                "whole": not done.findings,
                "lines": done.lines,
                "witnessed": done.witnessed,
                "findings": findings,
                "notes": list(done.notes),
            }
        )
    else:
        for finding in done.findings:
            typer.echo(finding.sentence)
        for note in done.notes:
            typer.echo(note)
        if not done.findings:
            typer.echo(f"The ledger is whole: {_lines(done.lines)}, witnessed up to {done.witnessed}.")
    if done.findings:
        from storage.errors import StorageError

        many = "one thing" if len(done.findings) == 1 else f"{len(done.findings)} things"
        raise StorageError(
            f"The ledger is not what was written: {many} found in {_lines(done.lines)}.",
            "docs/security.md says what to do; keep the database and ledger.heads as they are until then.",
        )


def _told(line: Line) -> str:
    """One line for people; details as ``name=value``, as short as they come."""
    import json

    from engine.text.safety import visible

    details = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in line.details.items()
        if value not in ("", None)
    )
    when = line.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    text = f"{line.seq:>6}  {when}  {line.person or line.actor}  {line.action}  {line.subject}  {details}"
    return visible(text, keep_newlines=False).rstrip()


def _lines(many: int) -> str:
    return "1 line" if many == 1 else f"{many:,} lines"
