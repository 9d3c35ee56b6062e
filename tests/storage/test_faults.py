"""The fault tests of storage, a few rounds each; ``make faults`` runs them in full counts."""

from __future__ import annotations

import pytest

from storage.settings import StorageSettings
from tests.faults import storage_kill, storage_writers

pytestmark = pytest.mark.faults


def test_eight_processes_that_write_at_once_lose_no_row_and_see_no_lock(settings: StorageSettings) -> None:
    found = storage_writers.contend(settings, rows=25)
    assert (found["rows"], found["lock_errors"]) == (200, 0)


def test_a_killed_writer_loses_no_acknowledged_row() -> None:
    found = storage_kill.run(rounds=4, seed=20)
    assert found["lost"] == 0 and found["acknowledged"] >= 4
