"""Rows from files of pairs: JSON, JSON Lines or CSV, gzipped or not, one row at a time.

What a file is, its content says: a list of JSON objects, JSON objects one after the other, or a CSV table whose first
line names ``dialogue``. It is read as a stream; no row may be longer than :data:`LONGEST` characters. It knows files
and encodings and not what the rows mean; that is :mod:`engine.learning.pair_rows`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from engine.formats.source import shown
from storage.errors import InputError

#: Longest row, in characters.
LONGEST = 16 * 1024 * 1024
_CHUNK = 64 * 1024
#: A value that fails to parse this near to the end of what was read may only be cut off there.
_NEAR_END = 16
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as the file has it.

    Attributes:
        number: counted from 1.
        line: the line of the file that it begins on, counted from 1.
        values: by the names of the file; of a CSV table, all are texts.
    """

    number: int
    line: int
    values: dict[str, Any]


def refused(name: str, what: str, hint: str = "", *, row: int = 0, line: int = 0) -> InputError:
    """The sentence for a file that is refused whole; which row it is about is told where it is one."""
    where = f"row {row:,} (line {line:,}) of {name}" if row else (f"line {line:,} of {name}" if line else name)
    return InputError(f"Nothing was imported: {where} {what}.", hint or "Correct it and import the file again.")


@contextmanager
def rows_of(path: Path) -> Iterator[Iterator[Raw]]:
    """The rows of a file, or of standard input for ``-``.

    Raises:
        InputError: on opening or while reading: there is no such file, it is empty or none of the formats, or a row
            cannot be read; which one is told.
    """
    name = "standard input" if str(path) == "-" else shown(path.name)
    with _opened(path, name) as binary, closing(_rows(binary, name)) as rows:
        yield rows


@contextmanager
def _opened(path: Path, name: str) -> Iterator[io.BufferedReader]:
    if str(path) == "-":
        yield _unpacked(cast("io.BufferedReader", sys.stdin.buffer))
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"There is no file {shown(str(path))}.", "Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{shown(str(path))} is a directory.", "Name one file of pairs.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{name} could not be read: {shown(reason).lower()}.", "Check the path.") from None
    with file:
        yield _unpacked(file)


def _unpacked(file: io.BufferedReader) -> io.BufferedReader:
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    # A reader of its own in between, because the unpacked stream has to be looked into as well.
    return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file)), _CHUNK)


def _rows(binary: io.BufferedReader, name: str) -> Generator[Raw, None, None]:
    """The rows; what goes wrong with the bytes on the way is told by where it was."""
    at = [0]
    try:
        start = binary.peek(_CHUNK)[:_CHUNK]
        encoding = next((found for mark, found in _BOMS if start.startswith(mark)), "utf-8")
        opening = start.decode(encoding, "ignore").lstrip()[:1]
        if not start.strip():
            raise refused(name, "is empty", "Name a file with pairs in it.")
        text = io.TextIOWrapper(binary, encoding=encoding, errors="strict", newline="")
        try:
            for row in (_json if opening in "[{" and opening else _csv)(text, name):
                at[0] = row.line
                yield row
        finally:
            text.detach()
    except UnicodeDecodeError:
        raise refused(name, f"is no UTF-8 text{_behind(at[0])}", "Save it as UTF-8.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        what = f"is a damaged gzip file, cut short or altered{_behind(at[0])}"
        raise refused(name, what, "Copy it again.") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise refused(name, f"could not be read to its end: {reason}", "Copy it again.") from None


def _behind(line: int) -> str:
    return f" somewhere after line {line:,}" if line else ""


# JSON ---------------------------------------------------------------------------------------------------------------


class _Cursor:
    """Where a stream of JSON is being read; what lies behind is let go of."""

    def __init__(self, text: TextIO, name: str) -> None:
        self._text = text
        self._name = name
        self._buffer = ""
        self._at = 0
        self._ended = False
        self.line = 1

    def next_sign(self) -> str:
        """The next sign that is no white space, not taken; empty at the end."""
        while True:
            kept = len(self._buffer) - len(self._buffer[self._at :].lstrip(" \t\r\n\ufeff"))
            self._take(kept)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read():
                return ""

    def skip(self) -> None:
        """Take the sign that :meth:`next_sign` told."""
        self._take(self._at + 1)

    def value(self, row: int) -> Any:
        """The JSON value that begins here; a number or word would need a sign behind it to be whole, and is none."""
        wanted = _CHUNK
        while True:
            try:
                found, end = json.JSONDecoder().raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _NEAR_END
                if len(self._buffer) - self._at > LONGEST:
                    raise self._refused(row, f"is longer than {LONGEST // 2**20} million characters") from None
                if not cut or not self._more(wanted):
                    raise self._broken(row, error) from None
                wanted *= 2
            except (RecursionError, ValueError):
                raise self._refused(row, "is no usable JSON: nested too deep, or a number too long") from None
            else:
                self._take(end)
                return found

    def _broken(self, row: int, error: json.JSONDecodeError) -> InputError:
        if self._ended and (error.pos >= len(self._buffer.rstrip()) or error.msg.startswith("Unterminated string")):
            return self._refused(row, "is never finished: the file ends before it does", "Copy the file again.")
        line = self.line + self._buffer.count("\n", self._at, error.pos)
        column = error.pos - self._buffer.rfind("\n", 0, error.pos)
        return self._refused(row, f"is no JSON from line {line:,}, column {column:,} on")

    def _refused(self, row: int, what: str, hint: str = "") -> InputError:
        return refused(self._name, what, hint, row=row, line=self.line)

    def _more(self, characters: int) -> bool:
        """Read so many more; False where there is nothing more."""
        before = len(self._buffer) - self._at
        while len(self._buffer) - self._at - before < characters and self._read():
            pass
        return len(self._buffer) - self._at > before

    def _read(self) -> bool:
        chunk = "" if self._ended else self._text.read(_CHUNK)
        if not chunk:
            self._ended = True
            return False
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return True

    def _take(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end


def _json(text: TextIO, name: str) -> Iterator[Raw]:
    """Objects, in a list or one after the other."""
    cursor = _Cursor(text, name)
    listed = cursor.next_sign() == "["
    if listed:
        cursor.skip()
    number, separated = 0, False
    while True:
        sign = cursor.next_sign()
        if listed and sign == "]":
            if separated:
                raise refused(name, "is missing after the last comma", row=number + 1, line=cursor.line)
            cursor.skip()
            if cursor.next_sign():
                raise refused(name, "has something behind the end of its list", line=cursor.line)
            return
        if not sign:
            if listed:
                raise refused(name, f"ends in the middle of its list, after row {number:,}", "Copy the file again.")
            return
        number += 1
        line = cursor.line
        if sign != "{":
            raise refused(name, "is no JSON object", row=number, line=line)
        values = cursor.value(number)
        yield Raw(number, line, values)
        separated = listed and cursor.next_sign() == ","
        if separated:
            cursor.skip()
        elif listed and cursor.next_sign() not in ("]", ""):
            raise refused(name, "has no comma behind it", row=number, line=line)


# CSV ----------------------------------------------------------------------------------------------------------------


def _csv(text: TextIO, name: str) -> Iterator[Raw]:
    """The rows of a table; its first line names the columns."""
    before = csv.field_size_limit(LONGEST)
    try:
        reader = csv.reader(_lines(text, name), strict=True)
        header: list[str] = []
        number, line = 0, 1
        try:
            for cells in reader:
                if not header:
                    header = _header(cells, name)
                elif cells:
                    number += 1
                    if len(cells) != len(header):
                        what = f"has {len(cells):,} columns where the first line names {len(header):,}"
                        raise refused(name, what, row=number, line=line)
                    yield Raw(number, line, dict(zip(header, cells, strict=True)))
                line = reader.line_num + 1
        except csv.Error:
            what = "is no CSV: a quotation mark is missing or in the wrong place, or it is too long"
            raise refused(name, what, row=number + 1, line=line) from None
    finally:
        csv.field_size_limit(before)


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if "dialogue" not in header:
        raise refused(
            name,
            "is neither JSON nor a CSV table whose first line names a column `dialogue`",
            "See docs/formats.md for what pairs are imported from.",
        )
    if len(set(header)) != len(header):
        raise refused(name, "names a column twice in its first line")
    return header


def _lines(text: TextIO, name: str) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise refused(name, f"is longer than {LONGEST // 2**20} million characters", line=number)
        if "\x00" in line:
            raise refused(name, "has a NUL character", "Save it as text.", line=number)
        yield line
