"""A restore brings nobody back who was erased since, and is told apart from tampering in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from engine.learning import erasure_files, heads, restoring
from engine.learning import erasure_journal as journal
from engine.learning.erasure import forget, resume, retire_overdue
from engine.learning.ledger import recorded
from engine.learning.ledger_check import Verification, show, verify
from engine.learning.pointers import pointer
from engine.learning.promotion import promote
from engine.learning.restoring import Restored
from engine.learning.settings import LearningSettings
from storage import restore as mechanism
from storage.backup import backup
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import AdapterRow
from storage.settings import StorageSettings
from tests.engine.learning.planting import (
    ACCOUNT,
    IMKE,
    NOW,
    OTHERS,
    SENTENCE,
    columns_with,
    conversation,
    files_with,
    imke,
    learn,
    plant,
    summarise,
)

LEARNING = LearningSettings()
TRACES = (SENTENCE, ACCOUNT)
LATER = NOW + timedelta(days=1)
Make = Callable[..., StorageSettings]
#: For what is the same on both databases.
on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])


@contextmanager
def opened(settings: StorageSettings) -> Iterator[Database]:
    with closing(Database.open(settings)) as database:
        yield database


def erase(settings: StorageSettings, **given: object) -> None:
    with opened(settings) as database:
        values = {"user": IMKE, "by": "local:ana", "now": LATER, **given}
        forget(database, database.home, LEARNING, **values)  # type: ignore[arg-type]


def restore(settings: StorageSettings, saved: Path, *, force: bool = True) -> Restored:
    return restoring.restore(settings, saved, learning=LEARNING, by="local:ana", force=force, now=LATER)


def checked(settings: StorageSettings) -> Verification:
    with opened(settings) as database:
        return verify(database)


def write(settings: StorageSettings, lines: int) -> None:
    with opened(settings) as database:
        for number in range(lines):
            with recorded(database) as (_session, ledger):
                ledger.append("made", by="local:ana", subject=str(number))


def save(settings: StorageSettings, directory: Path) -> Path:
    backup(settings, directory, shown_settings={})
    return directory


@pytest.fixture
def saved(settings: StorageSettings, tmp_path: Path) -> Path:
    """A backup with Imke's words and an adapter in service that learnt from them."""
    with opened(settings) as database:
        plant(database, much=14)
        adapter = learn(database)
        promote(database, database.home, LEARNING, adapter_id=adapter, by="local:ana", force=True, reason="x", now=NOW)
    return save(settings, tmp_path / "saved")


def test_who_was_erased_since_the_backup_does_not_come_back(settings: StorageSettings, saved: Path) -> None:
    erase(settings)
    done = restore(settings, saved)
    assert (done.erasures, done.tidied) == (1, True)
    with opened(settings) as database:
        assert columns_with(database, *TRACES) == [] and files_with(database.home.root, *TRACES) == []
        assert columns_with(database, OTHERS)
        (line,) = show(database, actions=["erasure.repeated"]).lines
        assert line.details["counts"]["messages"] > 100
        with database.read() as session:
            (adapter,) = session.scalars(select(AdapterRow))
            assert adapter.tainted_at == LATER and pointer(session, "default") == adapter.id
        assert resume(database, database.home, LEARNING) is None
    assert checked(settings).findings == ()


def test_nobody_who_has_the_database_open_sees_them_meanwhile(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(settings)
    seen: list[list[str]] = []
    tidied = restoring._tidied

    def look(*given: object) -> bool:
        with opened(settings) as database:
            seen.append(columns_with(database, *TRACES))
        return tidied(*given)  # type: ignore[arg-type]

    # The first moment at which the restored database is in force.
    monkeypatch.setattr(restoring, "_tidied", look)
    restore(settings, saved)
    assert seen == [[]]


@on_sqlite
def test_adapters_that_went_at_once_do_not_serve_again(settings: StorageSettings, saved: Path) -> None:
    erase(settings, immediately=True)
    restore(settings, saved)
    with opened(settings) as database, database.read() as session:
        assert pointer(session, "default") == "base"
        assert list(database.home.adapters.iterdir()) == []


@on_sqlite
def test_adapters_that_went_when_it_was_asked_for_again_do_not_serve_again_either(
    settings: StorageSettings, saved: Path, tmp_path: Path
) -> None:
    erase(settings)
    between = save(settings, tmp_path / "between")
    erase(settings, now=LATER + timedelta(hours=1), immediately=True)
    for backup_ in (between, saved):
        restore(settings, backup_)
        with opened(settings) as database, database.read() as session:
            assert pointer(session, "default") == "base"
            assert list(database.home.adapters.iterdir()) == []


@on_sqlite
def test_adapters_of_an_erasure_that_was_ended_with_now_do_not_serve_again_either(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasure_files, "sweep", dies)
        erase(settings)
    erase(settings, immediately=True)
    restore(settings, saved)
    with opened(settings) as database, database.read() as session:
        assert pointer(session, "default") == "base"


def test_an_erasure_that_was_cut_off_before_the_rows_went_is_done_by_the_restore(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasure_files, "sweep", dies)
        erase(settings)
    assert restore(settings, saved).erasures == 1
    with opened(settings) as database:
        assert columns_with(database, *TRACES) == [] and files_with(database.home.root, *TRACES) == []
        assert journal.pending(database.home) is None


def test_a_backup_made_after_the_erasure_is_restored_as_it_is(
    settings: StorageSettings, saved: Path, tmp_path: Path
) -> None:
    erase(settings)
    with opened(settings) as database:
        summarise(database, conversation("again", imke(90)), OTHERS)
    assert restore(settings, save(settings, tmp_path / "after")).erasures == 0
    with opened(settings) as database:
        assert columns_with(database, SENTENCE)  # what she wrote since is hers to have read


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("sqlite", "sqlite"),
        pytest.param("sqlite", "postgresql", marks=pytest.mark.xdist_group("postgresql")),
        pytest.param("postgresql", "sqlite", marks=pytest.mark.xdist_group("postgresql")),
    ],
)
def test_a_new_machine_takes_over_erasures_and_heads_of_the_backup(
    settings: StorageSettings, saved: Path, tmp_path: Path, make_settings: Make, other: str
) -> None:
    erase(settings)
    after = save(settings, tmp_path / "after")
    there = make_settings(other, home=tmp_path / "there")
    restore(there, after, force=False)
    done = checked(there)
    assert done.findings == () and done.witnessed == done.lines and "tells of a restore" in done.notes[0]
    # The older one then does not bring her back there either.
    assert restore(there, saved).erasures == 1
    with opened(there) as database:
        assert columns_with(database, *TRACES) == []
    assert checked(there).findings == ()


@on_sqlite
def test_restores_back_and_forth_are_no_tampering(settings: StorageSettings, tmp_path: Path) -> None:
    write(settings, 3)
    old = save(settings, tmp_path / "old")
    write(settings, 5)
    new = save(settings, tmp_path / "new")
    write(settings, 2)
    for saved, more in ((old, 3), (new, 4), (old, 0), (old, 1), (new, 0)):
        restore(settings, saved)
        write(settings, more)
        done = checked(settings)
        assert done.findings == () and done.witnessed == done.lines
    branch = save(settings, tmp_path / "branch")
    restore(settings, old)
    restore(settings, branch)
    assert checked(settings).findings == ()


@on_sqlite
def test_what_is_done_to_a_restored_ledger_is_found(settings: StorageSettings, tmp_path: Path) -> None:
    write(settings, 3)
    old = save(settings, tmp_path / "old")
    write(settings, 4)
    restore(settings, old)
    write(settings, 2)
    for harm in ("DELETE FROM ledger WHERE seq = 6", "DELETE FROM ledger WHERE seq > 3", "DELETE FROM ledger"):
        with opened(settings) as database:
            with database.write() as session:
                session.execute(text(harm))
            assert verify(database).findings, harm


def test_a_database_put_back_by_hand_is_found_and_does_the_erasures_again(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings("sqlite")
    with opened(settings) as database:
        plant(database)
        with recorded(database) as (_session, ledger):
            ledger.append("made", by="local:ana")
        old = database.home.database.read_bytes()
    erase(settings)
    with opened(settings) as database:
        database.home.database.write_bytes(old)
        assert columns_with(database, *TRACES)
        assert verify(database).findings
        retire_overdue(database, database.home, LEARNING, now=LATER)
        assert columns_with(database, *TRACES) == [] and files_with(database.home.root, *TRACES) == []


def test_a_restore_that_fails_leaves_the_heads_as_they_were(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(settings) as database:
        before = heads.read(database.home)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mechanism, "copy_file", full)
    monkeypatch.setattr(mechanism, "copy_rows", full)
    with pytest.raises(StorageError, match="is full"):
        restore(settings, saved)
    with opened(settings) as database:
        assert heads.read(database.home) == before and verify(database).findings == ()


@on_sqlite
def test_one_killed_before_the_database_was_replaced_excuses_nothing_and_accuses_nobody(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(settings, 3)

    def killed(*_: object, **__: object) -> None:
        raise OSError(28, "killed")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(mechanism, "copy_file", killed)
        patch.setattr(mechanism, "copy_rows", killed)
        patch.setattr(restoring._Steward, "_shorten", lambda *_: None)
        restore(settings, saved)
    write(settings, 1)
    assert checked(settings).findings == ()
    with opened(settings) as database:
        with database.write() as session:
            session.execute(text("DELETE FROM ledger WHERE seq > 2"))
        assert verify(database).findings


@on_sqlite
def test_a_restore_waits_for_an_erasure(
    settings: StorageSettings, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "_WAIT_S", 0.05)
    with (
        opened(settings) as database,
        journal.alone(database.home, 1),
        pytest.raises(StorageError, match="Another erasure"),
    ):
        restore(settings, saved)
