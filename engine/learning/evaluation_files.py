"""``runs/<id>/evaluation.json``: the texts of an evaluation, for its report; figures alone are in the database.

People's words lie here, so the files are of mode 0600, appear by rename and can be rid of conversations. Those of
private conversations are not written down at all: to read such is recorded in the ledger, which no file can do. It
knows neither rows nor the engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.learning.heldout import Held
from engine.scoring.measuring import SYSTEMS, System
from storage.errors import StorageError
from storage.home import Home

NAME = "evaluation.json"
#: Files of format 1 may hold private conversations; they are not read.
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Texts:
    """What an evaluation was about.

    Attributes:
        evaluation_id: of the row with its figures.
        held: the conversations with their references.
        summaries: by system, one a conversation.
        private: how many conversations were measured besides, whose texts are not kept because they are private.
    """

    evaluation_id: str
    held: Sequence[Held] = ()
    summaries: Mapping[System, Sequence[str]] = field(default_factory=dict)
    private: int = 0

    def without(self, keys: Collection[str], pairs: Collection[str]) -> Texts:
        """The same without some conversations, and without those that some pairs are references of."""
        return self._with(one.key not in keys and not any(pair in pairs for pair in one.pairs) for one in self.held)

    def public(self) -> Texts:
        """The same without private conversations, which are counted."""
        private = sum(one.private for one in self.held)
        return replace(self._with(not one.private for one in self.held), private=self.private + private)

    def _with(self, wanted: Iterable[bool]) -> Texts:
        kept = [at for at, want in enumerate(wanted) if want]
        return replace(
            self,
            held=[self.held[at] for at in kept],
            summaries={system: [texts[at] for at in kept] for system, texts in self.summaries.items()},
        )


def path_of(home: Home, run_id: str) -> Path:
    """Where the texts of a run's newest evaluation are."""
    return home.runs / run_id / NAME


def write_texts(home: Home, run_id: str, texts: Texts) -> Path:
    """Put the texts in place, whole or not at all, without private conversations.

    Raises:
        StorageError: they cannot be written.
    """
    texts = texts.public()
    document = {
        "format": _FORMAT,
        "evaluation_id": texts.evaluation_id,
        "private": texts.private,
        "items": [asdict(one) for one in texts.held],
        "summaries": {system: list(written) for system, written in texts.summaries.items()},
    }
    path = path_of(home, run_id)
    write_private(path, json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    return path


def read_texts(home: Home, run_id: str) -> Texts | None:
    """The texts of a run's newest evaluation; None where there are none that can be read."""
    return _read(path_of(home, run_id))


def runs_with_texts(home: Home) -> Iterator[str]:
    """The runs that have any, whether they can be read or not."""
    for path in sorted(home.runs.glob(f"*/{NAME}")):
        yield path.parent.name


def sweep(home: Home) -> None:
    """Delete what a writer that died has left unfinished."""
    for path in home.runs.glob("*/.*.tmp"):
        with suppress(FileNotFoundError):
            path.unlink()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read, whole or not at all; its directory is made.

    Raises:
        StorageError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise StorageError(
            f"{path.name} of a run cannot be written: {(error.strerror or 'unknown').lower()}.",
            f"See to {path.parent} and try again.",
        ) from error


def _read(path: Path) -> Texts | None:
    try:
        found = json.loads(path.read_bytes())
        if found["format"] != _FORMAT:
            return None
        texts = Texts(
            str(found["evaluation_id"]),
            [_held(one) for one in found["items"]],
            {
                system: [str(text) for text in found["summaries"][system]]
                for system in SYSTEMS
                if system in found["summaries"]
            },
            int(found["private"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if any(len(written) != len(texts.held) for written in texts.summaries.values()):
        return None
    return texts


def _held(found: Mapping[str, Any]) -> Held:
    return Held(
        key=str(found["key"]),
        dialogue=str(found["dialogue"]),
        style=str(found["style"]),
        focus=str(found["focus"]),
        output_language=str(found["output_language"]),
        blind=tuple(map(str, found["blind"])),
        edited=tuple(map(str, found["edited"])),
        pairs=tuple(map(str, found["pairs"])),
    )
