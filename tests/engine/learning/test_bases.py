"""The base of what is in service serves on when another is configured, until a person decides."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from engine.learning import promotion
from engine.learning.bases import BaseInService, BaseWatch, base_in_service
from engine.learning.settings import LearningSettings
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import StorageError
from storage.settings import StorageSettings
from tests.engine.learning.making import START, candidate, gate, run, serve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STARTER = EngineSettings(engine_model="starter")


def directory(path: Path, words: str = "one") -> EngineSettings:
    """A model's directory, as far as it is looked at before it is loaded."""
    from safetensors.numpy import save_file

    path.mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}')
    import numpy

    save_file({"w": numpy.frombuffer(words.encode().ljust(16), dtype=numpy.int32)}, path / "model.safetensors")
    return EngineSettings(engine_model=str(path))


def in_service(database: Database, settings: EngineSettings, *, seed: int = 1, scope: str = "default") -> str:
    """An adapter in service whose run was made on these settings' model."""
    name = Path(settings.engine_model).name
    run(database, f"run-{seed}", scope=scope, settings={"engine_model": settings.engine_model})
    return serve(
        database, seed=seed, run_id=f"run-{seed}", scope=scope, base_model=name, base_revision=settings.engine_revision
    ).id


def test_with_nothing_in_service_the_configured_base_serves(database: Database, tmp_path: Path) -> None:
    candidate(database, seed=1, base_model="another")
    configured = directory(tmp_path / "mine")
    assert base_in_service(database, configured) == BaseInService(configured, "mine")


def test_old_base_serves_on_when_another_is_configured_and_says_so(database: Database, tmp_path: Path) -> None:
    old, new = directory(tmp_path / "old"), directory(tmp_path / "new")
    in_service(database, old)
    assert base_in_service(database, old).configured
    found = base_in_service(database, new)
    assert (found.settings.engine_model, found.label, found.configured) == (old.engine_model, "old", False)
    assert found.settings.engine_max_batch == new.engine_max_batch
    assert "old serves on, and not new as configured" in found.detail


def test_a_model_of_the_hub_serves_on_at_the_commit_its_adapters_belong_to(database: Database) -> None:
    old = EngineSettings(engine_model="ana/model", engine_revision=COMMIT)
    run(database, "run-1", settings={"engine_model": "ana/model"})
    serve(database, seed=1, run_id="run-1", base_model="ana/model", base_revision=COMMIT)
    assert base_in_service(database, old).configured
    for configured in (STARTER, EngineSettings(engine_model="ana/model", engine_revision="f" * 40)):
        found = base_in_service(database, configured).settings
        assert (found.engine_model, found.engine_revision) == ("ana/model", COMMIT)


def test_promotion_of_a_candidate_on_the_new_base_or_the_end_of_the_old_adapters_moves_the_base(
    settings: StorageSettings, database: Database, tmp_path: Path
) -> None:
    old, new = directory(tmp_path / "old"), directory(tmp_path / "new")
    first = in_service(database, old)
    run(database, "run-2", settings={"engine_model": new.engine_model})
    second = candidate(database, seed=2, run_id="run-2", base_model="new")
    gate(database, second, against=first)
    moved: list[str] = []
    heard = threading.Event()

    def on_change(base: BaseInService) -> None:
        moved.append(base.label)
        heard.set()

    watch = BaseWatch(lambda: Database.open(settings), new, base_in_service(database, new), on_change, every_s=0.01)
    assert watch.look() is None
    watch.start()
    promotion.promote(database, database.home, LearningSettings(), adapter_id=second.id, by="local:ana", now=START)
    assert heard.wait(20)
    watch.stop()
    assert moved == ["new"]
    promotion.rollback(
        database, database.home, LearningSettings(), scope="default", by="local:ana", reason="slower", now=START
    )
    assert base_in_service(database, new).label == "old"
    promotion.retire(database, database.home, LearningSettings(), adapter_id=first, by="local:ana", now=START)
    assert base_in_service(database, new) == BaseInService(new, "new")


def test_two_directories_of_one_name_are_two_bases_unless_they_hold_the_same(
    database: Database, tmp_path: Path
) -> None:
    old = directory(tmp_path / "a" / "model", "one")
    other = directory(tmp_path / "b" / "model", "two")
    copy = directory(tmp_path / "c" / "model", "one")
    in_service(database, old)
    assert base_in_service(database, copy).configured
    found = base_in_service(database, other)
    assert (found.configured, found.settings.engine_model) == (False, old.engine_model)


def test_an_old_base_that_is_not_here_any_more_is_told_and_the_configured_one_serves(
    database: Database, tmp_path: Path
) -> None:
    old = directory(tmp_path / "old")
    in_service(database, old)
    shutil.rmtree(old.engine_model)
    found = base_in_service(database, STARTER)
    assert (found.settings, found.configured) == (STARTER, True)
    assert "belong to old, which is not on this machine any more" in found.detail


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_watch_waits_for_a_database_that_is_not_there_or_cannot_be_opened_yet(
    settings: StorageSettings, database: Database, tmp_path: Path
) -> None:
    old, new = directory(tmp_path / "old"), directory(tmp_path / "new")
    in_service(database, old)
    heard = threading.Event()
    answers: list[Database | StorageError | None] = [None, StorageError("It is locked."), database]

    def opened() -> Database | None:
        answer = answers.pop(0)
        if isinstance(answer, StorageError):
            raise answer
        return answer

    watch = BaseWatch(opened, new, BaseInService(new, "new"), lambda _: heard.set(), every_s=0.01)
    watch.start()
    assert heard.wait(20)
    watch.stop()
    assert answers == []
