"""The gate on real dialogues and summaries: what holds for invented ones holds there."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence

import pytest

from benchmarks.gate import POISONS, poisoned
from engine.scoring.gate import GateReport, judge
from engine.scoring.measuring import Item, measure
from engine.scoring.metrics import house_stems, turns
from tests.conftest import DATA
from tests.engine.scoring.invented import commonest

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    with gzip.open(DATA / "tweetsumm.valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def gate(items: Sequence[Item], candidate: Sequence[str]) -> GateReport:
    """Held against the first two turns, whose content F1 is above that of the starter."""
    house = house_stems(text for item in items for text in item.blind)
    base = [" ".join(said for _, said in turns(item.dialogue)[:2]) for item in items]
    return judge(measure(items, {"candidate": candidate, "base": base}, house), against="base")


def test_one_person_is_better_than_an_extract_by_the_others_references(rows):
    kept = [row for row in rows if len(row["summaries"]) > 1]
    report = gate([Item(row["dialogue"], tuple(row["summaries"][1:])) for row in kept], [r["summary"] for r in kept])
    assert report.verdict == "better", report.reasons
    assert report.references is not None and report.references.sound


@pytest.mark.parametrize("poison", POISONS)
def test_whoever_learned_poison_by_heart_is_not_better(rows, poison):
    with gzip.open(DATA / "qmsum_span.train.jsonl.gz", "rt", encoding="utf-8") as lines:
        others = [json.loads(line)["summary"] for line in lines]
    bad = poisoned(poison, rows, others, random.Random(1))
    items = [Item(row["dialogue"], tuple(row["summaries"])) for row in bad]
    report = gate(items, [row["summary"] for row in bad])
    assert report.verdict == "inconclusive"
    assert report.references is not None and not report.references.sound


def test_parrots_of_the_house_style_are_worse_than_an_extract(rows):
    items = [Item(row["dialogue"], tuple(row["summaries"])) for row in rows]
    references = [text for item in items for text in item.blind]
    common, chance = commonest(references, 60), random.Random(2)
    for written in (
        [" ".join(common[:20])] * len(items),
        [" ".join(chance.sample(common, 20)) for _ in items],
        [references[0]] * len(items),
        [chance.choice(references) for _ in items],
    ):
        assert gate(items, written).verdict == "worse"
