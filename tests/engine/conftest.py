"""What the engine's tests share: tiny models, made once a session, and loaded once per way of loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.model.generation import LoadedModel


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of the models in ``tests.engine.tiny.NAMES``, by name."""
    from tests.engine import tiny

    folder = tmp_path_factory.mktemp("tiny")
    return {name: tiny.make(name, folder / name) for name in tiny.NAMES}


@pytest.fixture(scope="session")
def load_tiny(tiny_models: dict[str, Path]) -> Callable[..., LoadedModel]:
    """``load_tiny(name, **settings)``: a tiny model on the CPU, the same one for the same settings."""
    from engine.model.loading import load
    from engine.settings import EngineSettings

    loaded: dict[Any, LoadedModel] = {}

    def load_one(name: str, **settings: Any) -> LoadedModel:
        key = (name, *sorted(settings.items()))
        if key not in loaded:
            # One thread: on matrices this small, waiting for a second one takes longer than the work.
            given = {"engine_device": "cpu", "engine_threads": 1, "engine_model": str(tiny_models[name]), **settings}
            loaded[key] = load(EngineSettings(**given))
        return loaded[key]

    return load_one
