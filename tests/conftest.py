"""What all tests share: a home of their own, no settings from outside, and the rule about skipping.

Every test runs with ``REDRAFT_HOME`` in its own temporary directory and without the settings of whoever runs it.
With ``CI`` set, a skipped test is a failure unless it is marked ``gpu`` or ``data``: a suite that skips what it
cannot set up says nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.databases import (  # fixtures of all tests that need a database
    database as database,
)
from tests.databases import (
    kind as kind,
)
from tests.databases import (
    make_postgresql as make_postgresql,
)
from tests.databases import (
    make_settings as make_settings,
)
from tests.databases import (
    postgresql_server as postgresql_server,
)
from tests.databases import (
    settings as settings,
)

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
#: How the names of our settings begin.
SETTINGS = (
    "REDRAFT_", "ENGINE_", "SLACK_", "DISCORD_", "DATABASE_", "RETENTION_", "BACKUP_", "DAILY_", "CHAT_", "BOT_",
    "PAIRS_", "TRAIN_", "GATE_", "PROMOTION_", "WATCH_", "ERASURE_",
)  # fmt: skip


def pytest_configure() -> None:
    """Signals mean to our children what they mean: a suite begun in the background, or under nohup, ignores some."""
    if threading.current_thread() is threading.main_thread():
        for number, meaning in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, meaning)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("data") and not DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="the shared human summaries are not beside this checkout"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    may_skip = item.get_closest_marker("gpu") or item.get_closest_marker("data")
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") and not may_skip:
        report.outcome = "failed"
        report.longrepr = f"skipped, and not marked gpu or data: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory for this test, and no setting from outside."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    # A `.env` in the checkout is for the person who works there, not for the tests.
    empty = tmp_path / "empty.env"
    empty.touch()
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(empty))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # One fine-tune at a time on a machine: tests run side by side, each on what it takes for its own machine.
    monkeypatch.setenv("TRAIN_LOCK", str(tmp_path / "train.lock"))
    return home
