"""``redraft pairs import|export|list|show|approve|reject|reopen|stats``.

They translate arguments into calls on :mod:`engine.learning` and results into text or JSON; what a pair is, on which
side it falls and who may decide on it is decided there. Whoever is at the command line is an administrator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from engine.learning.importing import Options, Tell
    from engine.learning.near import Side
    from storage.database import Database
    from storage.pair_filters import PairFilter


class StateChoice(StrEnum):
    """The states of a pair."""

    pending = "pending"
    approved = "approved"
    rejected = "rejected"


class SplitChoice(StrEnum):
    """The sides of the split, and the bridges between them."""

    train = "train"
    heldout = "heldout"
    bridge = "bridge"


class ImportSplitChoice(StrEnum):
    """How imported pairs are split."""

    auto = "auto"
    train = "train"
    heldout = "heldout"


class OriginChoice(StrEnum):
    """Where a pair's summary comes from."""

    edited = "edited"
    blind = "blind"
    imported = "imported"
    case = "case"


class ImportOriginChoice(StrEnum):
    """What imported rows are."""

    imported = "imported"
    case = "case"


class FormatChoice(StrEnum):
    """The formats of an export."""

    jsonl = "jsonl"
    json = "json"
    csv = "csv"


_STATE = typer.Option(None, "--state", help="Only those in this state.")
_SPLIT = typer.Option(None, "--split", help="Only those on this side of the split.")
_ORIGIN = typer.Option(None, "--origin", help="Only those of this origin.")
_SCOPE = typer.Option(None, "--scope", help="Only those of this scope: default, slack:TEAM, slack:TEAM/CHANNEL.")
_PLATFORM = typer.Option(None, "--platform", help="Only those from here: file, slack, discord.")
_CHANNEL = typer.Option(None, "--channel", help="Only those of this channel.")
_AUTHOR = typer.Option(None, "--author", help="Only those of this author: local:maria, slack:U01AB.")
_SOURCE = typer.Option(None, "--source", help="Only those of this source.")
_ALL = typer.Option(False, "--all", help="All that wait, or those of them that the filters leave.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def register(app: typer.Typer) -> None:
    """Add ``pairs`` to the application."""
    pairs = typer.Typer(no_args_is_help=True, help="Training pairs: conversations with people's own summaries.")
    app.add_typer(pairs, name="pairs")

    @pairs.command("import")
    def import_(
        file: Path = typer.Argument(
            ..., help="JSON, JSON Lines or CSV, gzipped or not, with dialogue and summary; - reads standard input."
        ),
        source: str = typer.Option("", "--source", help="Where the rows are from, in place of what they say."),
        licence: str = typer.Option("", "--licence", help="Under which licence they are, in place of what they say."),
        split: ImportSplitChoice = typer.Option(
            ImportSplitChoice.auto, "--split", help="Side for those that resemble nothing stored; auto draws it."
        ),
        origin: ImportOriginChoice = typer.Option(
            ImportOriginChoice.imported, "--origin", help="Of rows that name none: case for resolved support cases."
        ),
        scope: str = typer.Option("default", "--scope", help="Whose adapters they train."),
        approve: bool = typer.Option(False, "--approve", help="Approve them at once."),
        json_: bool = _JSON,
    ) -> None:
        """Import pairs, the whole file or nothing."""
        from engine.learning.importing import Options

        sides: dict[str, Side] = {"train": "train", "heldout": "heldout"}
        options = Options(scope, source, licence, origin.value, sides.get(split.value), approve)
        run_import(file, options, json_=json_)

    @pairs.command()
    def export(
        format: FormatChoice = typer.Option(FormatChoice.jsonl, "--format", help="How to write them."),
        output: Path | None = typer.Option(None, "--output", "-o", help="File to write; standard output otherwise."),
        state: StateChoice | None = typer.Option(StateChoice.approved, "--state", help="Only those in this state."),
        every_state: bool = typer.Option(False, "--every-state", help="Whatever their state, replaced ones too."),
        split: SplitChoice | None = _SPLIT,
        origin: OriginChoice | None = _ORIGIN,
        scope: str | None = _SCOPE,
        platform: str | None = _PLATFORM,
        channel: str | None = _CHANNEL,
        author: str | None = _AUTHOR,
        source: str | None = _SOURCE,
        json_: bool = typer.Option(False, "--json", help="The same as --format json."),
    ) -> None:
        """Export pairs as rows that `pairs import` reads; approved ones in use unless told otherwise."""
        from dataclasses import replace

        wanted = _filter(None if every_state else state, split, origin, scope, platform, channel, author, source)
        wanted = replace(wanted, replaced=None if every_state else False)
        run_export(output, wanted, format=FormatChoice.json if json_ else format)

    @pairs.command("list")
    def list_(
        state: StateChoice | None = _STATE,
        split: SplitChoice | None = _SPLIT,
        origin: OriginChoice | None = _ORIGIN,
        scope: str | None = _SCOPE,
        platform: str | None = _PLATFORM,
        channel: str | None = _CHANNEL,
        author: str | None = _AUTHOR,
        source: str | None = _SOURCE,
        limit: int = typer.Option(50, "--limit", min=1, max=500, help="How many, the newest first."),
        after: str = typer.Option("", "--after", help="Only those after this id in the list: the next page."),
        json_: bool = _JSON,
    ) -> None:
        """List pairs, newest first; of private conversations without their text."""
        wanted = _filter(state, split, origin, scope, platform, channel, author, source)
        run_list(wanted, limit=limit, after=after, json_=json_)

    @pairs.command()
    def show(pair: str = typer.Argument(..., help="Its id, or the beginning of it."), json_: bool = _JSON) -> None:
        """Show a pair with its conversation; that of a private channel is recorded as opened."""
        run_show(pair, json_=json_)

    @pairs.command()
    def approve(
        pair: list[str] = typer.Argument(None, help="Their ids, or the beginnings of them."),
        all_: bool = _ALL,
        seen: str = typer.Option("", "--seen", help="`seen` of `pairs show --json`: refuse if it has changed since."),
        split: SplitChoice | None = _SPLIT,
        origin: OriginChoice | None = _ORIGIN,
        scope: str | None = _SCOPE,
        platform: str | None = _PLATFORM,
        channel: str | None = _CHANNEL,
        author: str | None = _AUTHOR,
        source: str | None = _SOURCE,
        json_: bool = _JSON,
    ) -> None:
        """Approve pairs that wait."""
        wanted = _filter(None, split, origin, scope, platform, channel, author, source)
        run_decide("approved", pair or [], wanted, all_=all_, seen=seen, json_=json_)

    @pairs.command()
    def reject(
        pair: list[str] = typer.Argument(None, help="Their ids, or the beginnings of them."),
        reason: str = typer.Option(..., "--reason", help="What is wrong with them."),
        all_: bool = _ALL,
        seen: str = typer.Option("", "--seen", help="`seen` of `pairs show --json`: refuse if it has changed since."),
        split: SplitChoice | None = _SPLIT,
        origin: OriginChoice | None = _ORIGIN,
        scope: str | None = _SCOPE,
        platform: str | None = _PLATFORM,
        channel: str | None = _CHANNEL,
        author: str | None = _AUTHOR,
        source: str | None = _SOURCE,
        json_: bool = _JSON,
    ) -> None:
        """Reject pairs, approved ones too where they are named by their ids."""
        wanted = _filter(None, split, origin, scope, platform, channel, author, source)
        run_decide("rejected", pair or [], wanted, all_=all_, seen=seen, reason=reason, json_=json_)

    @pairs.command()
    def reopen(pair: str = typer.Argument(..., help="Its id, or the beginning of it."), json_: bool = _JSON) -> None:
        """Take a decision back: the pair waits again."""
        run_reopen(pair, json_=json_)

    @pairs.command()
    def stats(json_: bool = _JSON) -> None:
        """Count pairs by scope, and say what each scope's gate still lacks."""
        run_stats(json_=json_)


def _filter(
    state: StateChoice | None,
    split: SplitChoice | None,
    origin: OriginChoice | None,
    scope: str | None,
    platform: str | None,
    channel: str | None,
    author: str | None,
    source: str | None,
) -> PairFilter:
    from engine.learning.selection import place_of
    from engine.learning.settings import LearningSettings
    from storage.pair_filters import PairFilter

    return PairFilter(
        state=state.value if state else None,
        split=split.value if split else None,
        origin=origin.value if origin else None,
        platform=platform,
        channel=channel,
        author_id=author,
        source=source,
        within=place_of(scope, LearningSettings.load()) if scope else None,
    )


@contextmanager
def _database() -> Iterator[Database]:
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load())
    try:
        yield database
    finally:
        database.close()


def run_import(file: Path, options: Options, *, json_: bool) -> None:
    """Import and say what came in."""
    from dataclasses import asdict

    from admin.person import person
    from admin.report import print_json
    from engine.learning.importing import import_pairs

    with _database() as database, _following() as tell:
        done = import_pairs(database, file, options, by=person(), tell=tell)
    if json_:
        print_json(asdict(done))
        return
    sides = ", ".join(f"{done.splits[side]:,} {name}" for side, name in _SIDES.items() if done.splits.get(side))
    typer.echo(f"Imported {done.added:,} of {done.rows:,} rows{f': {sides}' if sides else ''}.")
    if done.duplicates:
        typer.echo(f"{done.duplicates:,} are there already.")
    if done.empty:
        typer.echo(f"{done.empty:,} have no dialogue or no summary.")
    if done.moved:
        typer.echo(f"{done.moved:,} resemble conversations on another side than the one asked for, and went there.")
    if done.added and not options.approve:
        typer.echo("They wait for approval: `redraft pairs approve --all`, or one by one.")


_SIDES = {"train": "to train on", "heldout": "held out", "bridge": "like both sides and used for neither"}


@contextmanager
def _following() -> Iterator[Tell]:
    from admin.report import progress_on_stderr

    with progress_on_stderr() as progress:
        if progress is None:
            yield lambda *_: None
            return
        task = progress.add_task("Reading", total=None)
        yield lambda what, rows: progress.update(task, description=f"{what}: {rows:,} rows")


def run_export(output: Path | None, wanted: PairFilter, *, format: FormatChoice) -> None:
    """Write the pairs to a file or to standard output."""
    import io
    import os
    import sys

    from admin.person import person
    from engine.learning.exporting import export_pairs, written

    with _database() as database:
        if output is None:
            out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
            try:
                export_pairs(database, out, wanted, format=format.value, by=person())
                out.flush()
                out.detach()
            except BrokenPipeError:
                # Whoever read has had enough, as `head` has. What is left must find no closed pipe when Python ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        with written(output) as file:
            count = export_pairs(database, file, wanted, format=format.value, by=person())
    typer.echo(f"Exported {count:,} {'pair' if count == 1 else 'pairs'} to {output}.", err=True)


def run_list(wanted: PairFilter, *, limit: int, after: str, json_: bool) -> None:
    """Print a page of pairs."""
    from admin.pairs_view import line_document, told_line
    from admin.report import print_json
    from engine.learning.pairs import list_pairs

    with _database() as database, database.read() as session:
        lines = list_pairs(session, wanted, limit=limit, after=after)
    more = lines[-1].id if len(lines) == limit else None
    if json_:
        print_json({"pairs": [line_document(line) for line in lines], "next_after": more})
        return
    for line in lines:
        typer.echo(told_line(line))
    if not lines:
        typer.echo("There are no such pairs.")
    if more:
        typer.echo(f"More: add --after {more[:12]}")


def run_show(pair: str, *, json_: bool) -> None:
    """Print one pair with its texts."""
    from admin.pairs_view import pair_document, told_pair
    from admin.person import person
    from admin.report import print_json
    from engine.learning.pairs import open_pair

    with _database() as database:
        row = open_pair(database, pair_id=pair, by=person())
    if json_:
        print_json(pair_document(row))
    else:
        typer.echo(told_pair(row))


def run_decide(
    to: str, pairs: list[str], wanted: PairFilter, *, all_: bool, seen: str = "", reason: str = "", json_: bool
) -> None:
    """Approve or reject pairs by their ids, or all that wait and that the filters find."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning import pairs as rules
    from storage.pair_filters import PairFilter

    if all_ == bool(pairs):
        raise typer.BadParameter("Name pairs by their ids, or add --all; not both.")
    if pairs and wanted != PairFilter():
        raise typer.BadParameter("Filters go with --all.")
    if seen and len(pairs) != 1:
        raise typer.BadParameter("--seen goes with the id of one pair.")
    by = person()
    with _database() as database:
        if all_:
            count = rules.decide_matching(database, wanted=wanted, to=to, by=by, reason=reason, administrator=True)
        elif to == "approved":
            count = len(rules.approve(database, pair_ids=pairs, by=by, administrator=True, seen=seen))
        else:
            count = len(rules.reject(database, pair_ids=pairs, by=by, reason=reason, seen=seen))
    if json_:
        print_json({to: count})
    else:
        typer.echo(f"{to.capitalize()} {count:,} {'pair' if count == 1 else 'pairs'}.")


def run_reopen(pair: str, *, json_: bool) -> None:
    """Take a decision back and say so."""
    from admin.person import person
    from admin.report import print_json
    from engine.learning.pairs import reopen

    with _database() as database:
        row = reopen(database, pair_id=pair, by=person())
    if json_:
        print_json({"id": row.id, "state": row.state})
    else:
        typer.echo(f"The pair {row.id[:12]} waits for a decision again.")


def run_stats(*, json_: bool) -> None:
    """Count by scope."""
    from admin.pairs_view import stats_document, told_stats
    from admin.report import print_json
    from engine.learning.settings import LearningSettings
    from engine.learning.stats import stats

    with _database() as database, database.read() as session:
        found = stats(session, LearningSettings.load())
    if json_:
        print_json({"scopes": [stats_document(one) for one in found]})
    else:
        typer.echo("\n\n".join(told_stats(one) for one in found))
