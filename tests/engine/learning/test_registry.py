"""Rows and files of adapters stay together, or it is told that they are not."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from sqlmodel import select

from engine.learning.alerts import open_alerts
from engine.learning.ledger import recorded
from engine.learning.promotion import promote, rollback
from engine.learning.registry import (
    RegistrySource,
    active_adapter,
    find,
    in_service,
    lineage,
    list_adapters,
    record_candidate,
    recover,
)
from engine.learning.settings import LearningSettings
from engine.local import LocalClient
from engine.model.adapter_files import WEIGHTS
from engine.model.loading import load
from engine.requests import SummaryRequest
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import InputError
from storage.learning_tables import LedgerRow, PairRow, RunPairRow, RunRow
from tests.engine.learning.making import START, candidate, files, gate, run, serve
from tests.engine.model.lora import make_adapter
from tests.engine.test_client_contract import talk

CHANNEL, TEAM = "slack:T1/C1", "slack:T1"


def test_an_adapter_recorded_twice_is_one_candidate_with_one_line_and_its_run_names_it(database: Database) -> None:
    manifest = files(database.home.adapters, run_id="run-1")
    run(database, "run-1")
    for _ in range(2):
        with recorded(database) as (session, ledger):
            row = record_candidate(session, ledger, manifest, size_bytes=10)
    assert (row.state, row.scope, row.train_pairs) == ("candidate", "default", 30)
    with database.read() as session:
        assert [line.action for line in session.scalars(select(LedgerRow))] == ["adapter.recorded"]
        made_by = session.get(RunRow, "run-1")
        assert made_by is not None
        assert made_by.adapter_id == row.id


def test_the_narrowest_scope_with_an_adapter_serves(database: Database) -> None:
    with database.read() as session:
        assert in_service(session, CHANNEL) == "base"
    everywhere = serve(database, seed=1).id
    with database.read() as session:
        assert in_service(session, CHANNEL) == everywhere
        assert active_adapter(session, CHANNEL) is None
    team = serve(database, seed=2, scope=TEAM).id
    with database.read() as session:
        assert in_service(session, CHANNEL) == team
        assert in_service(session, "default") == everywhere
        with pytest.raises(InputError, match="no scope"):
            in_service(session, "slack")


def test_what_an_engine_is_to_serve_leaves_out_what_is_not_on_this_machine(database: Database) -> None:
    everywhere, team = serve(database, seed=1).id, serve(database, seed=2, scope=TEAM).id
    waiting = candidate(database, seed=3).id
    source = RegistrySource(database, database.home)
    table = source.serving()
    assert table.active == {"default": everywhere, TEAM: team}
    assert set(table.available) == {everywhere, team, waiting}
    assert table.available[team] == str(database.home.adapters / team)
    shutil.rmtree(database.home.adapters / team)
    (database.home.adapters / waiting).rename(database.home.adapters / "elsewhere")
    (database.home.adapters / waiting).symlink_to(database.home.adapters / "elsewhere")
    table = source.serving()
    assert (dict(table.active), set(table.available)) == ({"default": everywhere}, {everywhere})


def test_what_served_before_stands_in_unless_it_was_rejected_tainted_is_missing_or_of_another_base(
    database: Database,
) -> None:
    source = RegistrySource(database, database.home)
    first, second = serve(database, seed=1, scope=TEAM).id, serve(database, seed=2, scope=TEAM).id
    candidate(database, seed=4, scope=TEAM)
    third = serve(database, seed=3, scope=TEAM).id
    everywhere = serve(database, seed=5).id
    table = source.serving()
    assert dict(table.before) == {TEAM: [second, first], "default": []}
    assert table.serving(TEAM) == (third, second, first)
    assert (table.serving("default"), table.serving(CHANNEL)) == ((everywhere,), ())

    shutil.move(database.home.adapters / second, database.home.root / second)
    assert source.serving().before[TEAM] == [first]
    shutil.move(database.home.root / second, database.home.adapters / second)
    for change in ({"tainted_at": START}, {"state": "rejected"}, {"base_model": "another"}):
        with database.write() as session:
            row = find(session, second)
            kept = {name: getattr(row, name) for name in change}
            for name, value in change.items():
                setattr(row, name, value)
        assert source.serving().before[TEAM] == [first], change
        with database.write() as session:
            row = find(session, second)
            for name, value in kept.items():
                setattr(row, name, value)
    assert source.serving().before[TEAM] == [second, first]


def test_nothing_stands_in_after_a_rollback_for_the_one_that_was_gone_back_to(database: Database) -> None:
    first, second = serve(database, seed=1).id, serve(database, seed=2).id
    rollback(database, database.home, LearningSettings(), scope="default", by="local:ana", reason="slower", now=START)
    table = RegistrySource(database, database.home).serving()
    assert (table.active, table.serving("default")) == ({"default": first}, (first,))
    assert second in table.available


def test_an_engine_that_starts_on_a_damaged_adapter_serves_with_the_one_before_it(
    database: Database, tiny_models: dict[str, Path]
) -> None:
    """The model, the files and the registry are what a restarted engine has; nothing had served in this process."""
    own = EngineSettings(engine_device="cpu", engine_threads=1, engine_model=str(tiny_models["bart"]))
    model = load(own)
    ids = []
    for seed in (1, 2):
        manifest = make_adapter(model, database.home.adapters, seed, run_id=f"run-{seed}")
        run(database, f"run-{seed}")
        with recorded(database) as (session, ledger):
            record_candidate(session, ledger, manifest, size_bytes=1)
        promote(
            database, database.home, LearningSettings(), adapter_id=manifest.id, by="local:ana", force=True,
            reason="x", now=START,
        )  # fmt: skip
        ids.append(manifest.id)
    damaged = database.home.adapters / ids[1] / WEIGHTS
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-100])

    async def written() -> tuple[str, str]:
        source = RegistrySource(database, database.home)
        client = LocalClient(own, load=lambda: model, adapters=source)
        try:
            (*_, last) = [event async for event in client.summarize(SummaryRequest(talk()))]
            return last.result.adapter, (await client.health()).detail
        finally:
            await client.close()

    adapter, detail = asyncio.run(written())
    assert adapter == ids[0]
    assert f"The adapter before it, {ids[0]}, serves default." in detail


def test_a_finished_adapter_whose_process_died_before_its_row_becomes_a_candidate(database: Database) -> None:
    manifest = files(database.home.adapters, run_id="run-1")
    run(database, "run-1", state="running")
    foreign = files(database.home.adapters, seed=2, run_id="of another database")
    (database.home.adapters / "holiday-photos").mkdir()
    unfinished = database.home.adapters / ".new-x7"
    unfinished.mkdir()
    (unfinished / "adapter_model.safetensors").write_bytes(b"half")
    done = recover(database, database.home, now=START)
    assert (done.recorded, done.removed, done.missing) == ([manifest.id], 1, [])
    assert set(done.unknown) == {foreign.id, "holiday-photos"}
    assert not unfinished.exists()
    assert (database.home.adapters / "holiday-photos").is_dir()
    with database.read() as session:
        assert [row.id for row in list_adapters(session)] == [manifest.id]
    again = recover(database, database.home, now=START)
    assert (again.recorded, again.removed) == ([], 0)


def test_an_adapter_whose_files_are_gone_is_told_and_out_of_service_where_there_is_one_machine(
    database: Database,
) -> None:
    served, waiting = serve(database, seed=1).id, candidate(database, seed=2).id
    for name in (served, waiting):
        (database.home.adapters / name).rename(database.home.root / name)
    assert set(recover(database, database.home, now=START).missing) == {served, waiting}
    recover(database, database.home, now=START)  # told once
    one_machine = database.kind == "sqlite"
    with database.read() as session:
        alerts = open_alerts(session)
        assert {alert.subject for alert in alerts} == {served, waiting}
        assert {alert.kind for alert in alerts} == {"adapter-missing"}
        active = active_adapter(session, "default")
        assert (active is None) == one_machine
        retired = [line for line in session.scalars(select(LedgerRow)) if line.action == "adapter.retired"]
        assert len(retired) == one_machine
    assert RegistrySource(database, database.home).serving().active == {}
    for name in (served, waiting):
        (database.home.root / name).rename(database.home.adapters / name)
    recover(database, database.home, now=START)
    with database.read() as session:
        assert open_alerts(session) == []


def test_lineage_goes_from_the_pairs_over_the_run_to_the_adapter_and_its_base(database: Database) -> None:
    row = candidate(database, seed=1)
    with database.write() as session:
        for number, origin in enumerate(("blind", "blind", "edited")):
            session.add(
                PairRow(
                    id=f"p{number}", content_hash=f"h{number}", conversation_key=f"k{number}", dialogue="Ana: hi",
                    summary="Ana greets.", origin=origin, platform="file", state="approved", split="train",
                    created_at=START,
                )
            )  # fmt: skip
        session.flush()
        for pair in ("p0", "p1", "p2", "gone"):
            session.add(RunPairRow(run_id=row.run_id, pair_id=pair, role="train"))
    gate(database, row)
    promote(database, database.home, LearningSettings(), adapter_id=row.id, by="local:ana", now=START)
    with database.read() as session:
        found = lineage(session, database.home, row.id[:6])
    assert found.run is not None
    assert found.run.id == row.run_id
    assert found.pairs == {"blind": 2, "edited": 1, "erased": 1}
    assert found.evaluation is not None
    assert found.evaluation.verdict == "better"
    assert [(move.kind, move.replaced) for move in found.promotions] == [("promote", "base")]
    assert (found.present, found.adapter.base_model) == (True, "tiny")


def test_an_id_may_be_cut_short_as_long_as_one_adapter_is_meant(database: Database) -> None:
    row = candidate(database, seed=1)
    candidate(database, seed=2)
    with database.read() as session:
        assert find(session, row.id[:8]).id == row.id
        for wrong, told in (("a", "More than one"), ("", "no adapter"), ("%", "no adapter"), ("zz", "no adapter")):
            with pytest.raises(InputError, match=told):
                find(session, wrong)


def test_an_adapter_that_an_engine_refuses_is_told_once_until_one_could_attach_it(database: Database) -> None:
    before, row = serve(database, seed=2), serve(database, seed=1)
    source = RegistrySource(database, database.home)
    why = f"The adapter {row.id} was refused: its weights are not finite."
    for _ in range(2):
        source.report({row.id: why, "unknown": "The adapter unknown was refused.", before.id: "It too."}, [])
    with database.read() as session:
        assert [(alert.subject, alert.sentence) for alert in open_alerts(session)] == [(row.id, why)]
    source.report({}, [])  # an engine that has just begun has attached nothing yet
    with database.read() as session:
        assert len(open_alerts(session)) == 1
    source.report({}, [row.id])
    with database.read() as session:
        assert open_alerts(session) == []
