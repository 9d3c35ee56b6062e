"""The committed results hold what is promised, and say what they were measured with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.report import RESULTS, Table
from docs.blocks import BENCHMARKS


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_result_names_its_command_and_machine_and_carries_its_tables(name: str) -> None:
    result = _result(name)
    assert result["command"]
    assert "cores" in result["machine"]
    assert all(Table.from_json(table).rows for table in result["tables"])


def test_engine_is_at_least_twice_as_fast_as_the_plain_loop() -> None:
    result = _result("throughput")
    assert (result["requests"], result["new_tokens"]) == (32, 64)
    assert result["engine_over_loop"] >= 2


def test_time_grows_at_most_linearly_with_the_thread_and_memory_does_not_grow() -> None:
    result = _result("threads")
    assert [one["messages"] for one in result["threads"]] == [10, 100, 1_000, 10_000]
    assert result["time_at_most_linear"]
    assert result["mb_above_baseline"] <= 300


def test_most_unsupported_sentences_are_found() -> None:
    result = _result("support")
    assert (result["sentences"], result["unsupported"]) == (60, 15)
    assert result["judges"]["support"]["unsupported_recall"] >= 0.8


def test_four_bits_take_less_than_the_expanded_weights() -> None:
    held = _result("memory")["memory"]
    assert held["nf4"]["tensors"] < held["nf4-expanded"]["tensors"] <= held["full"]["tensors"] * 1.05


def test_a_hundred_thousand_pairs_come_in_within_their_memory_and_are_looked_at_in_time() -> None:
    result = _result("pairs")
    assert {count: one["added"] for count, one in result["imports"].items()} == {"1000": 1_000, "100000": 100_000}
    assert result["mb_above"] <= 200
    assert max(result["queries_ms"].values()) < 300


def test_the_gate_finds_no_poison_and_no_parrot_better_and_nothing_honest_worse() -> None:
    result = _result("gate")
    verdicts, parrots = result["verdicts"], result["parrots"]
    assert {kind: sum(found.values()) for kind, found in verdicts.items()} == dict.fromkeys(verdicts, 10)
    assert set(verdicts) == {"honest", "poisoned", "edited"}
    assert verdicts["honest"]["better"] >= 7
    assert verdicts["poisoned"].get("better", 0) == parrots.get("better", 0) == 0
    assert verdicts["honest"].get("worse", 0) == verdicts["edited"].get("worse", 0) == 0
    assert sum(parrots.values()) == 30
    assert result["most_cpu_seconds"] <= 120


def test_full_counts_of_the_fault_tests_survived() -> None:
    results = _result("faults")["results"]
    assert results["storage_kill"]["rounds"] == 50
    assert results["storage_writers"]["rounds"] == 1_000
    assert results["train_kill"]["rounds"] == 20
    assert results["train_kill"]["killed_inside_save"] >= 5
    assert results["promote_kill"]["rounds"] == 50
    assert results["adapter_swaps"]["swaps"] == 200
    # What went wrong is a sentence there; some tests count under the same name what failed, which is none.
    assert not [name for name, result in results.items() if result.get("failed")]


def test_two_hundred_commands_at_once_are_stored_and_acknowledged_within_half_a_second() -> None:
    result = _result("acceptance")
    assert (result["commands"], result["lost"]) == (200, 0)
    assert result["stored"]["slowest_p99_ms"] < 500
