"""The data directory and the settings that say where it is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from storage.errors import SettingsError, StorageError
from storage.home import Home
from storage.masking import masked
from storage.settings import StorageSettings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_data_directory_is_created_for_its_owner_only(own_home: Path) -> None:
    home = Home.create(StorageSettings.load())
    assert home.root == own_home
    assert {mode(path) for path in (home.root, home.adapters, home.runs, home.logs)} == {0o700}


def test_the_data_directory_is_the_platforms_where_none_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REDRAFT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert StorageSettings.load().home == tmp_path / "data" / "redraft"


@pytest.mark.parametrize("inside", [[], [".env"], ["redraft.db", "notes.txt"]])
def test_an_open_data_directory_is_closed_to_others(own_home: Path, inside: list[str]) -> None:
    own_home.mkdir(mode=0o755)
    for name in inside:
        (own_home / name).touch()
    assert mode(Home.create(StorageSettings.load()).root) == 0o700


def test_an_open_directory_of_other_things_is_refused_and_left_as_it_is(own_home: Path) -> None:
    own_home.mkdir(mode=0o755)
    (own_home / "thesis.txt").touch()
    with pytest.raises(StorageError, match=r"is open to other users \(mode 755\) and holds other files"):
        Home.create(StorageSettings.load())
    assert mode(own_home) == 0o755
    assert [path.name for path in own_home.iterdir()] == ["thesis.txt"]


def test_a_data_directory_under_a_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written: a part of its path is a file") as told:
        Home.create(StorageSettings.load(redraft_home=tmp_path / "file" / "home"))
    assert "REDRAFT_HOME" in told.value.hint


def test_a_file_in_place_of_the_data_directory_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written: there is a file of that name"):
        Home.create(StorageSettings.load(redraft_home=tmp_path / "file"))


def test_a_data_directory_that_may_not_be_written_is_told_in_a_sentence() -> None:
    # /proc refuses new directories also to root, whom permissions do not stop.
    with pytest.raises(StorageError, match=r"The data directory /proc/redraft/home cannot be written: "):
        Home.create(StorageSettings.load(redraft_home=Path("/proc/redraft/home")))


@pytest.mark.parametrize("address", ["mysql://host/x", "sqlite:///x.db", "host/x"])
def test_an_address_that_is_not_postgresql_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as told:
        StorageSettings.load(database_url=address)
    assert address not in str(told.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_reaches_psycopg_3(scheme: str) -> None:
    settings = StorageSettings.load(database_url=f"{scheme}://ana:s3cret@db.example/redraft")
    assert settings.postgresql_url == "postgresql+psycopg://ana:s3cret@db.example/redraft"


def test_masked_settings_say_that_a_secret_is_set_and_never_what_it_is(tmp_path: Path) -> None:
    settings = StorageSettings.load(database_url="postgresql://ana:s3cret@db.example/redraft", redraft_home=tmp_path)
    shown = masked(settings)
    assert (shown["DATABASE_URL"], shown["REDRAFT_HOME"], shown["RETENTION_DAYS"]) == ("(set)", str(tmp_path), 30)
    assert "s3cret" not in repr(shown)
    assert masked(StorageSettings.load())["DATABASE_URL"] is None
