"""Who the ledger names: the person who logged in, through sudo and su too."""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path

import pytest

from admin import person


@pytest.mark.parametrize("said", [str(2**32 - 1), "", "nonsense", "4294967290"])
def test_process_that_nobody_logged_in_for_is_named_by_its_user(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "loginuid"
    kernel.write_text(said)
    monkeypatch.setattr(person, "_LOGIN_UID", kernel)
    assert person.person() == f"local:{getpass.getuser()}"


def test_login_user_is_named_and_not_the_one_that_sudo_runs_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "loginuid"
    kernel.write_text(str(os.getuid()))
    monkeypatch.setattr(person, "_LOGIN_UID", kernel)
    monkeypatch.setenv("LOGNAME", "service")
    assert person.login_name() == pwd.getpwuid(os.getuid()).pw_name
