"""Approved pairs for tiny models, in a database: what the tests of whole fine-tunes train and measure on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.learning.importing import Options, import_pairs
from storage.database import Database
from tests.engine.training.support import pairs

#: A fine-tune of a tiny model in a second or two.
QUICK_SETTINGS = {
    "ENGINE_DEVICE": "cpu",
    "ENGINE_THREADS": "1",
    "ENGINE_MAX_NEW_TOKENS": "16",
    "TRAIN_THREADS": "1",
    "TRAIN_RANK": "4",
    "TRAIN_BATCH": "2",
    "TRAIN_EPOCHS": "2",
}


def written(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """A file of rows to import."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(count: int, *, start: int = 0) -> list[dict[str, object]]:
    """Invented rows, short enough for a tiny model."""
    made = pairs(start + count)[start:]
    return [
        {"id": f"r{start + at}", "dialogue": pair.dialogue, "summary": pair.summary} for at, pair in enumerate(made)
    ]


def take(database: Database, folder: Path, *, train: int, heldout: int = 0) -> None:
    """Import and approve so many pairs to train on and to measure on."""
    for side, found in (("train", rows(train)), ("heldout", rows(heldout, start=100))):
        if found:
            options = Options(split=side, approve=True)  # type: ignore[arg-type]
            import_pairs(database, written(folder / f"{side}.jsonl", found), options, by="local:ana")
