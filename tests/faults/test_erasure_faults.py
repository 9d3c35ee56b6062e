"""A few rounds of what `make faults` does in full counts to erasures."""

from __future__ import annotations

import pytest

from tests.faults import erasure_kill


@pytest.mark.faults
def test_nothing_is_left_of_somebody_after_a_kill_in_the_middle_of_forgetting_them() -> None:
    assert erasure_kill.run(2, seed=7)["rows_gone"]
