"""Both databases, for the same tests: an SQLite file, and a PostgreSQL server that the tests start themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from storage.database import Database
from storage.settings import StorageSettings
from tests.storage.postgresql import running_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture
def make_postgresql(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes empty databases on the server, and gives their addresses; they go with the test."""
    made: list[str] = []

    def run(statement: str) -> str:
        server = str(request.getfixturevalue("postgresql_server"))
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(statement.encode())
        return server

    def make() -> str:
        made.append(f"redraft_{next(_numbers)}")
        return run(f"CREATE DATABASE {made[-1]} TEMPLATE template0").replace("/postgres?", f"/{made[-1]}?")

    yield make
    for name in made:
        run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_settings(own_home: Path, make_postgresql: Callable[[], str]) -> Callable[..., StorageSettings]:
    """Settings for a database of a kind that does not exist yet (SQLite) or is empty (PostgreSQL)."""

    def make(kind: str, home: Path = own_home, **given: object) -> StorageSettings:
        address = make_postgresql() if kind == "postgresql" else None
        wait = {"database_wait_seconds": 20.0, **given}
        return StorageSettings.load(redraft_home=home, database_url=address, **wait)

    return make


@pytest.fixture(
    params=[
        "sqlite",
        # One worker runs all of these, so that one server is started.
        pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql")),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(kind: str, make_settings: Callable[..., StorageSettings]) -> StorageSettings:
    return make_settings(kind)


@pytest.fixture
def database(settings: StorageSettings) -> Iterator[Database]:
    opened = Database.open(settings)
    yield opened
    opened.close()
