"""A few rounds each of what `make faults` does in full counts to the learning loop's pointer."""

from __future__ import annotations

import pytest

from tests.faults import promote_kill


@pytest.mark.faults
def test_one_whole_adapter_serves_after_a_kill_in_a_promotion_or_a_rollback() -> None:
    outcome = promote_kill.run(4, seed=7)
    assert outcome["kills"] == 4
