"""Reading values that nobody vouches for: JSON of any shape in, clean strings, lists, objects and times out.

Everything here is total: whatever the argument, it returns and never raises. It knows nothing of Slack, Discord or
conversations, but for :func:`conversation_id`, which all formats share.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

#: Longest display name kept; longer ones are no names, and prompts repeat them at every message.
MAX_NAME = 80

# C0 and C1 controls other than tab and newline, which no database or terminal is glad of, and lone surrogates, which
# JSON can spell (\ud800) and UTF-8 cannot.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEWLINE = re.compile(r"\r\n?|[\u2028\u2029]")
# In a name, marks that turn the direction of what follows serve only to disguise it.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def clean(value: object) -> str:
    """The value if it is a string, fit to store and show: newlines as ``\\n``, no control characters; else ``""``."""
    if not isinstance(value, str):
        return ""
    if value.isascii() and value.isprintable():
        return value
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", _NEWLINE.sub("\n", value)))


def clean_name(value: object) -> str:
    """A display name on one line, at most :data:`MAX_NAME` characters, or ``""``."""
    text = clean(value)[: MAX_NAME * 8]
    return " ".join(_BIDI.sub("", text).split())[:MAX_NAME].rstrip()


def first_name(*values: object) -> str:
    """The first of the values that is a usable display name, or ``""``."""
    for value in values:
        name = clean_name(value)
        if name:
            return name
    return ""


def identifier(value: object) -> str:
    """An id given as a string or a whole number, on one line, or ``""``."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else ""
    return "".join(clean(value)[:400].split())[:200]


def as_dict(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value if it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []


def dicts(value: object) -> list[dict[str, Any]]:
    """The JSON objects of a list; what is no object, or in no list, is passed over."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def unix_time(value: object) -> datetime | None:
    """Seconds since 1970, as a number or a decimal string such as Slack's ``ts``, as a UTC time; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso_time(value: object) -> datetime | None:
    """An ISO 8601 time as UTC, taken for UTC where it names no zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def file_note(name: object, mime: object = "") -> str:
    """What stands in for an attached file: ``[image: plan.png]``, ``[file: report.pdf]``."""
    shown = clean_name(name).replace("[", "(").replace("]", ")")
    media = clean(mime).partition("/")[0]
    if media not in ("image", "video", "audio"):
        suffix = shown.rpartition(".")[2].lower()
        media = _MEDIA_OF_SUFFIX.get(suffix, "file")
    return f"[{media}: {shown}]" if shown else f"[{media}]"


_MEDIA_OF_SUFFIX = {
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "heic", "bmp", "svg", "avif", "tiff"), "image"),
    **dict.fromkeys(("mp4", "mov", "webm", "mkv", "avi", "m4v"), "video"),
    **dict.fromkeys(("mp3", "ogg", "wav", "m4a", "flac", "opus"), "audio"),
}


def conversation_id(platform: str, parts: Iterable[str]) -> str:
    """An id that is the same for the same parts in the same order: the platform and 24 hexadecimal digits of SHA-256.

    The parts are what names the conversation at its source (channel, thread, message ids), or, where the source has no
    ids, its authors and texts. Where the file lies, what it is called and how it is encoded do not count.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "replace")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return f"{platform}-{digest.hexdigest()[:24]}"
