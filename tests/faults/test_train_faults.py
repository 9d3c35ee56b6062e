"""A few rounds of what `make faults` does in full counts to fine-tunes."""

from __future__ import annotations

import pytest

from tests.faults import train_kill


@pytest.mark.faults
def test_fine_tunes_killed_inside_a_save_and_at_random_leave_nothing_half_and_can_be_gone_on_with() -> None:
    outcome = train_kill.run(2, seed=7)
    assert outcome["killed_inside_save"] == 1
