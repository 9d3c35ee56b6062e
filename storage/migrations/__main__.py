"""``python -m storage.migrations "what changes"``: write the next migration from what the tables say now.

For those who change the schema; it compares the tables with a scratch database at the newest revision, and what it
writes is a draft to read.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from storage.connection import engine_of_file
from storage.migrate import config, migrate_file
from storage.schema import revisions


def main() -> None:
    """Write ``versions/NNNN_what_changes.py``."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "scratch.db"
        known = revisions()
        if known:
            migrate_file(path)
        engine = engine_of_file(path)
        with engine.begin() as connection:
            command.revision(config(connection), sys.argv[1], autogenerate=True, rev_id=f"{len(known) + 1:04d}")
        engine.dispose()


if __name__ == "__main__":
    main()
