"""Models by Hub id, against a small Hub on loopback: pinned to a commit, cached, refused plainly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.engine.model.hub import Hub, Repository, serve

FIRST, SECOND = "1" * 40, "2" * 40
Fetch = Callable[..., dict[str, Any]]


@pytest.fixture
def hub(tiny_models: dict[str, Path]) -> Iterator[Hub]:
    """``ada/tiny`` with two commits and ``main`` on the first; ``ada/gated``; ``ada/pickled`` without safetensors;
    four that are refused by what their config or the header of their weights says."""
    files = {file.name: file.read_bytes() for file in tiny_models["bart"].iterdir()}
    commits = {
        FIRST: {**files, "pytorch_model.bin": b"never fetched", "modeling_own.py": b"raise SystemExit"},
        SECOND: {**files, "generation_config.json": files["generation_config.json"] + b"\n"},
    }
    config = json.loads(files["config.json"])
    foreign = {**config, "architectures": ["BartForSequenceClassification"]}
    quantised = {**config, "quantization_config": {"quant_method": "awq"}}
    shape = [10**7, 10**6]
    header = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * 10**13]}}).encode()
    pickled = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    repositories = {
        "ada/tiny": Repository(commits, FIRST),
        "ada/gated": Repository(commits, FIRST, gated=True),
        "ada/pickled": Repository({FIRST: {**pickled, "pytorch_model.bin": b"\x80"}}, FIRST),
        "ada/foreign": Repository({FIRST: {**files, "config.json": json.dumps(foreign).encode()}}, FIRST),
        "ada/quantised": Repository({FIRST: {**files, "config.json": json.dumps(quantised).encode()}}, FIRST),
        "ada/huge": Repository(
            {FIRST: {**files, "model.safetensors": len(header).to_bytes(8, "little") + header}}, FIRST
        ),
        "ada/damaged": Repository({FIRST: {**files, "model.safetensors": b"\xff" * 100}}, FIRST),
    }
    with serve(Hub(repositories)) as running:
        yield running


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """Run ``tests.engine.model.fetch`` against the Hub, with a cache of the test's own."""

    def run(*arguments: str, address: str = "", **environment: str) -> dict[str, Any]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own = {"HF_ENDPOINT": address or hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.engine.model.fetch", *arguments],
            cwd=ROOT, env={**clean, **own, **environment}, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        return dict(json.loads(done.stdout))

    return run


def test_a_hub_id_is_fetched_at_a_commit_loaded_and_loaded_again_without_a_network(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    pins = str(tmp_path / "data" / "models.json")
    online = fetch("ada/tiny", "--load", "--pins", pins)
    assert online["revision"] == FIRST
    assert online["label"] == f"ada/tiny@{FIRST[:12]}"
    assert online["text"]
    assert any(step.startswith("Fetching ada/tiny") for step in online["steps"])
    asked = len(hub.asked)
    offline = fetch("ada/tiny", "--load", "--pins", pins, address="http://127.0.0.1:9")
    assert (offline["revision"], offline["text"]) == (FIRST, online["text"])
    assert len(hub.asked) == asked


def test_only_what_a_text_model_needs_is_fetched(hub: Hub, fetch: Fetch) -> None:
    files = fetch("ada/tiny")["files"]
    assert "model.safetensors" in files
    assert not {"pytorch_model.bin", "modeling_own.py"} & {*files, *hub.fetched()}


def test_what_was_resolved_once_stays_when_the_branch_moves_on(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    pins = tmp_path / "models.json"
    assert fetch("ada/tiny", "--pins", str(pins))["revision"] == FIRST
    assert json.loads(pins.read_text()) == {"ada/tiny": FIRST}
    hub.repositories["ada/tiny"].main = SECOND
    assert fetch("ada/tiny", "--pins", str(pins))["revision"] == FIRST
    assert fetch("ada/tiny")["revision"] == SECOND, "without a record the newest is taken"


def test_a_revision_that_is_asked_for_is_taken(fetch: Fetch) -> None:
    assert fetch("ada/tiny", "--revision", SECOND)["revision"] == SECOND


def test_without_a_network_the_cache_serves_the_commit_last_resolved(fetch: Fetch) -> None:
    assert fetch("ada/tiny")["revision"] == FIRST
    assert fetch("ada/tiny", address="http://127.0.0.1:9")["revision"] == FIRST
    assert fetch("ada/tiny", HF_HUB_OFFLINE="1")["revision"] == FIRST


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_that_cannot_be_reached_is_said_to_be(fetch: Fetch, offline: str) -> None:
    refused = fetch("ada/tiny", address="http://127.0.0.1:9", HF_HUB_OFFLINE=offline)
    assert refused["error"] == "The model ada/tiny is not on this machine, and the Hugging Face Hub cannot be reached."
    assert refused["kind"] == "ModelUnreachable"  # `redraft up` tries again
    assert "ENGINE_MODEL" in refused["hint"]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["ada/nothing"], "There is no model ada/nothing, neither as a directory here nor", "HF_TOKEN"),
        (["not a/valid id"], "There is no model not a/valid id", "ENGINE_MODEL"),
        (["ada/tiny", "--revision", "v9"], "The model ada/tiny has no revision v9.", "ENGINE_REVISION"),
        (["ada/tiny", "--revision", "3" * 40], f"The model ada/tiny has no revision {'3' * 40}.", "ENGINE_REVISION"),
        (["ada/gated"], "The model ada/gated is gated", "huggingface.co/ada/gated"),
        (["ada/pickled"], "The model ada/pickled has its weights only in formats that can carry code", "safetensors"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_and_a_next_step(
    hub: Hub, fetch: Fetch, arguments: list[str], error: str, hint: str
) -> None:
    refused = fetch(*arguments)
    assert error in refused["error"]
    assert hint in refused["hint"]
    assert "model.safetensors" not in hub.fetched()
    assert "pytorch_model.bin" not in hub.fetched()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("ada/foreign", "The model ada/foreign (BartForSequenceClassification) does not write text."),
        ("ada/quantised", "The model ada/quantised has been quantised already (awq)."),
        ("ada/huge", "The model ada/huge needs about"),
        ("ada/damaged", "The weights of the model ada/damaged are damaged on the Hub."),
    ],
)
def test_a_model_that_could_not_be_loaded_is_refused_before_its_weights_are_fetched(
    hub: Hub, fetch: Fetch, name: str, error: str
) -> None:
    refused = fetch(name, "--load")
    assert error in refused["error"]
    assert "config.json" in hub.fetched()
    assert "model.safetensors" not in hub.fetched()
    assert not any(step.startswith("Fetching") for step in refused["steps"])


def test_a_look_fetches_nothing_and_says_what_would_be(hub: Hub, fetch: Fetch) -> None:
    missing = fetch("ada/tiny", "--look")
    assert (missing["kind"], hub.fetched()) == ("NotFetched", [])
    assert missing["error"] == "The model ada/tiny is not on this machine yet."
    assert missing["bytes"] == len(hub.repositories["ada/tiny"].commits[FIRST]["model.safetensors"])
    assert fetch("ada/tiny", "--look", "--revision", FIRST)["bytes"] is None, "a known commit needs no look-up"
    assert "formats that can carry code" in fetch("ada/pickled", "--look")["error"]
    assert hub.fetched() == []
    assert fetch("ada/tiny")["revision"] == fetch("ada/tiny", "--look")["revision"] == FIRST
