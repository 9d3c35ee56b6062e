"""References that do not belong to their conversations are found out; honest ones are not accused."""

from __future__ import annotations

import random

import pytest

from engine.scoring.measuring import Item
from engine.scoring.metrics import Source, house_stems
from engine.scoring.references import ReferenceCheck, check_references
from tests.engine.scoring import invented


def check(references: list[tuple[str, ...]], items: list[Item]) -> ReferenceCheck:
    house = house_stems(text for row in references for text in row)
    return check_references(references, [Source(item.dialogue) for item in items], house)


@pytest.mark.parametrize("seed", range(4))
def test_honest_references_are_sound(seed):
    items = invented.items(60, seed)
    found = check([item.blind for item in items], items)
    assert found.sound
    assert found.fit > 90
    assert found.misfits < 10


@pytest.mark.parametrize("share", [0.4, 0.6, 1.0])
def test_references_shuffled_between_conversations_are_found_out(share):
    items = invented.items(80)
    moved = random.Random(2).sample(range(80), int(share * 80))
    references = [item.blind for item in items]
    for at, other in zip(moved, moved[1:] + moved[:1], strict=True):
        references[at] = items[other].blind
    found = check(references, items)
    assert not found.sound
    assert "other conversations" in " ".join(found.faults)


def test_one_repeated_text_is_found_out_even_when_only_some_have_it():
    items = invented.items(60)
    said = "Customer is complaining about an order and agent asks for the details."
    everywhere = check([(said,)] * 60, items)
    assert any("one and the same text" in fault for fault in everywhere.faults)
    half = check([(said,) if at % 2 else item.blind[:1] for at, item in enumerate(items)], items)
    assert any("one and the same text" in fault for fault in half.faults)


def test_references_in_another_language_are_found_out_though_names_and_numbers_fit():
    items = invented.items(60)
    found = check([tuple(map(invented.translated, item.blind)) for item in items], items)
    assert any("another language" in fault for fault in found.faults)


def test_summaries_of_other_threads_are_found_out():
    items = invented.items(60)
    others = [
        (f"The council of {at} villages voted on the harvest festival and its brass bands.",) for at in range(2, 62)
    ]
    assert not check(others, items).sound


def test_one_conversation_is_judged_without_others():
    items = invented.items(1)
    found = check([item.blind for item in items], items)
    assert found.references == 3
    assert found.fit == 50


def test_no_references_are_nothing_to_check():
    with pytest.raises(ValueError, match="no references"):
        check_references([], [], frozenset())
