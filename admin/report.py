"""How the command line speaks: errors on standard error, results on standard output, progress where a person looks.

Standard output carries results only, so that ``--json`` prints one document and nothing else. It knows nothing of
what the commands do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import RedraftError

if TYPE_CHECKING:
    from rich.progress import Progress


def report_error(error: RedraftError) -> None:
    """Print an error's sentence and, on a line of its own, what to do next."""
    print(f"redraft: {error.message}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"         {error.hint}", file=sys.stderr)  # noqa: T201


def report_unexpected(error: Exception) -> None:
    """Keep where a defect came from in a file and print one sentence that names it."""
    name = type(error).__name__
    try:
        from storage.logs import describe_exception

        path = _error_log()
        with path.open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n")
            log.write(f"{describe_exception(error)}\n")
        path.chmod(0o600)
        where = f"The details are in {path}; please report them."
    except (OSError, RedraftError):
        where = "The details could not be written to the data directory; `redraft doctor` checks it."
    report_error(RedraftError(f"Something went wrong that should not have ({name}).", where))


def _error_log() -> Path:
    from storage.home import Home
    from storage.settings import StorageSettings

    return Home.create(StorageSettings.load()).logs / "errors.log"


def print_json(document: Any) -> None:
    """Print one JSON document on standard output, UTF-8, keys in the order given."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def progress_on_stderr() -> Iterator[Progress | None]:
    """A rich progress display on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress
