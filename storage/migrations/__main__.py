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
from storage.schema import MIGRATIONS, revisions


def write(message: str, migrations: Path = MIGRATIONS) -> Path:
    """Write ``versions/NNNN_message.py`` and give its path."""
    known = revisions(migrations)
    revision = f"{len(known) + 1:04d}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "scratch.db"
        if known:
            migrate_file(path, migrations=migrations)
        engine = engine_of_file(path)
        with engine.begin() as connection:
            command.revision(config(connection, migrations), message, autogenerate=True, rev_id=revision)
        engine.dispose()
    return next((migrations / "versions").glob(f"{revision}_*.py"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(sys.argv[1])
