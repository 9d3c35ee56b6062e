"""From a path or bytes to text or JSON, or to one sentence that says why not.

It knows of files, encodings and JSON, and nothing of what a conversation looks like. At most :data:`MAX_BYTES` are
ever read. The hints name the command line's options where one helps.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

from storage.errors import InputError

#: Largest file read, in bytes: a day of a busy channel is a few MB, and JSON takes several times that in memory.
MAX_BYTES = 64 * 1024 * 1024

_BOMS = (
    # UTF-32's little-endian mark begins with UTF-16's, so it is asked first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive", "Unpack it and name one file in it, such as a channel's day file."),
    (b"\x1f\x8b", "gzip-compressed", "Unpack it first."),
    (b"%PDF-", "a PDF document", "Save its text as plain `Name: text` lines."),
    (b"SQLite format 3\x00", "an SQLite database", "Export the conversation as JSON or text."),
)


def shown(name: str) -> str:
    """A file's name as a sentence may carry it: on one line, printable, not endless."""
    text = "".join(character if character.isprintable() else "?" for character in name)
    return text if len(text) <= 200 else f"…{text[-199:]}"


def read_file(path: Path) -> bytes:
    """The bytes of a file, of a pipe or, for ``-``, of standard input.

    Raises:
        InputError: there is no such file, it is a directory, may not be read, or is too large.
    """
    if str(path) == "-":
        return _bounded(sys.stdin.buffer.read(MAX_BYTES + 1), "Standard input")
    name = shown(str(path))
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > MAX_BYTES:
                raise _too_large(name)
            return _bounded(file.read(MAX_BYTES + 1), name)
    except FileNotFoundError:
        raise InputError(f"There is no file {name}.", "Check the path.") from None
    except IsADirectoryError:
        raise InputError(
            f"{name} is a directory.", "Name one file in it, such as a channel's day file (general/2026-05-01.json)."
        ) from None
    except PermissionError:
        raise InputError(f"{name} may not be read by this user.", "Change its permissions or copy it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{name} could not be read: {shown(reason).lower()}.", "Check the path.") from None


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    return data


def _too_large(name: str) -> InputError:
    return InputError(
        f"{name} is larger than {MAX_BYTES // 2**20} MB.", "Export a shorter stretch, such as one day or one thread."
    )


def decode(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, or UTF-16 or UTF-32 with a byte order mark. The mark itself is left out.

    Raises:
        InputError: empty, binary, or not in one of those encodings; the byte offset is told.
    """
    name = shown(name)
    if not data.strip():
        raise InputError(f"{name} is empty.", "Name a file with a conversation in it.")
    for magic, what, hint in _MAGIC:
        if data.startswith(magic):
            raise InputError(f"{name} is {what}, not a conversation.", hint)
    mark, encoding = next(((m, e) for m, e in _BOMS if data.startswith(m)), (b"", "utf-8"))
    skip = len(mark) if encoding == "utf-8" else 0
    if encoding == "utf-8" and (offset := data.find(b"\x00")) >= 0:
        raise InputError(
            f"{name} is binary: it has a NUL byte at byte offset {offset}.", "Save it as UTF-8 text without NUL bytes."
        )
    try:
        text = data[skip:].decode(encoding) if skip else data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not {encoding.upper()} text: the byte at offset {error.start + skip} cannot be decoded.",
            "Save it as UTF-8.",
        ) from None
    if "\x00" in text:
        raise InputError(f"{name} is binary: it has a NUL character.", "Save it as UTF-8 text without NUL characters.")
    if not text.strip():
        raise InputError(f"{name} is empty.", "Name a file with a conversation in it.")
    return text


def parse_json(text: str, name: str) -> Any:
    """The JSON value in a text.

    Raises:
        InputError: broken, cut short or nested too deep; line and column are told.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise broken_json(error, text, name) from None
    except RecursionError:
        raise InputError(
            f"The JSON in {shown(name)} is nested too deep to be a conversation.", "Check that this is the right file."
        ) from None
    except ValueError:
        # The one other thing that json refuses: a whole number of more digits than Python converts.
        raise InputError(
            f"The JSON in {shown(name)} holds a number of thousands of digits.", "Check that this is the right file."
        ) from None


def broken_json(error: json.JSONDecodeError, text: str, name: str, *, line: int = 0) -> InputError:
    """The sentence for JSON that does not parse; ``line`` is added to the error's own line number."""
    cut = error.msg.startswith("Unterminated string") or not text[error.pos :].strip()
    where = f"line {line + error.lineno}, column {error.colno}"
    if cut:
        return InputError(
            f"The JSON in {shown(name)} ends too early: what begins or should go on at {where} is never finished.",
            "It may have been cut short on its way; export or copy it again.",
        )
    return InputError(
        f"The JSON in {shown(name)} is broken at {where}.",
        "Export it again, or name its format with --format if it is not JSON.",
    )


def parse_json_lines(text: str, name: str) -> list[Any]:
    """The values of JSON Lines, blank lines passed over.

    Raises:
        InputError: a line does not parse; which one is told.
    """
    values = []
    for number, line in enumerate(re.split(r"\r\n?|\n", text)):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise broken_json(error, line, name, line=number) from None
        except (RecursionError, ValueError):
            raise InputError(
                f"Line {number + 1} of {shown(name)} is no usable JSON.", "Correct or remove that line."
            ) from None
    return values
