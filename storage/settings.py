"""Storage's settings; see :class:`storage.config.ProjectSettings` for where they come from.

They say where the data is and how long it is kept. They open nothing and create nothing: :mod:`storage.home` makes
the directory, :mod:`storage.database` the database.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from storage.config import ProjectSettings

_POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")


class StorageSettings(ProjectSettings):
    """Data directory, database, retention and backups."""

    redraft_home: Path | None = Field(
        default=None,
        description="Directory of all data; empty is the platform's user data directory, `redraft`. Only its owner "
        "may read it.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="`postgresql://user:password@host/database` where several machines share the data; empty is an "
        "SQLite file in the data directory.",
    )
    database_wait_seconds: float = Field(
        default=30.0, gt=0, le=600, description="How long to wait for a database that another process is writing to."
    )
    retention_days: int = Field(
        default=30, ge=1, le=3650, description="Days that conversations are kept after they were last read."
    )
    backup_max_age_days: int = Field(
        default=7, ge=1, le=3650, description="Days after which `redraft doctor` calls the newest backup too old."
    )

    @field_validator("database_url")
    @classmethod
    def _only_known_databases(cls, value: SecretStr | None) -> SecretStr | None:
        """The value may carry a password, so the refusal does not repeat it."""
        if value is None:
            return None
        address = value.get_secret_value()
        if not address.startswith(_POSTGRESQL):
            raise ValueError("is not an address that begins with postgresql://")
        # Of all commands only those that are about to use such a database pay for the import.
        from sqlalchemy import exc, make_url

        try:
            make_url(address)
        except (ValueError, exc.ArgumentError):
            raise ValueError("is not of the form postgresql://user:password@host:5432/database") from None
        return value

    @property
    def home(self) -> Path:
        """The data directory as an absolute path; it may not exist yet."""
        if self.redraft_home is not None:
            return self.redraft_home.expanduser().absolute()
        import platformdirs

        return Path(platformdirs.user_data_dir("redraft", appauthor=False))

    @property
    def postgresql_url(self) -> str | None:
        """The PostgreSQL address as SQLAlchemy wants it (psycopg 3), or None where the database is SQLite."""
        if self.database_url is None:
            return None
        address = self.database_url.get_secret_value()
        return "postgresql+psycopg://" + address.split("://", 1)[1]
