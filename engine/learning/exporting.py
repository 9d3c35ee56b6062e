"""Exporting pairs: the rows that :mod:`engine.learning.importing` reads, in an order that depends on nothing else.

What is exported, imported elsewhere and exported again is the same bytes. That private conversations leave the
database with it is what the ledger's line is for; it is written first. Rows are read in short transactions, so that a
slow reader of the output keeps nobody from writing.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, cast

from engine.learning.ledger import pseudonym, recorded
from engine.learning.pair_rows import COLUMNS, row_of
from storage import pair_queries as queries
from storage.errors import StorageError
from storage.pair_filters import PairFilter

if TYPE_CHECKING:
    from storage.database import Database

Format = Literal["jsonl", "json", "csv"]

_BATCH = 500


def export_pairs(
    database: Database, out: TextIO, wanted: PairFilter, *, format: Format, by: str, now: datetime | None = None
) -> int:
    """Write the pairs of a filter, in the order of their sources, names and contents.

    Args:
        out: where to; opened with ``newline=""``.

    Returns:
        How many.

    Raises:
        StorageError: the database cannot be used, or it could not be recorded; then nothing was written.
    """
    with recorded(database) as (session, ledger):
        found = sorted(queries.export_order(session=session, wanted=wanted))
        private = sum(one.private for one in found)
        chosen = {name: value for name, value in asdict(wanted).items() if value is not None}
        if wanted.author_id is not None:
            chosen["author_id"] = pseudonym(session, wanted.author_id)
        details: dict[str, Any] = {"count": len(found), "private": private, "filter": chosen}
        ledger.append("pairs.exported", by=by, details=details, now=(now or datetime.now(UTC)).astimezone(UTC))
    rows = _rows(database, [one.id for one in found])
    return {"jsonl": _jsonl, "json": _json, "csv": _csv}[format](rows, out)


def _rows(database: Database, ids: list[str]) -> Iterator[dict[str, Any]]:
    for at in range(0, len(ids), _BATCH):
        batch = ids[at : at + _BATCH]
        with database.read() as session:
            found = {str(one["id"]): one for one in queries.pair_texts(session=session, ids=batch)}
        # One that was erased since the order was made is not there any more.
        for pair_id in batch:
            if pair_id in found:
                row = row_of(found[pair_id])
                yield {name: row[name] for name in COLUMNS}


def _jsonl(rows: Iterator[dict[str, Any]], out: TextIO) -> int:
    count = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _json(rows: Iterator[dict[str, Any]], out: TextIO) -> int:
    count = 0
    out.write("[")
    for row in rows:
        out.write((",\n" if count else "\n") + json.dumps(row, ensure_ascii=False))
        count += 1
    out.write("\n]\n")
    return count


def _csv(rows: Iterator[dict[str, Any]], out: TextIO) -> int:
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow({**row, "summaries": json.dumps(row["summaries"], ensure_ascii=False)})
        count += 1
    return count


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A new file for an export, gzipped where its name ends so, there once the block has ended well.

    Only its owner may read it.

    Raises:
        StorageError: there is a file of that name, or it cannot be written.
    """
    if path.exists():
        raise StorageError(f"There is a file {path} already.", "Name another one, or remove it.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            # Neither name nor time in it: the same pairs make the same bytes.
            packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.suffix == ".gz" else None
            text = io.TextIOWrapper(cast("BinaryIO", packed or file), encoding="utf-8", newline="")
            try:
                yield text
                text.flush()
            finally:
                text.detach()
                if packed is not None:
                    packed.close()
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(
            f"The file {path} cannot be written ({error.strerror or type(error).__name__}).",
            "Name another place, or free some space.",
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
