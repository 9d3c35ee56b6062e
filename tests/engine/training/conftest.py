"""Teachable tiny models, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def teachable_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of the teachable models, by family."""
    from tests.engine.tiny import NAMES
    from tests.engine.training.support import teachable

    folder = tmp_path_factory.mktemp("teachable")
    return {name: teachable(name, folder / name) for name in NAMES}
