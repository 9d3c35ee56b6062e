"""How the command line speaks: errors on standard error, results on standard output, progress where a person looks.

Standard output carries results only, so that ``--json`` prints one document and nothing else. It knows nothing of
what the commands do.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import RedraftError

if TYPE_CHECKING:
    from rich.progress import Progress

#: C1 controls, bidirectional marks, line separators: none of them is needed to read a document.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def report_error(error: RedraftError) -> None:
    """Print an error's sentence and, on a line of its own, what to do next."""
    from engine.text.safety import visible

    # A sentence may quote a file's name or content, and those must not be able to drive the terminal.
    print(f"redraft: {visible(error.message, keep_newlines=False)}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"         {visible(error.hint, keep_newlines=False)}", file=sys.stderr)  # noqa: T201


def report_unexpected(error: Exception) -> None:
    """Keep where a defect came from in a file and print one sentence that names it."""
    report_error(keep_unexpected(error))


def keep_unexpected(error: Exception) -> RedraftError:
    """Keep where a defect came from in a file; what may be said of it."""
    try:
        from storage.logs import describe_exception

        path = _error_log()
        with path.open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n")
            log.write(f"{describe_exception(error)}\n")
        path.chmod(0o600)
        where = f"The details are in {path}; please report them."
    except Exception:
        where = "The details could not be written to the data directory; `redraft doctor` checks it."
    return RedraftError(f"Something went wrong that should not have ({type(error).__name__}).", where)


def _error_log() -> Path:
    from storage.home import Home
    from storage.settings import StorageSettings

    return Home.create(StorageSettings.load()).logs / "errors.log"


def print_json(document: Any) -> None:
    """Print one JSON document on standard output, UTF-8, keys in the order given.

    Control and formatting characters that JSON would let stand (C1, bidirectional ones) are escaped.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2)
    sys.stdout.write(_UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


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
