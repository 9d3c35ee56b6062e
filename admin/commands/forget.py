"""``redraft forget``: erase a user or a conversation, after saying what that takes and asking whether to.

What goes and what becomes of adapters that have learnt from it is decided in :mod:`engine.learning.erasure`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from engine.learning.erasure import Erased, Preview
    from engine.learning.settings import LearningSettings

_SAID = {
    "messages": ("message", "messages"),
    "conversations": ("whole conversation", "whole conversations"),
    "summaries": ("summary", "summaries"),
    "corrections": ("correction", "corrections"),
    "pairs": ("training pair", "training pairs"),
    "feedback": ("thumb", "thumbs"),
    "requests": ("summary asked for (the summary stays)", "summaries asked for (the summaries stay)"),
    "runs": ("fine-tune's examples and checkpoints", "fine-tunes' examples and checkpoints"),
}


def register(app: typer.Typer) -> None:
    """Add ``forget`` to the application."""

    @app.command()
    def forget(
        user: str | None = typer.Option(None, "--user", help="Whom: slack:U01AB, discord:123456789 or local:maria."),
        conversation: str | None = typer.Option(
            None, "--conversation", help="Which: a conversation's id, or the key that an imported pair goes by."
        ),
        dry_run: bool = typer.Option(False, "--dry-run", help="Say what would go, and change nothing."),
        now: bool = typer.Option(False, "--now", help="Take adapters that have learnt from it out of service at once."),
        yes: bool = typer.Option(False, "--yes", help="Do not ask."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Erase a user or a conversation: messages, summaries, corrections, pairs, and what was made of them."""
        if (user is None) == (conversation is None):
            raise typer.BadParameter("name one of --user and --conversation")
        run(user=user, conversation=conversation, dry_run=dry_run, immediately=now, yes=yes, json_=json_)


def run(
    *, user: str | None, conversation: str | None, dry_run: bool, immediately: bool, yes: bool, json_: bool
) -> None:
    """Preview, ask, erase, and say what was done and what is out of reach."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning.erasure import forget, preview
    from engine.learning.settings import LearningSettings
    from storage.database import Database
    from storage.errors import InputError
    from storage.settings import StorageSettings

    learning = LearningSettings.load()
    database = Database.open(StorageSettings.load())
    try:
        found = preview(database, database.home, user=user, conversation=conversation)
        if dry_run:
            if json_:
                print_json({"dry_run": True, **_document(found)})
            else:
                _print_preview(found, immediately=immediately, learning=learning)
            return
        if not yes:
            if json_ or not (sys.stdin.isatty() and sys.stdout.isatty()):
                raise InputError("An erasure cannot be taken back.", "Look at it with --dry-run, then add --yes.")
            _print_preview(found, immediately=immediately, learning=learning)
            if not typer.confirm("Erase all this? It cannot be taken back."):
                raise InputError("Nothing was erased.")
        done = forget(
            database,
            database.home,
            learning,
            user=user,
            conversation=conversation,
            by=person(),
            # What somebody was asked about is what goes; a script that says --yes takes what there is.
            expected=None if yes else found,
            immediately=immediately,
        )
    finally:
        database.close()
    reach = _out_of_reach(found, learning, postgresql=database.kind == "postgresql")
    if json_:
        print_json(
            {
                "dry_run": False,
                "id": done.id,
                "kind": done.kind,
                "counts": done.counts,
                "copies": done.copies,
                "log_lines": done.log_lines,
                "tainted": list(done.tainted),
                "retired": list(done.retired),
                "deadline": done.deadline.isoformat() if done.tainted else None,
                "retraining_owed": list(done.owed),
                "out_of_reach": reach,
            }
        )
        return
    _print_done(done, reach)


def _document(found: Preview) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "subject": found.subject,
        "counts": found.counts,
        "adapters": [{"id": one.id, "scope": one.scope, "state": one.state} for one in found.learners],
        "copies": found.copies,
        "log_lines": found.log_lines,
    }


def _print_preview(found: Preview, *, immediately: bool, learning: LearningSettings) -> None:
    from engine.text.safety import visible

    name = visible(found.subject, keep_newlines=False)
    if found.nothing:
        typer.echo(f"Nothing here is known of {name}. The erasure is remembered, for backups that may know more.")
    else:
        typer.echo(f"Of {name} these go:")
    for line in counted(found.counts):
        typer.echo(f"  {line}")
    if found.log_lines:
        typer.echo(f"  {found.log_lines:,} {'line' if found.log_lines == 1 else 'lines'} of logs")
    if found.copies:
        what = "copy" if found.copies == 1 else "copies"
        typer.echo(f"  {found.copies:,} {what} of the whole database in copies/, which may hold some of it")
    for one in found.learners:
        if one.state not in ("active", "candidate"):
            typer.echo(f"Adapter {one.id} of {one.scope} has learnt from it and is {one.state}; its files go.")
        elif immediately:
            typer.echo(f"Adapter {one.id} of {one.scope} ({one.state}) has learnt from it and goes at once.")
        else:
            typer.echo(
                f"Adapter {one.id} of {one.scope} ({one.state}) has learnt from it; it goes when one trained anew is "
                f"promoted, at the latest in {learning.erasure_deadline_days} days (--now: at once)."
            )


def counted(counts: Mapping[str, int]) -> list[str]:
    """What an erasure takes, a line a kind."""
    return [
        f"{counts[name]:,} {one if counts[name] == 1 else more}"
        for name, (one, more) in _SAID.items()
        if counts.get(name)
    ]


def _print_done(done: Erased, reach: list[str]) -> None:
    gone = counted(done.counts)
    if done.log_lines:
        gone.append(f"{done.log_lines:,} {'line' if done.log_lines == 1 else 'lines'} of logs")
    if done.copies:
        gone.append(f"{done.copies:,} {'copy' if done.copies == 1 else 'copies'} of the database")
    typer.echo("Erased: " + (", ".join(gone) if gone else "nothing was here") + f". The ledger has it as {done.id}.")
    for one in done.retired:
        typer.echo(f"Adapter {one}, which had learnt from it, is out of service and its files are gone.")
    for one in done.tainted:
        typer.echo(f"Adapter {one} has learnt from it and serves or waits until {done.deadline.astimezone():%Y-%m-%d}.")
    for scope in done.owed:
        typer.echo(
            f"To be trained anew without it: {scope}. The schedule does it; at once: redraft train --scope {scope}"
        )
    typer.echo("Out of reach from here:")
    for sentence in reach:
        typer.echo(f"  {sentence}")


def _out_of_reach(found: Preview, learning: LearningSettings, *, postgresql: bool) -> list[str]:
    """What an erasure cannot do, in sentences."""
    said = [
        "Backups elsewhere: make a new one and delete those before it. A restore here does this erasure again.",
        "The chat platform itself: what is read from there again is here again.",
    ]
    if found.kind == "user":
        said.append("What others say about the person, in messages of their own.")
        if found.subject in learning.trusted_authors:
            said.append("PAIRS_TRUSTED_AUTHORS in the settings names the person: take the name out.")
    said.append("Reasons that administrators typed, in the ledger; and files that pairs were exported to.")
    if postgresql:
        said.append("PostgreSQL's own log, backups and replicas; and logs of other machines that share the database.")
    return said
