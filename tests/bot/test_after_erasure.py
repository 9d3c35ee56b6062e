"""After `redraft forget` the bot trains anew without what is gone; what learnt from it goes once that one serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlmodel import col

from bot.fine_tunes import FineTunes
from engine.learning.daily import parts
from engine.learning.erasure import forget
from engine.learning.ledger_check import show
from engine.learning.pointers import pointer
from engine.learning.promotion import promote
from engine.learning.settings import LearningSettings
from engine.settings import EngineSettings
from storage.database import Database
from storage.home import Home
from storage.learning_tables import AdapterRow, RunPairRow, RunRow
from storage.settings import StorageSettings
from tests.engine.learning import making
from tests.engine.learning.planting import IMKE, OTHERS, learn, pair, plant

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
LEARNING = LearningSettings(train_schedule="")


@pytest.fixture
def kind() -> str:
    return "sqlite"  # the queries are tested on both elsewhere


class Spawned:
    """Starts a process that does nothing, in place of a fine-tune."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, home: Home, run_id: str) -> subprocess.Popen[bytes]:
        self.runs.append(run_id)
        self.processes.append(subprocess.Popen([sys.executable, "-S", "-c", ""]))
        return self.processes[-1]


@pytest.fixture
def spawned() -> Iterator[Spawned]:
    found = Spawned()
    yield found
    for process in found.processes:
        process.wait(30)


def put_in_service(database: Database, adapter: str) -> None:
    promote(database, database.home, LEARNING, adapter_id=adapter, by="local:ana", force=True, reason="x", now=NOW)


def test_the_bot_trains_anew_without_what_is_gone_and_then_the_tainted_one_goes(
    database: Database, settings: StorageSettings, spawned: Spawned
) -> None:
    home = database.home
    plant(database)
    with database.write() as session:
        session.add_all(
            pair(f"imported-{number}", f"import-{number + 10}", f"{OTHERS} in house {number}", origin="imported")
            for number in range(3)
        )
    put_in_service(database, tainted := learn(database, pairs=("edited", "imported-0")))
    assert forget(database, home, LEARNING, user=IMKE, by="local:ana", now=NOW).owed == ("default",)

    bot = FineTunes(database, home, LEARNING, EngineSettings(), spawn=spawned)
    bot.look(NOW + timedelta(minutes=1))
    (run_id,) = spawned.runs
    with database.read() as session:
        run = session.get(RunRow, run_id)
        assert run is not None
        assert (run.scope, run.cause) == ("default", "erasure")
        trained = set(session.scalars(select(col(RunPairRow.pair_id)).where(col(RunPairRow.run_id) == run_id)))
    assert trained == {f"imported-{number}" for number in range(3)}

    (line,) = show(database, actions=["run.requested"], subject=run_id).lines
    assert (line.actor, line.details["cause"], line.details["pairs"]) == ("redraft", "erasure", 3)

    with database.write() as session:
        row = session.get(RunRow, run_id)
        assert row is not None
        row.state = "finished"
    fresh = making.candidate(database, seed=9, run_id=run_id, now=NOW + timedelta(hours=1))
    bot.look(NOW + timedelta(hours=2))
    assert spawned.runs == [run_id]  # nothing is owed any more
    with database.read() as session:
        assert pointer(session, "default") == tainted  # it serves on until somebody promotes

    put_in_service(database, fresh.id)
    parts(database, home, settings, LEARNING, NOW + timedelta(days=1))["erasures"]()
    with database.read() as session:
        assert pointer(session, "default") == fresh.id
        gone = session.get(AdapterRow, tainted)
        assert gone is not None
        assert gone.state == "retired"
    assert [path.name for path in home.adapters.iterdir()] == [fresh.id]
