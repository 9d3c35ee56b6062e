"""How requests, events, health and errors look as JSON: what the HTTP server and its client agree on.

A stream is NDJSON: one event a line, an error as ``{"event": "error", "kind", "message", "hint", "ahead"}``; an empty
line means that the engine is alive. What is read is bounded in size and checked against the dataclasses of
:mod:`engine.requests`; fields that are not known are ignored, so that a client and an engine of neighbouring versions
understand each other. It knows nothing of sockets, HTTP or the model.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from engine.requests import Event, Health, SummaryRequest
from storage import errors
from storage.errors import EngineBusy, EngineError, EngineUnavailable, InputError, RedraftError

#: Largest request that is read, in bytes: a thread of 10,000 messages is about 3 MB.
MAX_REQUEST_BYTES = 32 * 1024 * 1024
#: Longest line of a stream that is read, in bytes: the last event holds one summary with its sentences.
MAX_LINE_BYTES = 8 * 1024 * 1024
#: The engine sends an empty line when it has had nothing else to send for this long, in seconds.
HEARTBEAT_S = 5.0

_TOO_BIG = InputError(
    f"The conversation is larger than the engine takes ({MAX_REQUEST_BYTES // 2**20} MiB).",
    "Summarise a shorter stretch of it.",
)


@cache
def _requests() -> TypeAdapter[SummaryRequest]:
    # Adapters are built when first used: building one costs tens of milliseconds.
    return TypeAdapter(SummaryRequest)


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="event")])


@cache
def _health() -> TypeAdapter[Health]:
    return TypeAdapter(Health)


def encode_request(request: SummaryRequest) -> bytes:
    """The request as JSON.

    Raises:
        InputError: it is larger than an engine takes.
    """
    try:
        data = _requests().dump_json(request)
    except ValueError as error:  # a lone surrogate cannot be UTF-8
        raise InputError("The conversation holds text that is not valid Unicode.", "Export it again.") from error
    if len(data) > MAX_REQUEST_BYTES:
        raise InputError(_TOO_BIG.message, _TOO_BIG.hint)
    return data


def decode_request(data: bytes | bytearray) -> SummaryRequest:
    """The request that ``data`` holds.

    Raises:
        InputError: too large, not JSON, or not of this shape; what the data said is not repeated.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise InputError(_TOO_BIG.message, _TOO_BIG.hint)
    try:
        request = _requests().validate_json(bytes(data))
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(f"The request cannot be read: {_where(error)}.", "See docs/architecture.md.") from None
    if not request.conversation.messages:
        raise InputError("The conversation has no messages.", "Check that it is the right one.")
    return request


def encode_event(event: Event) -> bytes:
    """One line of a stream, its line feed included."""
    return _events().dump_json(event) + b"\n"


def encode_error(error: Exception) -> bytes:
    """The line that ends a stream which failed; anything but our own errors is told without its text."""
    return json.dumps(error_document(error), ensure_ascii=False).encode() + b"\n"


def error_document(error: Exception) -> dict[str, Any]:
    """An error as the wire carries it; also the body of a refusal."""
    if not isinstance(error, RedraftError):
        error = EngineError("The engine failed on this request.", "Try again; its log says more.")
    document: dict[str, Any] = {"event": "error", "kind": type(error).__name__}
    document |= {"message": error.message, "hint": error.hint}
    if isinstance(error, EngineBusy):
        document["ahead"] = error.ahead
    return document


def decode_line(line: bytes) -> Event | None:
    """The event of one line of a stream; None for a sign of life.

    Raises:
        RedraftError: the line carries an error; it is raised as the class that it was on the other side.
        EngineUnavailable: what came is not of this protocol.
    """
    line = line.strip()
    if not line:
        return None
    try:
        # The key order of our own encoder is not relied on: a sentence may well contain the text `"event":"error"`.
        return _events().validate_json(line)
    except (ValidationError, ValueError, RecursionError):
        raise decode_error(line) from None


def decode_error(data: bytes) -> RedraftError:
    """The error that a line or a refusal's body carries."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("event") != "error":
        return EngineUnavailable("What answered is not a Redraft engine of this version.", "Restart the engine.")
    message, hint = str(document.get("message", ""))[:2000], str(document.get("hint", ""))[:2000]
    kind = getattr(errors, str(document.get("kind")), None)
    if kind is EngineBusy:
        ahead = document.get("ahead")
        return EngineBusy(ahead if isinstance(ahead, int) and ahead >= 0 else 0)
    if not (isinstance(kind, type) and issubclass(kind, RedraftError)) or kind is RedraftError:
        kind = EngineError
    return kind(message or "The engine failed on this request.", hint)


def encode_health(health: Health) -> bytes:
    """Health as JSON."""
    return _health().dump_json(health)


def decode_health(data: bytes) -> Health:
    """Health from JSON.

    Raises:
        EngineUnavailable: it is not health of this protocol.
    """
    try:
        return _health().validate_json(data)
    except (ValidationError, ValueError, RecursionError):
        raise decode_error(b"") from None


def _where(error: Exception) -> str:
    """Which field is wrong and how, without its value: values are people's messages."""
    if not isinstance(error, ValidationError):
        return "it is not JSON"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "it is not JSON"
    place = ".".join(str(part) for part in first["loc"][:6])
    return (
        f"{place} is not as it should be ({first['type']})" if place else f"it is not as it should be ({first['type']})"
    )
