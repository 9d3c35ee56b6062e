"""`redraft demo`: real summaries of the sample conversations, offline, leaving nothing behind."""

from __future__ import annotations

from pathlib import Path

from admin.samples import SAMPLES
from tests.admin.cli import redraft
from tests.engine.tiny import make


def test_demo_summarises_three_samples_offline_and_says_what_to_try_next(own_home: Path, tmp_path: Path) -> None:
    # An empty Hugging Face cache and no network: the starter must need neither.
    done = redraft("demo", "--no-learn", HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    for sample in SAMPLES[:3]:
        assert sample.description in done.stdout
    assert done.stdout.count("Written by starter") == 3
    assert done.stdout.count("is a demonstration") == 3
    assert "What to try next" in done.stdout
    assert "[1]" in done.stdout
    assert not list(own_home.glob("*.db")), "the demo keeps nothing"
    # The README shows real output: the same up to the summary, whose words may differ on another kind of processor.
    shown = (Path(__file__).parents[2] / "docs" / "demo.txt").read_text(encoding="utf-8")
    before, heading, after = shown.partition("\nSummary\n")
    assert " ".join(done.stdout.split()).startswith(" ".join(before.split()))
    assert heading
    assert "Written by starter" in after


def test_demo_trains_measures_promotes_by_force_and_rolls_back_and_keeps_nothing(
    own_home: Path, tmp_path: Path
) -> None:
    model = make("bart", tmp_path / "tiny")
    done = redraft("demo", "--learn", "--model", str(model), ENGINE_MAX_NEW_TOKENS="128", ENGINE_EXPAND="always")
    assert done.returncode == 0, done.stderr
    _, _, loop = done.stdout.partition("The learning loop, on sample corrections")
    said = " ".join(loop.split())
    assert "48 dialogues with summaries that people wrote" in said
    assert "Verdict: inconclusive" in said
    assert "more conversations with a blind reference are needed" in said
    assert said.index("Before (the base)") < said.index("After (the adapter)") < said.index("A person")
    refused, forced, back = (
        said.index("To promote it anyway"),
        said.index("Now in service: the adapter a"),
        said.index("Now in service: the base"),
    )
    assert refused < forced < back
    for action in ("pairs.imported", "run.finished", "adapter.evaluated", "adapter.promoted", "adapter.rolled_back"):
        assert action in said[back:]
    assert not list(own_home.glob("*.db")), "the demo keeps nothing"


def test_demo_of_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = redraft("demo", "--model", "google/flan-t5-base", HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "google/flan-t5-base" in done.stderr
    assert "Traceback" not in done.stderr
