"""The data directory: where everything that Redraft keeps is, readable by its owner only.

It knows names and permissions. What is in the files is the business of whoever writes them.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.settings import StorageSettings

_PRIVATE = 0o700
#: A directory that holds one of these is a data directory of ours, however it came to be open to others.
_OURS = frozenset({"redraft.db", "adapters", "runs"})


@dataclass(frozen=True, slots=True)
class Home:
    """Paths in the data directory.

    Attributes:
        root: the directory itself, absolute.
    """

    root: Path

    @classmethod
    def at(cls, settings: StorageSettings) -> Home:
        """The paths, with nothing created or checked."""
        return cls(settings.home)

    @classmethod
    def create(cls, settings: StorageSettings) -> Home:
        """The data directory, created with mode 0700 where it is missing, and tightened to it where it is open.

        Raises:
            StorageError: it cannot be created or written, or it is a directory of other things that others may read.
        """
        home = cls(settings.home)
        try:
            home.root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            home._tighten()
            if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            for directory in (home.adapters, home.runs, home.logs):
                directory.mkdir(mode=_PRIVATE, exist_ok=True)
        except OSError as error:
            raise _cannot_use(home.root, error) from error
        return home

    def _tighten(self) -> None:
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if not mode & 0o077:
            return
        visible = {entry.name for entry in self.root.iterdir() if not entry.name.startswith(".")} - {"lost+found"}
        if visible and not visible & _OURS:
            # Somebody's project or home directory: closing it to others is not ours to do.
            raise StorageError(
                f"The data directory {self.root} is open to other users (mode {mode:o}) and holds other files.",
                "Set REDRAFT_HOME to a directory of its own, or run: chmod 700 " + str(self.root),
            )
        self.root.chmod(_PRIVATE)

    @property
    def database(self) -> Path:
        """The SQLite database; its journal lies beside it."""
        return self.root / "redraft.db"

    @property
    def up_lock(self) -> Path:
        """Held while `redraft up` looks after this directory."""
        return self.root / "up.lock"

    @property
    def models(self) -> Path:
        """Which commit each model of the Hub was first taken at, so that a model does not change under its adapters."""
        return self.root / "models.json"

    @property
    def adapters(self) -> Path:
        """One directory for each adapter, named by its id."""
        return self.root / "adapters"

    @property
    def runs(self) -> Path:
        """One directory for each fine-tune, named by its id."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.root / "logs"

    @property
    def copies(self) -> Path:
        """Copies of the database made before an upgrade or a forced restore; made when the first one is."""
        return self.root / "copies"

    @property
    def ledger_heads(self) -> Path:
        """Heads of the ledger's chain, kept outside the database."""
        return self.root / "ledger.heads"

    @property
    def engine_token(self) -> Path:
        """The token that a running engine asks of its clients."""
        return self.root / "engine.token"

    @property
    def schema_lock(self) -> Path:
        """The lock file under which the SQLite schema is created, upgraded or replaced."""
        return self.root / "schema.lock"


def _cannot_use(root: Path, error: OSError) -> StorageError:
    """The sentence for a directory that cannot be made or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"The disk of the data directory {root} is full.", "Free some space and try again.")
    reasons = {
        errno.EACCES: "no permission",
        errno.EPERM: "it belongs to someone else",
        errno.EROFS: "the file system is read-only",
        errno.ENOTDIR: "a part of its path is a file",
        errno.EEXIST: "there is a file of that name",
    }
    reason = reasons.get(error.errno or 0, (error.strerror or type(error).__name__).lower())
    return StorageError(
        f"The data directory {root} cannot be written: {reason}.",
        "Correct its permissions, or set REDRAFT_HOME to a directory that you may write.",
    )
