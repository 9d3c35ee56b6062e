"""What the settings classes of all packages share: where the ``.env`` is, and how a bad value is told.

Each package owns one settings class (``StorageSettings``, ``EngineSettings``, ``BotSettings``, ``AdminSettings``) made
from :class:`ProjectSettings`; one ``.env`` feeds them all. Entry points call ``load`` once and pass the result down:
nothing else reads the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.errors import SettingsError

#: Values that examples and tutorials carry; taken for a real one they fail late and confusingly.
_PLACEHOLDER = re.compile(r"changeme|change-me|replace[-_]?me|your[-_ ]|<[^>]*>|xxx+|placeholder|todo", re.IGNORECASE)


def env_file() -> Path | None:
    """The ``.env`` in force: ``REDRAFT_ENV_FILE``, else one in the working directory, else in ``REDRAFT_HOME``."""
    named = os.environ.get("REDRAFT_ENV_FILE")
    if named:
        return Path(named)
    home = os.environ.get("REDRAFT_HOME")
    for candidate in (Path(".env"), *([Path(home) / ".env"] if home else [])):
        if candidate.is_file():
            return candidate
    return None


class ProjectSettings(BaseSettings):
    """Base of every settings class: typed, with defaults, placeholders refused, unknown names left to the others."""

    model_config = SettingsConfigDict(extra="ignore", env_file_encoding="utf-8", env_ignore_empty=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_placeholders(cls, value: Any) -> Any:
        """A placeholder is refused at start, whatever the setting."""
        if isinstance(value, str) and _PLACEHOLDER.search(value):
            raise ValueError("is still a placeholder")
        return value

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the ``.env`` and the environment (which wins); ``given`` wins over both.

        Raises:
            SettingsError: a value is malformed or a placeholder; the setting is named, its value is not shown.
        """
        path = env_file()
        # `exists`, not `is_file`: /dev/null is how a process is started with no settings file at all.
        if path is not None and (not path.exists() or path.is_dir()):
            raise SettingsError(f"The settings file {path} does not exist.", "Correct REDRAFT_ENV_FILE or create it.")
        try:
            return cls(_env_file=path, **given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "a setting"
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise SettingsError(
                f"The setting {name} cannot be used: {reason[:1].lower()}{reason[1:]}.",
                f"Correct it in {path or 'the environment'}; .env.example says what it takes.",
            ) from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"The settings file {path} is not UTF-8 text.", "Save it as UTF-8.") from error
