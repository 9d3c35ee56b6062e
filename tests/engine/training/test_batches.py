"""Every example once a pass, similar lengths together, the same for whoever resumes; padding is not learned."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.training.batches import IGNORED, collate, grouped, passes
from engine.training.examples import Example
from engine.training.fine_tune import _forward
from engine.training.job import Hyper
from engine.training.lora import load_trainable, open_base
from engine.training.memory import MemoryPlan
from tests.engine.tiny import NAMES
from tests.engine.training.support import Heard, settings


def example(source: int, target: int = 3, first: int = 7) -> Example:
    return Example("", "", [first + at % 50 for at in range(source)], [first + 2 * at % 50 for at in range(target)])


def share_of_padding(steps: list[list[int]], examples: list[Example]) -> float:
    padded = sum(len(step) * max(examples[at].size for at in step) for step in steps)
    return 1 - sum(one.size for one in examples) / padded


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 17), st.integers(0, 3))
def test_every_example_is_in_one_step_of_each_pass(sizes: list[int], size: int, epoch: int) -> None:
    examples = [example(one) for one in sizes]
    steps = grouped(examples, size, seed=1, epoch=epoch)
    assert sorted(at for step in steps for at in step) == list(range(len(examples)))
    assert all(len(step) == size for step in steps[:-1] if len(step) != len(sizes) % size)


def test_passes_are_drawn_from_the_seed_and_their_number_alone() -> None:
    examples = [example(random.Random(at).randint(5, 300)) for at in range(100)]
    assert grouped(examples, 8, seed=1, epoch=2) == grouped(examples, 8, seed=1, epoch=2)
    assert grouped(examples, 8, seed=1, epoch=2) != grouped(examples, 8, seed=1, epoch=3)
    assert grouped(examples, 8, seed=1, epoch=2) != grouped(examples, 8, seed=2, epoch=2)


def test_grouping_by_length_leaves_less_than_half_of_the_padding() -> None:
    chance = random.Random(3)
    examples = [example(int(10 + 400 * chance.random() ** 2)) for _ in range(400)]
    order = list(range(400))
    chance.shuffle(order)
    drawn = [order[at : at + 16] for at in range(0, 400, 16)]
    by_length = grouped(examples, 16, seed=1, epoch=1)
    assert share_of_padding(by_length, examples) < 0.15
    assert share_of_padding(by_length, examples) < share_of_padding(drawn, examples) / 2


def test_the_longest_step_comes_first_so_that_missing_memory_shows_at_once() -> None:
    examples = [example(at + 1) for at in range(64)]
    assert max(examples[at].size for at in grouped(examples, 8, seed=5, epoch=0)[0]) == 67


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1, 8))
def test_forward_passes_are_bounded_and_hold_everything(sizes: list[int], least: int) -> None:
    examples = [example(one) for one in sizes]
    parts = passes(range(len(sizes)), examples, room=2048, least=least)
    assert sorted(at for part in parts for at in part) == list(range(len(sizes)))
    assert max(len(part) for part in parts) <= math.ceil(len(sizes) / least)
    for part in parts:
        assert len(part) == 1 or len(part) * max(examples[at].size for at in part) <= 2048


def test_labels_are_the_answers_alone() -> None:
    batch = collate([example(5, 3), example(9, 2)], encoder_decoder=False, pad=0, device="cpu")
    assert (batch.real, batch.padded, batch.wanted) == (19, 22, 5)
    assert int((batch.labels != IGNORED).sum()) == 5
    assert batch.labels[0, 5:8].tolist() == example(5, 3).target
    assert batch.input_ids[0, 8:].tolist() == [0, 0, 0]


@pytest.mark.xdist_group("teachable-models")
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_an_example_is_the_same_however_it_is_padded(name: str, teachable_models: dict[str, Path]) -> None:
    base = open_base(settings(teachable_models[name]), Heard())
    model = load_trainable(base, Hyper(rank=4, dropout=0.0), MemoryPlan("full", checkpointing=False, needed=0))
    forward = _forward(base, model.eval())
    forward._low_precision = False  # rounding is not what is looked at here
    short, long = example(6, 3), example(60, 20)

    def loss(rows: list[Example]) -> float:
        batch = collate(rows, encoder_decoder=forward.encoder_decoder, pad=forward.pad, device="cpu")
        with torch.no_grad():
            return float(forward(batch))

    assert loss([short, long]) == pytest.approx(loss([short]) + loss([long]), rel=1e-4)
