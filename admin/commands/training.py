"""``redraft training authorize|revoke|show``: who answers for training on a chat platform's messages.

They translate arguments into calls on :mod:`engine.learning.authorisation`; `docs/privacy.md` says why it is asked for.
"""

from __future__ import annotations

from enum import StrEnum

import typer


class PlatformChoice(StrEnum):
    """The chat platforms."""

    slack = "slack"
    discord = "discord"


_PLATFORM = typer.Argument(..., help="slack or discord.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def register(app: typer.Typer) -> None:
    """Add ``training`` to the application."""
    training = typer.Typer(no_args_is_help=True, help="Who authorised training on a chat platform's messages.")
    app.add_typer(training, name="training")

    @training.command()
    def authorize(
        platform: PlatformChoice = _PLATFORM,
        by: str = typer.Option(..., "--by", help="Name of the person who answers for it."),
        basis: str = typer.Option(..., "--basis", help="On what ground: an agreement, a consent, a policy."),
        json_: bool = _JSON,
    ) -> None:
        """Authorise training on a platform's messages; read docs/privacy.md first."""
        run_authorize(platform.value, authorised_by=by, basis=basis, json_=json_)

    @training.command()
    def revoke(platform: PlatformChoice = _PLATFORM, json_: bool = _JSON) -> None:
        """Take it back: from now on no fine-tune uses that platform's messages."""
        run_revoke(platform.value, json_=json_)

    @training.command()
    def show(json_: bool = _JSON) -> None:
        """Show what is authorised, by whom and on what basis, and what was."""
        run_show(json_=json_)


def run_authorize(platform: str, *, authorised_by: str, basis: str, json_: bool) -> None:
    """Authorise and say so."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning.authorisation import authorise
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        row = authorise(database, platform=platform, authorised_by=authorised_by, basis=basis, by=person())
    finally:
        database.close()
    if json_:
        print_json(row.model_dump(mode="json"))
        return
    typer.echo(f"Training on {platform}'s messages is authorised by {row.authorised_by}; it stands in the ledger.")
    typer.echo("The platform's terms restrict it: docs/privacy.md says where to read them.")


def run_revoke(platform: str, *, json_: bool) -> None:
    """Revoke and say so."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning.authorisation import revoke
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        row = revoke(database, platform=platform, by=person())
    finally:
        database.close()
    if json_:
        print_json(row.model_dump(mode="json"))
        return
    typer.echo(f"No fine-tune uses {platform}'s messages from now on.")
    typer.echo("Adapters trained on them stay: `redraft adapters list` shows them, `redraft adapters retire` ends one.")


def run_show(*, json_: bool) -> None:
    """Print every authorisation."""
    from admin.report import print_json
    from engine.learning.authorisation import authorisations
    from engine.text.safety import visible
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        with database.read() as session:
            rows = authorisations(session)
    finally:
        database.close()
    if json_:
        print_json({"authorisations": [row.model_dump(mode="json") for row in rows]})
        return
    if not rows:
        typer.echo("Training on the messages of chat platforms was never authorised.")
    for row in rows:
        since = f"{row.authorised_at:%Y-%m-%d %H:%M}"
        until = f"revoked {row.revoked_at:%Y-%m-%d %H:%M} by {row.revoked_by}" if row.revoked_at else "in force"
        told = f"{row.platform}: by {row.authorised_by} since {since} UTC, {until}. Basis: {row.basis}"
        typer.echo(visible(told, keep_newlines=False))
