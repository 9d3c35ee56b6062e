"""Settings as they may be shown or kept: secrets replaced by whether they are set.

It knows a secret by its type (``SecretStr``), never by its name.
"""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from storage.config import ProjectSettings


def masked(*settings: ProjectSettings) -> dict[str, Any]:
    """All settings by their names in the ``.env``, JSON-serialisable; a secret is ``(set)`` or None."""
    shown: dict[str, Any] = {}
    for each in settings:
        for name in type(each).model_fields:
            value = getattr(each, name)
            if isinstance(value, SecretStr):
                value = "(set)" if value.get_secret_value() else None
            elif not isinstance(value, str | int | float | bool | list | None):
                value = str(value)
            shown[name.upper()] = value
    return shown
