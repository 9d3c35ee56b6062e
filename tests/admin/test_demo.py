"""`redraft demo`: real summaries of the sample conversations, offline, leaving nothing behind."""

from __future__ import annotations

from pathlib import Path

from admin.samples import SAMPLES
from tests.admin.cli import redraft


def test_demo_summarises_three_samples_offline_and_says_what_to_try_next(own_home: Path, tmp_path: Path) -> None:
    # An empty Hugging Face cache and no network: the starter must need neither.
    done = redraft("demo", HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
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


def test_demo_of_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = redraft("demo", "--model", "google/flan-t5-base", HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "google/flan-t5-base" in done.stderr
    assert "Traceback" not in done.stderr
