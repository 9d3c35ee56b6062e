"""A database with a little of everything, made once and copied for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.console.defects import Defects
from storage.database import Database
from storage.errors import RedraftError
from storage.settings import StorageSettings
from tests.admin.console.seeding import seed


@pytest.fixture(scope="session")
def seeded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("seeded") / "home"
    database = Database.open(StorageSettings(redraft_home=home))
    seed(database)
    database.close()
    return home


@pytest.fixture
def seeded(seeded_home: Path, own_home: Path) -> Iterator[Database]:
    """The test's own copy, in the data directory that its console opens."""
    shutil.copytree(seeded_home, own_home)
    own_home.chmod(0o700)
    database = Database.open(StorageSettings.load())
    yield database
    database.close()


@pytest.fixture(autouse=True)
def no_defect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The console goes on after a defect; a test does not, unless it is marked ``defects``."""
    found: list[Exception] = []
    real = Defects.told

    def told(self: Defects, error: Exception) -> RedraftError:
        made = real(self, error)
        if made is not error:
            found.append(error)
        return made

    monkeypatch.setattr(Defects, "told", told)
    yield
    if found and request.node.get_closest_marker("defects") is None:
        raise found[0]


@pytest.fixture
def same_words(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    """Settings that read the same wherever a test runs, for pictures of them."""
    monkeypatch.chdir(own_home.parent)
    monkeypatch.setenv("REDRAFT_HOME", own_home.name)
    monkeypatch.setenv("TRAIN_LOCK", "train.lock")
