"""How a request's values are held against what Discord documents of them; knows nothing of any one request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]


class Broken(Exception):
    """A request that Discord would refuse as malformed, or that its documentation does not know."""


class Refused(Exception):
    """A well-formed request that Discord refuses, by its status and its JSON error code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


UNAUTHORISED = Refused(401, 0, "401: Unauthorized")
UNKNOWN_CHANNEL = Refused(404, 10003, "Unknown Channel")
UNKNOWN_GUILD = Refused(404, 10004, "Unknown Guild")
UNKNOWN_MEMBER = Refused(404, 10007, "Unknown Member")
UNKNOWN_MESSAGE = Refused(404, 10008, "Unknown Message")
UNKNOWN_USER = Refused(404, 10013, "Unknown User")
UNKNOWN_WEBHOOK = Refused(404, 10015, "Unknown Webhook")
UNKNOWN_INTERACTION = Refused(404, 10062, "Unknown interaction")
UNKNOWN_COMMAND = Refused(404, 10063, "Unknown application command")
ALREADY_ACKNOWLEDGED = Refused(400, 40060, "Interaction has already been acknowledged.")
TOO_MANY_FOLLOWUPS = Refused(400, 40094, "This interaction has reached the maximum number of follow-up messages.")
MISSING_ACCESS = Refused(403, 50001, "Missing Access")
NOT_YOURS = Refused(403, 50005, "Cannot edit a message authored by another user")
CLOSED_DMS = Refused(403, 50007, "Cannot send messages to this user")
NOT_A_TEXT_CHANNEL = Refused(400, 50008, "Cannot send messages in a non-text channel")
MISSING_PERMISSIONS = Refused(403, 50013, "Missing Permissions")
INVALID_TOKEN = Refused(401, 50027, "Invalid Webhook Token")
ARCHIVED = Refused(400, 50083, "Thread is archived")
LOCKED = Refused(400, 160005, "Thread is locked")


def text(least: int = 0, most: int = 10**9) -> Check:
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def matches(pattern: str) -> Check:
    found = re.compile(pattern)
    return lambda value: isinstance(value, str) and found.fullmatch(value) is not None


def integer(least: int = -(2**31), most: int = 2**31 - 1) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def anything(_value: Any) -> bool:
    return True


def nothing(value: Any) -> bool:
    return value is None


def exactly(*known: Any) -> Check:
    return lambda value: any(value is one or (type(value) is type(one) and value == one) for one in known)


def either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def nullable(check: Check) -> Check:
    return lambda value: value is None or check(value)


def snowflake(value: Any) -> bool:
    """An id: a string of digits in the documentation; a number passes as well, as it does with Discord."""
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value < 2**64
    return isinstance(value, str) and value.isascii() and value.isdigit() and int(value) < 2**64


def permissions(value: Any) -> bool:
    return snowflake(value)


def web_url(*schemes: str) -> Check:
    allowed = schemes or ("http", "https")
    found = re.compile(rf"(?:{'|'.join(allowed)})://[^\s]+")
    return lambda value: isinstance(value, str) and len(value) <= 2048 and found.fullmatch(value) is not None


def items(check: Check, most: int = 10**9, least: int = 0) -> Check:
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(check, value))


def query_number(least: int, most: int) -> Check:
    return lambda value: isinstance(value, str) and value.isdigit() and least <= int(value) <= most


def query_flag(value: Any) -> bool:
    return value in ("true", "false", "True", "False", "1", "0")


def check(what: str, given: Any, known: dict[str, Check]) -> None:
    """Raise :class:`Broken` unless all fields are known and well-formed, and none is missing whose name ends in `!`."""
    if not isinstance(given, dict):
        raise Broken(f"{what} is no object")
    names = {name.rstrip("!"): test for name, test in known.items()}
    for name, value in given.items():
        if name not in names:
            raise Broken(f"{what}: unknown field {name}")
        if not names[name](value):
            raise Broken(f"{what}: {name}={str(value)[:80]!r}")
    for name in known:
        if name.endswith("!") and name[:-1] not in given:
            raise Broken(f"{what}: {name[:-1]} is missing")


def shaped(what: str, known: dict[str, Check]) -> Check:
    """A check of an object's fields, which tells by its own exception what is wrong."""

    def test(value: Any) -> bool:
        check(what, value, known)
        return True

    return test


EMOJI = shaped("emoji", {"id": nullable(snowflake), "name": nullable(text(1, 100)), "animated": flag})
