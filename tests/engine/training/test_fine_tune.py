"""Fine-tunes of real tiny models of four families: they learn, resume where they were, and fail in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from engine.learning.dialogues import conversation_of
from engine.model.adapter_files import AdapterAbout
from engine.model.adapter_publishing import publish
from engine.model.loading import load
from engine.planning import Planner
from engine.protocols import Row
from engine.requests import SummaryRequest
from engine.scoring.metrics import rouge
from engine.text.prompts import PROMPT_VERSION, options_of
from engine.training import judging
from engine.training import loop as loops
from engine.training.checkpoints import Checkpoints
from engine.training.fine_tune import fine_tune
from engine.training.job import Hyper, Pair, Trained, TrainingFailed, TrainingStopped
from engine.training.judging import Judge
from engine.training.memory import MemoryPlan
from tests.engine.model.listening import write
from tests.engine.tiny import NAMES
from tests.engine.training.support import QUICK, Heard, pairs, same, settings

pytestmark = pytest.mark.xdist_group("teachable-models")
Models = dict[str, Path]
LESSON = "Ana checked the invoice today."


def train(model: Path, given: list[Pair], hyper: Hyper = QUICK, heard: Heard | None = None, **more: Any) -> Trained:
    validation = more.pop("validation", [])
    engine = more.pop("engine", settings(model))
    return fine_tune(given, validation, engine=engine, hyper=hyper, listener=heard or Heard(), **more)


def answers(model: Path, trained: Trained, folder: Path, dialogue: str) -> tuple[str, str]:
    """What base and adapter write of a dialogue, served as the engine serves them."""
    about = AdapterAbout(
        "default", trained.info.name, trained.info.revision, trained.info.model_type, PROMPT_VERSION,
        trained.tokenizer_sha256, "run", "data", "settings", 8, {}, {}, trained.info.fingerprint,
    )  # fmt: skip
    manifest = publish(folder, weights=trained.weights, config=trained.config, about=about)
    served = load(settings(model))
    served.attach(served.prepare(folder / manifest.id))
    planner = Planner(served.info, served.count_tokens, served.render_chat)
    request = SummaryRequest(conversation_of(dialogue, key="c"))
    (row,) = planner.plan(request, options_of(request, served.info)).rows
    rows = [Row(row.prompt, 48, adapter=name) for name in ("base", manifest.id)]
    base, adapted = (write(served, rows).ended[at].text for at in (0, 1))
    return base, adapted


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_what_is_served_with_the_adapter_is_what_was_taught(
    name: str, teachable_models: Models, tmp_path: Path
) -> None:
    model, heard = teachable_models[name], Heard()
    taught = pairs(2, summary=LESSON)
    epochs = 35 if name in ("llama", "qwen3") else 70
    hyper = replace(QUICK, rank=16, alpha=32, batch=2, epochs=epochs, patience=999)
    at_the_ends = patch.object(loops.Loop, "_look_is_due", lambda loop: loop.progress.step in (0, loop.steps))
    with at_the_ends, patch.object(judging, "_LONGER", 1000):
        trained = train(model, taught, hyper, heard, validation=taught[:1])
    assert heard.losses[-1] < heard.losses[0] / 10
    base, adapted = answers(model, trained, tmp_path, taught[0].dialogue)
    assert adapted.lower().startswith("ana checked the")
    assert not base.lower().startswith("ana checked")
    # Every word of the one lesson is of the house style, so that nothing is left for content F1.
    for score, text in (("written_score_before", base), ("written_score", adapted)):
        assert trained.metrics[score] == pytest.approx(rouge(text, [LESSON])["rougeL"] / 2, abs=0.01), text
    assert not any("head" in key or "embed" in key or "shared" in key for key in trained.weights)


def test_a_run_that_goes_on_from_its_checkpoint_ends_with_the_weights_of_one_that_was_never_stopped(
    teachable_models: Models, tmp_path: Path
) -> None:
    model, given = teachable_models["bart"], pairs(12)
    whole = train(model, given, replace(QUICK, dropout=0.1), validation=pairs(15)[12:])
    with pytest.raises(TrainingStopped) as stopped:
        train(model, given, replace(QUICK, dropout=0.1), Heard(stop_after=7), validation=pairs(15)[12:],
              checkpoints=tmp_path, run="one")  # fmt: skip
    assert stopped.value.step == 7
    heard = Heard()
    resumed = train(model, given, replace(QUICK, dropout=0.1), heard, validation=pairs(15)[12:],
                    checkpoints=tmp_path, run="one")  # fmt: skip
    assert heard.begun == (7, 18)
    assert same(whole.weights, resumed.weights)
    assert whole.metrics["validation_loss"] == resumed.metrics["validation_loss"]


def test_a_checkpoint_of_another_run_is_not_gone_on_from(teachable_models: Models, tmp_path: Path) -> None:
    model, given = teachable_models["bart"], pairs(4)
    with pytest.raises(TrainingStopped):
        train(model, given, QUICK, Heard(stop_after=3), checkpoints=tmp_path, run="one")
    heard = Heard()
    train(model, given, replace(QUICK, epochs=1), heard, checkpoints=tmp_path, run="another")
    assert heard.begun[0] == 0


def test_the_same_seed_gives_the_same_weights_and_another_other_ones(teachable_models: Models) -> None:
    model, given, short = teachable_models["t5"], pairs(6), replace(QUICK, epochs=2)
    one, two, other = (train(model, given, replace(short, seed=seed)) for seed in (3, 3, 4))
    assert same(one.weights, two.weights)
    assert not same(one.weights, other.weights)


def test_cutting_a_step_into_more_passes_changes_nothing_but_rounding(teachable_models: Models) -> None:
    model, given = teachable_models["qwen3"], pairs(4)
    whole, cut = Heard(), Heard()
    train(model, given, replace(QUICK, epochs=1), whole)
    train(model, given, replace(QUICK, epochs=1, accumulation=4), cut)
    assert whole.losses == pytest.approx(cut.losses, rel=2e-2)


@pytest.mark.parametrize(
    ("warmup", "shares"),
    [
        (0.0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (0.5, [1 / 4, 2 / 4, 3 / 4, 1, 1, 3 / 4, 2 / 4, 1 / 4]),
        (0.3, [1 / 3, 2 / 3, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]),  # a part of a step is a whole one
    ],
)
def test_the_learning_rate_warms_up_over_a_share_of_the_steps_and_falls_from_there(
    warmup: float, shares: list[float], teachable_models: Models
) -> None:
    heard, hyper = Heard(), replace(QUICK, epochs=2, batch=2, warmup=warmup)
    train(teachable_models["bart"], pairs(8), hyper, heard)
    rates = [point.learning_rate for point in heard.points if point.kind == "train"]
    assert rates == pytest.approx([hyper.learning_rate * share for share in shares])


def test_the_rate_that_is_told_is_the_one_that_the_weights_move_by(teachable_models: Models, tmp_path: Path) -> None:
    heard, hyper = Heard(stop_after=1), replace(QUICK, epochs=4, batch=2, warmup=0.75)
    with pytest.raises(TrainingStopped):
        train(teachable_models["bart"], pairs(2), hyper, heard, checkpoints=tmp_path)
    there = Checkpoints(tmp_path).latest()
    assert there is not None
    # The second matrices begin at nothing, and Adam's first step is as long as the rate, in whatever direction.
    furthest = max(float(weight.abs().max()) for name, weight in there.weights.items() if "lora_B" in name)
    assert furthest == pytest.approx(heard.points[0].learning_rate, rel=1e-3)
    assert furthest == pytest.approx(hyper.learning_rate / 3, rel=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_sets_of_one_and_two_pairs_train_without_validation(count: int, teachable_models: Models) -> None:
    trained = train(teachable_models["bart"], pairs(count))
    assert trained.metrics["steps"] == 6
    assert "validation_loss" not in trained.metrics


def test_a_set_of_no_usable_pair_is_refused_with_what_is_wrong_with_them(teachable_models: Models) -> None:
    with pytest.raises(TrainingFailed, match=r"None of the pairs can be used .* \(2 too long\)"):
        train(teachable_models["bart"], [Pair("Ana: " + "the invoice " * 9000, LESSON)] * 2)


def test_training_ends_early_once_the_validation_loss_has_not_fallen_for_a_while(teachable_models: Models) -> None:
    heard = Heard()
    hyper = replace(QUICK, epochs=40, patience=2, learning_rate=0.05)
    trained = train(teachable_models["bart"], pairs(8), hyper, heard, validation=pairs(12)[8:])
    looks = [point.loss for point in heard.points if point.kind == "validation"]
    assert trained.metrics["stopped_early"]
    assert trained.metrics["steps"] < trained.metrics["steps_planned"]
    assert trained.metrics["validation_loss"] == pytest.approx(min(looks), abs=1e-3)


def test_the_weights_are_those_of_the_best_validation_and_not_the_last(
    teachable_models: Models, tmp_path: Path
) -> None:
    # What is learned by heart is of no use for other conversations, sooner or later.
    given, held = pairs(4, summary=LESSON), pairs(8)[4:]
    hyper = replace(QUICK, epochs=24, patience=99)
    trained = train(teachable_models["bart"], given, hyper, validation=held)
    best = trained.metrics["best_step"]
    assert 0 < best < trained.metrics["steps"]
    with pytest.raises(TrainingStopped):
        train(teachable_models["bart"], given, hyper, Heard(stop_after=best), validation=held, checkpoints=tmp_path)
    there = Checkpoints(tmp_path).latest()
    assert there is not None and there.step == best
    assert same(there.weights, trained.weights)


def test_weights_that_write_better_are_kept_over_those_of_a_lower_loss(
    teachable_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 5.0, 40.0, 8.0, 8.0])
    monkeypatch.setattr(Judge, "scores", lambda judge: iter([next(scores)]))
    heard, hyper = Heard(), replace(QUICK, epochs=2, patience=99)
    trained = train(teachable_models["bart"], pairs(8), hyper, heard, validation=pairs(8))
    looks = {point.step: point.loss for point in heard.points if point.kind == "validation"}
    assert list(looks) == [0, 1, 2, 3, 4]
    assert min(looks, key=lambda step: looks[step]) == 4, "the loss itself must say otherwise"
    assert trained.metrics["best_step"] == 2
    assert trained.metrics["written_score"] == 40.0


def test_the_best_of_a_pairs_references_counts_and_only_its_summary_is_learned(teachable_models: Models) -> None:
    taught = replace(pairs(1, summary=LESSON)[0], references=("Tomas sent the parcel back.",))
    other = replace(taught, summary="Tomas sent the parcel back.", references=(LESSON,))
    hyper = replace(QUICK, rank=16, alpha=32, batch=2, epochs=70, patience=999)
    with patch.object(loops.Loop, "_look_is_due", lambda loop: loop.progress.step in (0, loop.steps)):
        trained = train(teachable_models["bart"], [taught], hyper, validation=[other])
    assert trained.metrics["validation_loss"] > 1.0, "what it validates on is the summary"
    assert trained.metrics["written_score"] == pytest.approx(50.0, abs=0.1), "it wrote the other reference"


def test_of_weights_that_write_equally_well_those_of_the_lower_loss_are_kept(
    teachable_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "scores", lambda judge: iter([0.0]))
    trained = train(teachable_models["bart"], pairs(8), replace(QUICK, epochs=2), validation=pairs(8))
    assert trained.metrics["best_step"] == 4


def test_a_stop_while_the_model_writes_comes_at_once_and_the_look_is_made_up_for(
    teachable_models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given, held = teachable_models["bart"], pairs(8), pairs(12)[8:]
    whole = train(model, given, validation=held)
    heard = Heard()
    asked, scores = [False], Judge.scores

    def slowly(judge: Judge) -> Iterator[float]:
        for score in scores(judge):
            asked[0] = len(heard.losses) == 3
            yield score

    heard.stop = lambda: asked[0]  # type: ignore[method-assign]
    monkeypatch.setattr(Judge, "scores", slowly)
    with pytest.raises(TrainingStopped) as stopped:
        train(model, given, heard=heard, validation=held, checkpoints=tmp_path)
    assert stopped.value.step == 3
    monkeypatch.setattr(Judge, "scores", scores)
    resumed = Heard()
    again = train(model, given, heard=resumed, validation=held, checkpoints=tmp_path)
    assert [point.step for point in resumed.points][:1] == [3], "the look that was broken off was not made"
    assert resumed.points[0].kind == "validation"
    assert same(whole.weights, again.weights)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(
    broken: float, teachable_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = loops.Forward.__call__

    def now_and_then(self: Any, batch: Any) -> torch.Tensor:
        loss = forward(self, batch)
        return loss * broken if batch.wanted and len(heard.losses) == 2 else loss

    heard = Heard()
    monkeypatch.setattr(loops.Forward, "__call__", now_and_then)
    with pytest.raises(TrainingFailed, match="no number any more at step 3"):
        train(teachable_models["bart"], pairs(4), QUICK, heard)


def test_an_absurd_learning_rate_is_told_and_does_not_make_an_adapter(teachable_models: Models) -> None:
    hyper = replace(QUICK, learning_rate=1e30, epochs=20, warmup=0.0)
    with pytest.raises(TrainingFailed, match="no number"):
        train(teachable_models["bart"], pairs(4), hyper)


def test_memory_that_does_not_suffice_is_refused_before_weights_are_loaded(
    teachable_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.model import hardware

    monkeypatch.setattr(hardware, "free_memory", lambda *_: 50 * 2**20)
    heard = Heard()
    with pytest.raises(TrainingFailed, match=r"needs about \d+ MB of main memory, and 52 MB are free") as refused:
        train(teachable_models["bart"], pairs(4), QUICK, heard)
    assert "TRAIN_ACCUMULATION" in refused.value.hint
    assert not any("Loading" in sentence for sentence in heard.said)


@pytest.mark.parametrize("name", NAMES)
def test_four_bit_weights_train_where_there_is_no_memory_for_dense_ones_and_with_activations_worked_out_again(
    name: str, teachable_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import fine_tune as door

    monkeypatch.setattr(door, "_plan", lambda *_: MemoryPlan("nf4", checkpointing=True, needed=0))
    heard = Heard()
    trained = train(teachable_models[name], pairs(4, summary=LESSON), replace(QUICK, epochs=8), heard,
                    validation=pairs(2, summary=LESSON))  # fmt: skip
    assert trained.metrics["representation"] == "nf4"
    assert heard.losses[-1] < heard.losses[0] * 0.8


def test_a_checkpoint_that_finds_no_room_is_told_and_the_run_goes_on(
    teachable_models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("engine.training.checkpoints.os.fsync", full)
    heard = Heard()
    hyper = replace(QUICK, epochs=2, checkpoint_seconds=1e-9)
    assert train(teachable_models["bart"], pairs(4), hyper, heard, checkpoints=tmp_path / "c").weights
    assert "The checkpoint after step 1 could not be written: no space left on device." in heard.said
    assert not list((tmp_path / "c").iterdir())


def test_where_memory_is_short_passes_get_smaller_before_arithmetic_gets_slower(
    teachable_models: Models,
) -> None:
    from engine.training import fine_tune as door
    from engine.training.examples import Example
    from engine.training.lora import open_base

    base = open_base(settings(teachable_models["bart"]), Heard())
    examples = [Example("", "", [7] * 90, [8] * 10)] * 64

    def planned(free: float) -> MemoryPlan:
        there = replace(base, machine=replace(base.machine, free_bytes=int(free)))
        return door._plan(there, settings(teachable_models["bart"]), replace(QUICK, batch=64), examples)

    plenty = planned(2**40)
    assert (plenty.room, plenty.easy) == (4096, True)
    less = planned(plenty.needed / 0.7 - 1000)  # dense weights may take as much of what is free
    assert (less.room, less.easy) == (2048, True)
    assert less.needed < plenty.needed
    little = planned(less.needed / 0.7 - 1000)
    assert (little.room, little.easy) == (2048, False)
