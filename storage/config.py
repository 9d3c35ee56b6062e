"""What the settings classes of all packages share: where the ``.env`` is, and how a bad value is told.

``StorageSettings``, ``EngineSettings`` and ``BotSettings`` are made from :class:`ProjectSettings`, each in its own
package; one ``.env`` feeds them all. Entry points call ``load`` once and pass the result down: nothing else reads the
environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.errors import SettingsError

#: Values that examples and tutorials carry; taken for a real one they fail late and confusingly.
_WORDS = r"change[-_ ]?me|replace[-_ ]?me|your[-_ ][\w -]*|xxx+|placeholder"
_PLACEHOLDER = re.compile(rf"{_WORDS}|<[^>]*>|todo", re.IGNORECASE)
#: In a secret they are words of their own: the random letters of a real one may spell any of them.
_IN_SECRET = re.compile(rf"(?<![a-z0-9])(?:{_WORDS})(?![a-z0-9])|<[^>]*>", re.IGNORECASE)
#: User and password of an address, divided from the rest as SQLAlchemy does it.
_CREDENTIALS = re.compile(r"[\w+]+://(?P<credentials>[^:/]*(?::[^@]*)?)@")


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


def source_of(name: str) -> str:
    """Where a setting's value comes from: ``environment``, the name of the ``.env``, or ``default``.

    Args:
        name: as in the ``.env``; upper and lower case are the same.
    """
    from dotenv import dotenv_values

    # As it is read: an empty value counts as none.
    if any(key.upper() == name.upper() and value for key, value in os.environ.items()):
        return "environment"
    path = env_file()
    if path is not None and path.is_file():
        for key, value in dotenv_values(path).items():
            if key.upper() == name.upper() and value:
                return path.name
    return "default"


class ProjectSettings(BaseSettings):
    """Base of every settings class: typed, with defaults, placeholders refused, unknown names left to the others."""

    model_config = SettingsConfigDict(
        extra="ignore",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        frozen=True,
        # A refused value may be a password, and pydantic's own message would repeat it.
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_placeholders(cls, value: Any, info: ValidationInfo) -> Any:
        """A placeholder is refused at start: anywhere in a secret, and as the whole of any other value.

        A directory may well be called ``todo``; a token that says ``your-token`` somewhere is no token. Of an address,
        user and password are the secret: a host may be called ``your-db``.
        """
        field = cls.model_fields[str(info.field_name)]
        secret = SecretStr in (field.annotation, *get_args(field.annotation))
        found = isinstance(value, str) and (_is_no_secret(value) if secret else _PLACEHOLDER.fullmatch(value.strip()))
        if found:
            raise ValueError("is still a placeholder")
        return value

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the ``.env`` and the environment (which wins); ``given`` wins over both.

        Raises:
            SettingsError: a value is malformed or a placeholder (the setting is named, its value is not shown), or the
                ``.env`` is not there or cannot be read.
        """
        path = None
        try:
            path = env_file()
            # `exists`, not `is_file`: /dev/null is how a process is started with no settings file at all.
            if path is not None and (not path.exists() or path.is_dir()):
                raise SettingsError(
                    f"The settings file {path} does not exist.", "Correct REDRAFT_ENV_FILE or create it."
                )
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
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SettingsError(
                f"The settings file {path or error.filename} cannot be read ({reason}).",
                "Correct its owner or permissions, or name another one in REDRAFT_ENV_FILE.",
            ) from error


def _is_no_secret(value: str) -> bool:
    address = _CREDENTIALS.match(value.strip())
    if address is None and "://" in value:
        return False
    return _IN_SECRET.search(address["credentials"] if address else value) is not None
