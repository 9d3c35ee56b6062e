"""``redraft db upgrade``, ``redraft backup DIR`` and ``redraft restore DIR``.

They translate arguments into calls on :mod:`storage` and results into text or JSON; what a backup is made of and when
a restore is refused is decided there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from storage.backup import Manifest


def register(app: typer.Typer) -> None:
    """Add ``db``, ``backup`` and ``restore`` to the application."""
    database = typer.Typer(no_args_is_help=True, help="Look after the database.")
    app.add_typer(database, name="db")

    @database.command()
    def upgrade(json_: bool = typer.Option(False, "--json", help="Print one JSON document.")) -> None:
        """Bring the database to this version's schema, after a copy of it; does nothing where it is."""
        run_upgrade(json_=json_)

    # One command alone would take its group's place: `redraft db` has to stay a group for those to come.
    database.callback()(lambda: None)

    @app.command()
    def backup(
        directory: Path = typer.Argument(..., metavar="DIR", help="Directory to write; must not hold anything yet."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Write database, adapters and settings (without secrets) as one checksummed set."""
        run_backup(directory, json_=json_)

    @app.command()
    def restore(
        directory: Path = typer.Argument(..., metavar="DIR", help="A directory that `redraft backup` wrote."),
        force: bool = typer.Option(False, "--force", help="Replace a database that holds something; it is kept."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Bring up a machine from a backup, all or nothing."""
        run_restore(directory, force=force, json_=json_)


def run_upgrade(*, json_: bool) -> None:
    """Upgrade and say what was done."""
    from storage.schema import nothing_to_upgrade
    from storage.settings import StorageSettings

    settings = StorageSettings.load()
    done = nothing_to_upgrade(settings)
    if done is None:
        from storage.migrate import upgrade

        done = upgrade(settings)
    if json_:
        from admin.report import print_json

        print_json({"before": done.before, "after": done.after, "copy": str(done.copy) if done.copy else None})
    elif done.before == done.after:
        typer.echo(f"The database is at schema {done.after}, the newest.")
    elif done.before is None:
        typer.echo(f"The database was created at schema {done.after}.")
    else:
        typer.echo(f"The database was upgraded from schema {done.before} to {done.after}.")
        if done.copy:
            typer.echo(f"A copy of it as it was is in {done.copy}.")


def run_backup(directory: Path, *, json_: bool) -> None:
    """Back up and say what is in the set."""
    from engine.settings import EngineSettings
    from storage.backup import backup
    from storage.masking import masked
    from storage.settings import StorageSettings

    settings = StorageSettings.load()
    manifest = backup(settings, directory, shown_settings=masked(settings, EngineSettings.load()))
    size = sum(entry.bytes for entry in manifest.files.values())
    if json_:
        from admin.report import print_json

        print_json(
            {
                "directory": str(directory.absolute()),
                "created_at": manifest.created_at,
                "revision": manifest.revision,
                "rows": manifest.rows,
                "adapters": manifest.adapters,
                "files": len(manifest.files),
                "bytes": size,
            }
        )
        return
    typer.echo(f"Backed up to {directory} ({size / 1e6:.1f} MB): {_contents(manifest)}.")
    typer.echo("Secrets are not in it: keep the tokens of your .env somewhere safe.")


def run_restore(directory: Path, *, force: bool, json_: bool) -> None:
    """Restore and say what came back."""
    from admin.person import person
    from engine.learning.restoring import restore
    from engine.learning.settings import LearningSettings
    from storage.settings import StorageSettings

    done = restore(StorageSettings.load(), directory, learning=LearningSettings.load(), by=person(), force=force)
    if json_:
        from admin.report import print_json

        print_json(
            {
                "created_at": done.manifest.created_at,
                "rows": done.manifest.rows,
                "adapters": done.manifest.adapters,
                "replaced": str(done.replaced) if done.replaced else None,
                "erasures_repeated": done.erasures,
            }
        )
        return
    typer.echo(f"Restored the backup of {done.manifest.created_at}: {_contents(done.manifest)}.")
    if done.replaced:
        typer.echo(f"The database that it replaced is kept in {done.replaced}.")
    if done.erasures:
        typer.echo(f"Erasures made since that backup, and done on it again: {done.erasures:,}.")
    if not done.tidied:
        typer.echo("Files of what was erased could not all be removed; the daily job tries again.")
    typer.echo(f"The settings it was made under are in {directory / 'settings.json'}; secrets are not.")


def _contents(manifest: Manifest) -> str:
    """``conversations 3, messages 41, …`` of a backup."""
    counts = {**manifest.rows, "adapters": len(manifest.adapters)}
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
