"""From a file's row to a pair, and back: the columns of SAMSum, of DialogSum and of our own export.

``dialogue`` and a summary are needed: ``summary``, ``summaries`` (a list, the first one is trained on and the others
are further references) or DialogSum's ``summary1``, ``summary2``. ``id`` or ``fname``, ``origin``, ``source``,
``licence``, ``style``, ``focus`` and ``output_language`` are taken where they stand; other columns are passed over.
What cannot be seen is taken out; SAMSum's and DialogSum's placeholders become what prompts have in their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.formats.rows import readable
from engine.formats.text import parse_turns
from engine.formats.values import identifier
from engine.learning.dialogues import turns_of_ours
from engine.learning.row_files import Raw, refused
from engine.text.safety import visible

ORIGINS = ("imported", "edited", "blind", "case")
STYLES = ("standard", "brief", "detailed", "actions")
#: Columns of an export, in order.
COLUMNS = (
    "id", "dialogue", "summary", "summaries", "origin", "source", "licence", "style", "focus", "output_language",
)  # fmt: skip
#: Longest text of a column other than dialogue and summaries, in characters.
_LONGEST_WORDS = 500
_NUMBERED = re.compile(r"summary(\d{1,2})")


@dataclass(frozen=True, slots=True)
class PairText:
    """What a row says of a pair; the fields are those of :class:`storage.learning_tables.PairRow`.

    ``summaries`` are further references, without the one that is trained on.
    """

    name: str
    dialogue: str
    summary: str
    summaries: tuple[str, ...] = ()
    origin: str = "imported"
    source: str = ""
    licence: str = ""
    style: str = "standard"
    focus: str = ""
    output_language: str = ""


def pair_of(raw: Raw, *, file: str) -> PairText | None:
    """The pair of a row, or None where its dialogue or its summaries are empty.

    Args:
        file: its name, for errors.

    Raises:
        InputError: the row is malformed; it and what is wrong with it are told.
    """
    values = raw.values
    dialogue = _text(raw, "dialogue", file, needed=True)
    references = _references(raw, file)
    if not dialogue or not references:
        return None
    origin = _one_of(raw, "origin", ORIGINS, file)
    ours = origin in ("edited", "blind") and turns_of_ours(dialogue)
    if not ours and not parse_turns(dialogue, each_line_a_turn=True)[1]:
        raise _malformed(
            raw, file, "has a dialogue in which no line says who speaks", "Write it as `Name: text` lines."
        )
    return PairText(
        name=identifier(values.get("id")) or identifier(values.get("fname")),
        dialogue=dialogue,
        summary=references[0],
        summaries=tuple(references[1:]),
        origin=origin,
        source=_words(raw, "source", file),
        licence=_words(raw, "licence", file),
        style=_one_of(raw, "style", STYLES, file),
        focus=_words(raw, "focus", file),
        output_language=_words(raw, "output_language", file),
    )


def row_of(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a pair, with the columns of :data:`COLUMNS`; ``summaries`` has all its references.

    Texts are as an import keeps them, whatever way they came, so that what is exported comes in unchanged.
    """
    texts = [seen(text) for text in (pair["summary"], *pair["summaries"])]
    words = ("source", "licence", "focus", "output_language")
    return {
        "id": identifier(pair["name"]) or pair["id"],
        "dialogue": seen(pair["dialogue"]),
        "summary": texts[0],
        "summaries": _unlike(texts),
        "origin": pair["origin"],
        "style": pair["style"],
        **{name: _one_line(pair[name])[:_LONGEST_WORDS].strip() for name in words},
    }


def _references(raw: Raw, file: str) -> list[str]:
    """All the human summaries of a row, the one to train on first."""
    values = raw.values
    numbered = sorted((int(found[1]), name) for name in values if (found := _NUMBERED.fullmatch(name)))
    names = [name for name in ("summary", *(name for _, name in numbered)) if values.get(name) is not None]
    listed = _list(raw, file)
    if not names and listed is None:
        raise _malformed(raw, file, "has no summary", "A row needs `summary`, `summaries` or `summary1`.")
    texts = [_text(raw, name, file) for name in names]
    for text in listed or ():
        if not isinstance(text, str):
            raise _malformed(raw, file, "has something in `summaries` that is no text")
        texts.append(seen(text))
    return _unlike(texts)


def _unlike(texts: Iterable[str]) -> list[str]:
    """The texts in their order, each once and none empty; how they are broken into lines makes none another."""
    first: dict[str, str] = {}
    for text in texts:
        if text:
            first.setdefault(" ".join(text.split()), text)
    return list(first.values())


def _list(raw: Raw, file: str) -> list[Any] | None:
    found = raw.values.get("summaries")
    if isinstance(found, str):
        if not found.strip():
            return None
        # A CSV table has the list as JSON.
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            found = 0
    if found is None or isinstance(found, list):
        return found
    raise _malformed(raw, file, "has `summaries` that are no list")


def _text(raw: Raw, name: str, file: str, *, needed: bool = False) -> str:
    value = raw.values.get(name)
    if value is None and (needed and name not in raw.values):
        raise _malformed(raw, file, f"has no `{name}`")
    if value is not None and not isinstance(value, str):
        raise _malformed(raw, file, f"has a `{name}` that is no text")
    return seen(value or "")


def _words(raw: Raw, name: str, file: str) -> str:
    value = raw.values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST_WORDS:
        raise _malformed(raw, file, f"has a `{name}` that is no short text")
    return _one_line(value)


def _one_line(text: str) -> str:
    return " ".join(visible(text, keep_newlines=False).split())


def _one_of(raw: Raw, name: str, allowed: tuple[str, ...], file: str) -> str:
    value = _words(raw, name, file) or allowed[0]
    if value not in allowed:
        raise _malformed(raw, file, f"has a `{name}` that is none of {', '.join(allowed)}")
    return value


def _malformed(raw: Raw, file: str, what: str, hint: str = "") -> Exception:
    return refused(file, what, hint, row=raw.number, line=raw.line)


def seen(text: str) -> str:
    """A text as it is kept: readable, without what cannot be seen, no space around it; twice is as once."""
    while True:
        # By lines, because those in plain ASCII need no look at every sign.
        shown = "\n".join(map(visible, text.replace("\r\n", "\n").split("\n")))
        after = readable(shown).strip()
        if after == text:
            return text
        text = after
