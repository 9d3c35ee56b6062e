"""The gate promotes what is better and nothing that only looks so."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.gate import MIN_BLIND, GateReport, judge
from engine.scoring.measuring import COLUMNS, Item, Measured, measure
from engine.scoring.metrics import house_stems
from engine.scoring.references import ReferenceCheck
from tests.engine.scoring import invented

SOUND = ReferenceCheck(references=60, fit=99, misfits=1, novelty=19, repeated=1)


def gate(items: Sequence[Item], candidate: Sequence[str], base: Sequence[str], **given: object) -> GateReport:
    house = house_stems(text for item in items for text in (*item.blind, *item.edited))
    systems = {"candidate": candidate, "base": base}
    return judge(measure(items, systems, house), measure(items, systems, house, kind="edited"), against="base", **given)


def extracts(items: Sequence[Item]) -> list[str]:
    """A base that copies the first two turns."""
    return [invented.turns(item, 0, 1) for item in items]


def learned(items: Sequence[Item]) -> list[str]:
    chance = random.Random(4)
    return [invented.learned(item, chance) for item in items]


def with_blind(items: Sequence[Item], references: Sequence[tuple[str, ...]]) -> list[Item]:
    return [Item(item.dialogue, blind=row) for item, row in zip(items, references, strict=True)]


# Better -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_candidate_that_writes_as_people_do_is_better_than_an_extract(seed):
    items = invented.items(MIN_BLIND, seed)
    report = gate(items, learned(items), extracts(items))
    assert report.verdict == "better", report.reasons
    assert "ROUGE-L" in " ".join(report.reasons)
    assert report.missing == 0


def test_new_words_as_people_use_them_do_not_count_against_a_candidate_but_more_do():
    items = invented.items(80)
    others = [item.blind[0] for item in invented.items(80, seed=2)]
    people = [
        " ".join([*text.split()[:2], other.split()[2], *text.split()[3:]])
        for (text, *_), other in zip((item.blind for item in items), others, strict=True)
    ]
    report = gate(items, people, extracts(items))
    assert report.verdict == "better"
    assert report.blind.differences["novelty"].low > 1
    raving = [
        f"{text} Zebras applauded xylophones near quiet volcanoes while wizards juggled marmalade." for text in people
    ]
    report = gate(items, raving, extracts(items))
    assert report.verdict != "better"
    assert any("Words that the conversation lacks" in reason for reason in report.reasons)


def test_invented_numbers_and_names_keep_a_candidate_from_being_better():
    items = invented.items(80)
    report = gate(items, [f"{text} Ref 31337 by Quentin." for text in learned(items)], extracts(items))
    assert report.verdict != "better"
    assert any("Numbers and names" in reason for reason in report.reasons)


# Worse --------------------------------------------------------------------------------------------------------------


def test_a_candidate_that_lost_what_matters_is_worse():
    items = invented.items(80)
    lost = ["Customer is complaining about something. Agent asks for details." for _ in items]
    report = gate(items, lost, learned(items))
    assert report.verdict == "worse"
    assert any("clearly below" in reason for reason in report.reasons)


@pytest.mark.parametrize("broken", ["", "the tram the tram the tram the tram the tram the tram"])
def test_empty_or_looping_output_is_worse_whatever_the_references(broken):
    items = invented.items(80)
    written = learned(items)
    report = gate(items, [broken if at % 4 == 0 else text for at, text in enumerate(written)], written)
    assert report.verdict == "worse"


def test_a_few_empty_summaries_are_enough_not_to_be_better():
    items = invented.items(80)
    written = learned(items)
    report = gate(items, [*written[:76], "", "", "", ""], extracts(items))
    assert report.verdict == "inconclusive"
    assert any("Empty summaries" in reason for reason in report.reasons)


def test_a_candidate_below_the_first_three_turns_is_told_beside_the_verdict():
    items = invented.items(80)
    report = gate(items, ["The thing is at fault."] * 80, ["Something is at fault."] * 80)
    assert any("first three turns" in note for note in report.notes)


# Inconclusive -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 12, MIN_BLIND - 1])
def test_fewer_blind_references_than_it_takes_are_inconclusive_and_the_missing_ones_are_counted(count):
    items = invented.items(count)
    report = gate(items, learned(items), extracts(items))
    assert report.verdict == "inconclusive"
    assert report.missing == MIN_BLIND - count
    assert str(MIN_BLIND - count) in " ".join(report.reasons)


def test_the_same_system_twice_is_inconclusive():
    items = invented.items(80)
    report = gate(items, learned(items), learned(items))
    assert report.verdict == "inconclusive"
    assert all(value.mean == 0 for value in report.blind.differences.values())


def test_only_blind_references_decide_and_edited_ones_stand_apart():
    honest = invented.items(80)
    drafts = extracts(honest)
    # Edits of the base's own drafts, which favour the base as far as edits can.
    items = [Item(item.dialogue, item.blind, (f"{draft} Noted.",)) for item, draft in zip(honest, drafts, strict=True)]
    report = gate(items, learned(items), drafts)
    assert report.verdict == "better"
    assert report.edited.conversations == 80
    assert report.edited.differences["rougeL"].high < 0
    alone = [Item(item.dialogue, edited=item.edited) for item in items]
    assert gate(alone, learned(items), drafts).verdict == "inconclusive"


# Poison and parrots -------------------------------------------------------------------------------------------------


def shuffled(items: list[Item]) -> list[tuple[str, ...]]:
    return [items[at - 7].blind for at in range(len(items))]


def repeated(items: list[Item]) -> list[tuple[str, ...]]:
    return [("Customer is complaining about an order. Agent asks to call the depot.",)] * len(items)


def foreign(items: list[Item]) -> list[tuple[str, ...]]:
    return [tuple(map(invented.translated, item.blind)) for item in items]


def elsewhere(items: list[Item]) -> list[tuple[str, ...]]:
    return [item.blind for item in invented.items(len(items), seed=99)]


@pytest.mark.parametrize("poison", [shuffled, repeated, foreign, elsewhere])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_candidate_that_learned_poison_perfectly_is_never_better(
    poison: Callable[[list[Item]], list[tuple[str, ...]]], share
):
    honest = invented.items(80)
    bad = poison(honest)
    taken = set(random.Random(1).sample(range(80), int(80 * share)))
    items = with_blind(honest, [bad[at] if at in taken else item.blind for at, item in enumerate(honest)])
    # As if it had seen the held-out references themselves.
    report = gate(items, [item.blind[0] for item in items], extracts(items))
    assert report.verdict != "better", report.reasons


def parrots(items: Sequence[Item]) -> dict[str, list[str]]:
    references = [text for item in items for text in item.blind]
    chance = random.Random(6)
    common, next_ones = invented.commonest(references, 40), invented.commonest(references, 40, start=40)
    return {
        "the commonest words": [" ".join(common[:20])] * len(items),
        "some of the commonest words": [" ".join(chance.sample(common, 18)) for _ in items],
        "the next commonest too": [" ".join(common[:10] + chance.sample(next_ones, 8)) for _ in items],
        "a reference of the house": [references[0]] * len(items),
        "any reference of the house": [chance.choice(references) for _ in items],
    }


@pytest.mark.parametrize("kind", list(parrots(invented.items(40))))
@pytest.mark.parametrize("against", ["extract", "garbage", "another parrot", "nothing"])
def test_a_parrot_of_the_house_style_is_never_better(kind, against):
    items = invented.items(100)
    written = parrots(items)[kind]
    others = {
        "extract": extracts(items),
        "garbage": ["lorem ipsum dolor sit amet"] * 100,
        "another parrot": parrots(items)["a reference of the house"][::-1],
        "nothing": [""] * 100,
    }
    report = gate(items, written, others[against])
    assert report.verdict != "better", report.reasons
    if against == "extract":
        assert report.verdict == "worse"


# Chance -------------------------------------------------------------------------------------------------------------


def simulated(
    chance: np.random.Generator, count: int, *, rouge: float = 0.0, content: float = 0.0, spread: float = 10.0
) -> Measured:
    """Figures as TweetSumm's are spread, the candidate so many points above the base on average."""
    base = {name: list(chance.normal(35, 12, count)) for name in COLUMNS}
    gains = {"rougeL": rouge, "content_f1": content}
    ours = {
        name: [
            value + step
            for value, step in zip(base[name], chance.normal(gains.get(name, 0), spread, count), strict=True)
        ]
        for name in COLUMNS
    }
    for figures in (base, ours):
        figures |= {"novelty": [15.0] * count, "unsupported": [5.0] * count}
        figures |= {"empty": [0.0] * count, "looping": [0.0] * count}
    return Measured(
        conversations=tuple(range(count)),
        references=count,
        figures={"candidate": ours, "base": base},
        people={"novelty": [19.0] * count, "unsupported": [5.0] * count},
        check=SOUND,
    )


def verdicts(rounds: int, count: int, **gains: float) -> dict[str, float]:
    chance = np.random.default_rng(17)
    found = [judge(simulated(chance, count, **gains), against="base", resamples=500).verdict for _ in range(rounds)]
    return {verdict: found.count(verdict) / rounds for verdict in ("better", "worse", "inconclusive")}


def test_equal_systems_are_seldom_better_and_hardly_ever_worse():
    found = verdicts(300, MIN_BLIND)
    assert found["better"] <= 0.06
    assert found["worse"] <= 0.01


def test_a_gain_of_four_points_is_seen_at_sixty_conversations_and_a_loss_of_six_too():
    assert verdicts(100, MIN_BLIND, rouge=4.0, content=1.0)["better"] >= 0.75
    assert verdicts(100, MIN_BLIND, content=-6.0)["worse"] >= 0.85


def test_a_gain_in_one_does_not_pay_for_a_loss_in_the_other():
    found = verdicts(100, 150, rouge=8.0, content=-4.0)
    assert found["better"] <= 0.02


# The report ---------------------------------------------------------------------------------------------------------


def test_the_report_is_the_same_each_time_and_comes_back_from_json():
    items = [Item(item.dialogue, item.blind, ("An edit.",)) for item in invented.items(20)]
    report = gate(items, learned(items), extracts(items))
    again = gate(items, learned(items), extracts(items))
    document = json.dumps(report.as_json())
    assert document == json.dumps(again.as_json())
    assert GateReport.from_json(json.loads(document)).as_json() == report.as_json()
    with pytest.raises(ValueError, match="format"):
        GateReport.from_json({"format": 99})


def test_the_report_holds_no_word_of_the_texts():
    items = [Item("Ana: PLANTED zanzibar", blind=("PLANTED zanzibar",), edited=("PLANTED",))] * 3
    document = json.dumps(gate(items, ["PLANTED zanzibar"] * 3, ["zanzibar"] * 3).as_json())
    assert "planted" not in document.lower()
    assert "zanzibar" not in document


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=40), max_size=2), st.text(max_size=40)),
        max_size=6,
    )
)
def test_any_texts_are_judged(rows):
    items = [Item(dialogue, blind=tuple(texts)) for dialogue, texts, _ in rows]
    report = gate(items, [text for _, _, text in rows], ["x"] * len(rows), minimum=1, resamples=50)
    assert report.verdict in ("better", "worse", "inconclusive")
    assert report.reasons
    json.dumps(report.as_json(), allow_nan=False)


def test_a_summary_for_every_item_is_asked_of_every_system():
    with pytest.raises(ValueError, match="one summary"):
        measure(invented.items(3), {"candidate": ["a"]}, frozenset())
