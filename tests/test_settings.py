"""Settings are read from one file, are told by name when wrong, and never accept a placeholder."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from bot.settings import BotSettings
from engine.settings import EngineSettings
from storage.config import env_file
from storage.errors import SettingsError
from storage.settings import StorageSettings


@pytest.mark.parametrize(
    "value", ["xoxb-your-token", "changeme", "<token>", "xoxb-xxxxxxxx", "replace_me", "PLACEHOLDER"]
)
def test_placeholder_is_refused_by_name_without_showing_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", value)
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN") as refused:
        BotSettings.load()
    assert value not in str(refused.value)


def test_placeholder_for_a_plain_setting_is_refused_and_a_directory_of_that_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_MODEL", "<model>")
    with pytest.raises(SettingsError, match="ENGINE_MODEL"):
        EngineSettings.load()
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "todo" / "your-team"))
    assert StorageSettings.load().home == tmp_path / "todo" / "your-team"


@pytest.mark.parametrize(
    "value", ["xoxb-1-aBxXxXq7", "xoxb-1-2todo3-todo", "xoxb-1-replaceMe7", "xoxb-17-Placeholders"]
)
def test_token_whose_letters_spell_a_placeholder_is_taken(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", value)
    token = BotSettings.load().slack_bot_token
    assert token is not None and token.get_secret_value() == value


@pytest.mark.parametrize(
    "address", ["postgresql://app:pw@db/todo", "postgresql://app:pw@your-db/redraft", "postgresql://your-db/xxx"]
)
def test_address_is_no_placeholder_for_what_its_host_and_database_are_called(address: str) -> None:
    assert StorageSettings.load(database_url=address).database_url is not None


@pytest.mark.parametrize(
    "address",
    ["postgresql://app:changeme@db/redraft", "postgresql://<user>:pw@db/redraft", "postgres://app:your-password@db/x"],
)
def test_address_with_a_placeholder_for_user_or_password_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL cannot be used: is still a placeholder"):
        StorageSettings.load(database_url=address)


@pytest.mark.parametrize("address", ["postgresql://app:s3cret@db:port/redraft", "postgresql://app:s3cret@[::1/redraft"])
def test_address_that_is_malformed_is_told_without_its_password(address: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL cannot be used: is not of the form") as told:
        StorageSettings.load(database_url=address)
    assert "s3cret" not in "".join(traceback.format_exception(told.value))


def test_malformed_value_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_PORT", "eighty")
    with pytest.raises(SettingsError, match="ENGINE_PORT"):
        EngineSettings.load()


def test_one_file_feeds_all_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.env"
    path.write_text("ENGINE_PORT=9001\nRETENTION_DAYS=7\nENGINE_MAX_BATCH=4\nSOMETHING_ELSE=1\n", encoding="utf-8")
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(path))
    monkeypatch.setenv("ENGINE_MAX_BATCH", "5")
    assert EngineSettings.load().engine_port == 9001
    assert EngineSettings.load().engine_max_batch == 5
    assert StorageSettings.load().retention_days == 7


def test_settings_file_is_found_beside_the_person_then_in_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDRAFT_ENV_FILE")
    home, work = tmp_path / "home", tmp_path / "work"
    for directory in (home, work):
        directory.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    assert env_file() is None
    (home / ".env").touch()
    assert env_file() == home / ".env"
    (work / ".env").touch()
    assert env_file() == Path(".env")


def test_named_settings_file_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(tmp_path / "gone.env"))
    with pytest.raises(SettingsError, match="does not exist"):
        EngineSettings.load()


def test_settings_file_that_is_no_text_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "binary.env"
    path.write_bytes(b"\xff\xfe\x00ENGINE")
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(path))
    with pytest.raises(SettingsError, match="not UTF-8"):
        EngineSettings.load()


def test_settings_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # A file that root may open too and that nobody can read from its beginning.
    monkeypatch.setenv("REDRAFT_ENV_FILE", "/proc/self/mem")
    with pytest.raises(SettingsError, match=r"The settings file /proc/self/mem cannot be read \("):
        EngineSettings.load()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-123-456-abcdef")
    assert "abcdef" not in repr(BotSettings.load())
