"""The ten samples are what they claim to be."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from admin.samples import SAMPLES, Sample
from engine.conversation import Conversation
from engine.formats import FORMATS, read_conversation

FOLDER = Path(str(files("admin.samples")))


def _read(sample: Sample) -> Conversation:
    return read_conversation(FOLDER / sample.file)


def test_there_are_ten_in_every_format_and_the_demo_begins_with_the_three_kinds_it_promises() -> None:
    assert len(SAMPLES) == 10
    assert {sample.format for sample in SAMPLES} == set(FORMATS)
    assert [sample.kind for sample in SAMPLES[:3]] == ["incident", "support", "planning"]
    assert {sample.format for sample in SAMPLES[:3]} == {"slack", "discord"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_a_sample_is_a_conversation_of_people_in_the_format_it_names(sample: Sample) -> None:
    conversation = _read(sample)
    people = [message for message in conversation.messages if message.kind == "person"]
    assert 8 <= len(people) <= 40
    assert 2 <= len({message.author for message in people}) <= 6
    assert all(message.text for message in people)
    assert conversation.platform == (sample.format if sample.format in ("slack", "discord") else "file")
    assert conversation == read_conversation(FOLDER / sample.file, format=sample.format)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.format in ("slack", "discord")], ids=lambda s: s.file)
def test_a_platforms_sample_has_names_times_and_permalinks_and_nothing_left_unreadable(sample: Sample) -> None:
    conversation = _read(sample)
    assert conversation.workspace
    assert conversation.channel
    for message in conversation.messages:
        assert message.time is not None
        assert message.permalink.startswith("https://")
        assert message.author_id
        assert message.author != message.author_id
        assert "<@" not in message.text
        assert "@U05" not in message.text
        assert "&amp;" not in message.text
    threads = [message.thread for message in conversation.messages if message.thread]
    assert set(threads) <= {message.id for message in conversation.messages}


def test_the_index_names_every_sample_file() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    known = {sample.file for sample in SAMPLES} | {
        "slack_export/users.json",
        "slack_export/channels.json",
        "corrections.jsonl",
    }
    assert {name for name in found if not name.endswith((".py", ".pyc"))} == known


def test_some_samples_are_long_and_ids_differ() -> None:
    conversations = [_read(sample) for sample in SAMPLES]
    words = [len(" ".join(m.text for m in c.messages).split()) for c in conversations]
    assert sum(count >= 500 for count in words) >= 2
    assert len({c.id for c in conversations}) == len(SAMPLES)
    assert [c.id for c in conversations] == [_read(sample).id for sample in SAMPLES]
