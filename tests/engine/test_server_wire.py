"""The JSON between the engine and its clients: what goes in comes out, and what is wrong is one sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.conversation import Conversation, Message
from engine.requests import (
    Coverage,
    Event,
    Finished,
    Health,
    ModelInfo,
    Progress,
    Queued,
    SentenceWritten,
    SummaryRequest,
    SummaryResult,
    SummarySentence,
)
from storage import errors
from storage.errors import EngineBusy, EngineError, EngineUnavailable, InputError, RedraftError

text = st.text(st.characters(exclude_categories=["Cs"]))
sentences = st.builds(SummarySentence, text, st.lists(text).map(tuple), st.booleans(), st.lists(text).map(tuple))
coverages = st.builds(Coverage, st.integers(0), st.integers(0), st.integers(0), text, text, st.integers(1))
results = st.builds(
    SummaryResult,
    summary=text,
    sentences=st.lists(sentences, max_size=3).map(tuple),
    coverage=coverages,
    model=text,
    adapter=text,
    prompt_version=text,
    style=st.sampled_from(["standard", "brief", "detailed", "actions"]),
    focus=text,
    input_tokens=st.integers(0),
    output_tokens=st.integers(0),
    seconds=st.floats(0, 1e6),
    demonstration=st.booleans(),
    notes=st.lists(text).map(tuple),
)
events = st.one_of(
    st.builds(Queued, st.integers(0)),
    st.builds(Progress, st.integers(0), st.integers(0)),
    st.builds(SentenceWritten, sentences),
    st.builds(Finished, results),
)
messages = st.builds(
    Message,
    id=text,
    author=text,
    text=text,
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    author_id=text,
    permalink=text,
    thread=text,
    kind=st.sampled_from(["person", "bot", "system"]),
)
requests = st.builds(
    SummaryRequest,
    conversation=st.builds(
        Conversation, id=text, messages=st.lists(messages, min_size=1, max_size=4).map(tuple), public=st.booleans()
    ),
    style=st.sampled_from(["standard", "brief", "detailed", "actions"]),
    focus=text,
    output_language=text,
    adapter=st.none() | text,
    include_bots=st.booleans(),
)


@given(events)
def test_an_event_is_one_line_and_comes_out_as_it_went_in(event: Event) -> None:
    line = wire.encode_event(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode_line(line) == event


@given(requests)
def test_a_request_comes_out_as_it_went_in(request: SummaryRequest) -> None:
    assert wire.decode_request(wire.encode_request(request)) == request


def test_times_keep_their_moment() -> None:
    when = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    request = SummaryRequest(Conversation("c", (Message("1", "Ana", "hi", when),)))
    assert wire.decode_request(wire.encode_request(request)).conversation.messages[0].time == when


def test_health_comes_out_as_it_went_in() -> None:
    model = ModelInfo("m", "abc", "t5", True, False, 512, 128, device="cuda", representation="nf4")
    health = Health("up", model, 3, 4, 1.5, 2, "The engine was ended by SIGKILL.", ("a", "b"))
    assert wire.decode_health(wire.encode_health(health)) == health


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type)], ids=lambda k: k.__name__)
def test_every_error_of_ours_is_raised_as_what_it_was(kind: type[RedraftError]) -> None:
    if not issubclass(kind, RedraftError):
        pytest.fail("storage.errors holds something that is no error")
    error = kind(7) if kind is EngineBusy else kind("It broke.", "Mend it.")  # type: ignore[call-arg,arg-type]
    with pytest.raises(EngineError if kind is RedraftError else kind) as caught:
        wire.decode_line(wire.encode_error(error))
    assert (caught.value.message, caught.value.hint) == (error.message, error.hint)
    assert getattr(caught.value, "ahead", None) == getattr(error, "ahead", None)


def test_what_an_unexpected_error_says_stays_in_the_engine() -> None:
    line = wire.encode_error(ValueError("Ana wrote something private"))
    assert b"private" not in line
    with pytest.raises(EngineError, match="failed on this request"):
        wire.decode_line(line)


def test_an_empty_line_is_a_sign_of_life() -> None:
    assert wire.decode_line(b"\n") is None


@pytest.mark.parametrize(
    "line",
    [b"<html>", b"{}", b'{"event":"dance"}', b'{"event":"queued"}', b"[" * 100_000, b"\xff\xfe", b'{"event":{}}', b"3"],
)
def test_what_is_not_of_this_protocol_is_no_engine(line: bytes) -> None:
    with pytest.raises(EngineUnavailable, match="not a Redraft engine"):
        wire.decode_line(line)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{}",
        b'{"conversation": 3}',
        json.dumps({"conversation": {"id": "x", "messages": []}}).encode(),
        json.dumps({"conversation": {"id": "x", "messages": [{"id": "1", "author": "a"}]}}).encode(),
        json.dumps({"conversation": {"id": "x", "messages": [{"id": 1, "author": "a", "text": "private"}]}}).encode(),
        json.dumps({"conversation": {"id": "x", "messages": [_m := {"id": "1", "author": "a", "text": "private"}]},
                    "style": "private"}).encode(),
        json.dumps({"conversation": {"id": "x", "messages": [{**_m, "time": "private"}]}}).encode(),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_read_is_one_sentence_that_repeats_nothing(body: bytes) -> None:
    with pytest.raises(InputError) as caught:
        wire.decode_request(body)
    assert "private" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_request_beyond_the_bound_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    request = SummaryRequest(Conversation("c", (Message("1", "Ana", "x" * 3000),)))
    data = wire.encode_request(request)
    monkeypatch.setattr(wire, "MAX_REQUEST_BYTES", 2000)
    for refuse in (lambda: wire.encode_request(request), lambda: wire.decode_request(data)):
        with pytest.raises(InputError, match="larger than the engine takes"):
            refuse()


def test_fields_of_a_newer_version_are_ignored() -> None:
    document: dict[str, Any] = json.loads(wire.encode_event(Queued(2)))
    document["colour"] = "red"
    assert wire.decode_line(json.dumps(document).encode()) == Queued(2)


def test_a_lone_surrogate_is_told_and_not_a_crash() -> None:
    with pytest.raises(InputError, match="Unicode"):
        wire.encode_request(SummaryRequest(Conversation("c", (Message("1", "Ana", "\ud800"),))))
