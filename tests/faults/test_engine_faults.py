"""A few rounds of the engine's fault tests; `make faults` runs the full counts."""

from __future__ import annotations

import pytest

from tests.faults import engine_kill, engine_orphans


@pytest.mark.faults
def test_a_killed_engine_is_told_to_its_client_and_comes_back_and_a_cut_connection_frees_it() -> None:
    outcome = engine_kill.run(2, seed=7)
    assert (outcome["kills"], outcome["connections_cut"]) == (1, 1)


@pytest.mark.faults
def test_a_killed_up_leaves_no_process_behind_and_the_next_one_starts() -> None:
    outcome = engine_orphans.run(1, seed=7)
    assert outcome["processes_left"] == 0
