"""A few rounds each of what `make faults` does in full counts to engines that serve adapters."""

from __future__ import annotations

import pytest

from tests.faults import adapter_engine, adapter_swaps, engine_hold


@pytest.mark.faults
def test_swaps_under_load_fail_no_request_and_mix_no_adapters() -> None:
    outcome = adapter_swaps.run(15, seed=7)
    assert (outcome["swaps"], outcome["failed"]) == (15, 0)


@pytest.mark.faults
def test_a_promotion_is_served_within_seconds_and_an_engine_killed_while_it_loads_comes_back() -> None:
    outcome = adapter_engine.run(2, seed=7)
    assert outcome["kills"] == 1


@pytest.mark.faults
def test_an_engine_whose_memory_a_dead_fine_tune_had_serves_again() -> None:
    outcome = engine_hold.run(1, seed=7)
    assert (outcome["holders_killed"], outcome["engines_killed_while_held"]) == (1, 1)
