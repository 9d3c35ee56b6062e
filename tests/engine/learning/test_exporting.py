"""Exports come in again unchanged: export, import into an empty database, export, and the bytes are the same."""

from __future__ import annotations

import gzip
import io
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import delete, select

from engine.learning.exporting import Format, export_pairs, written
from engine.learning.importing import Options, import_pairs
from engine.learning.ledger_check import show
from engine.learning.pairs import approve, edit_pair
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import NearKeyRow, PairRow, SplitRow
from storage.pair_filters import PairFilter
from storage.settings import StorageSettings
from tests.engine.learning.pairing import (
    NOW,
    SETTINGS,
    conversation,
    corrected,
    messages,
    one_database,
    rows,
    summarised,
)

EVERYTHING = PairFilter()
FORMATS: tuple[Format, ...] = ("jsonl", "json", "csv")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Database]:
    """Another database, empty."""
    opened = Database.open(StorageSettings.load(redraft_home=tmp_path / "elsewhere", database_url=None))
    yield opened
    opened.close()


def exported(database: Database, format: Format = "jsonl", wanted: PairFilter = EVERYTHING) -> str:
    out = io.StringIO(newline="")
    export_pairs(database, out, wanted, format=format, by="local:maria", now=NOW)
    return out.getvalue()


def bring(database: Database, directory: Path, told: str, **options: Any) -> None:
    file = directory / "rows"
    file.write_bytes(told.encode())
    import_pairs(database, file, Options(**options), by="local:maria", now=NOW)


@contextmanager
def emptied(*databases: Database) -> Iterator[None]:
    try:
        yield
    finally:
        for one in databases:
            with one.write() as session:
                for table in (PairRow, SplitRow, NearKeyRow):
                    session.execute(delete(table))


def facts(database: Database) -> dict[str, tuple[Any, ...]]:
    with database.read() as session:
        return {
            row.content_hash: (
                row.dialogue, row.summary, row.summaries, row.origin, row.source, row.licence, row.style, row.focus,
                row.output_language, row.seen_draft,
            )
            for row in session.scalars(select(PairRow))
        }  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_exported_imported_and_exported_again_is_the_same_bytes(
    database: Database, elsewhere: Database, tmp_path: Path, format: Format
) -> None:
    made = [
        {**rows(1)[0], "summaries": ["One.", 'Two, with "quotes"\nand a line.'], "source": "set, a", "licence": "CC0"},
        {**rows(1, start=1)[0], "origin": "case", "style": "brief", "focus": "billing", "output_language": "de"},
        {"dialogue": 'Ana: no id\r\nBo: 寿司 🎉 \u2028 ,;\t"', "summary": "'=1+1"},
    ]
    bring(database, tmp_path, json.dumps(made))
    corrected(database)
    corrected(database, blind=True)
    first = exported(database, format)
    bring(elsewhere, tmp_path, first)
    assert exported(elsewhere, format) == first
    assert facts(elsewhere) == facts(database)
    assert {row[3] for row in facts(elsewhere).values()} == {"imported", "case", "edited", "blind"}


#: What trips formats: quotation marks, separators, line breaks, what cannot be seen, more than is read at once.
_TEXT = st.one_of(
    st.text(st.characters(), max_size=60),
    st.text(st.sampled_from('",;\'\\\n\r\t |{}[]:=-+@\u2028\u0085\x1c\u200b\ufeff\u0301é😀<#>"'), max_size=60),
    st.sampled_from(["#Person1#", "<file_photo>", "x" * 66_000, '""', "null", "[]", "#Person<file_gif>1#"]),
)
_LINES = st.lists(_TEXT, min_size=1, max_size=4)


@one_database
@examples(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    made=st.lists(
        st.fixed_dictionaries(
            {"dialogue": _LINES.map(lambda said: "Ana: so\n" + "\n".join(f"Bo: {text}" for text in said))},
            optional={
                "summary": _TEXT,
                "summaries": st.lists(_TEXT, max_size=3),
                "summary1": _TEXT,
                "id": _TEXT,
                "source": _TEXT.map(lambda text: text[:400]),
                "licence": _TEXT.map(lambda text: text[:400]),
                "focus": _TEXT.map(lambda text: text[:400]),
            },
        ).map(lambda row: row if {"summary", "summaries", "summary1"} & set(row) else {**row, "summary": "None."}),
        min_size=1,
        max_size=4,
    ),
    format=st.sampled_from(FORMATS),
)
def test_whatever_the_rows_say_comes_back_as_the_same_bytes(
    database: Database, elsewhere: Database, tmp_path: Path, made: list[dict[str, Any]], format: Format
) -> None:
    with emptied(database, elsewhere):
        bring(database, tmp_path, json.dumps(made))
        first = exported(database, format)
        if not facts(database):
            return
        bring(elsewhere, tmp_path, first)
        assert exported(elsewhere, format) == first
        assert facts(elsewhere) == facts(database)


@one_database
@examples(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(st.one_of(_TEXT, st.sampled_from(["Wow!", "10", "https", "Ana"])), min_size=1, max_size=3),
    said=_TEXT.map(lambda text: f"so {text}"),
    summary=_TEXT.map(lambda text: f"They said {text}"[:20_000]),
    focus=_TEXT.map(lambda text: text[:400]),
    blind=st.booleans(),
)
def test_what_people_wrote_in_a_chat_comes_back_as_the_same_bytes(
    database: Database,
    elsewhere: Database,
    tmp_path: Path,
    names: list[str],
    said: str,
    summary: str,
    focus: str,
    blind: bool,
) -> None:
    with emptied(database, elsewhere):
        thread = [
            replace(message, author=name, text=f"{said} {message.text}")
            for name, message in zip(names, messages(1, 3), strict=False)
        ]
        summary_id = summarised(database, conversation("odd", 1, messages=tuple(thread)), focus=focus)
        corrected(database, text=summary, summary_id=summary_id, blind=blind)
        first = exported(database)
        bring(elsewhere, tmp_path, first)
        assert exported(elsewhere) == first


@one_database
def test_an_edit_that_says_what_another_reference_says_comes_back_the_same(
    database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    bring(database, tmp_path, json.dumps([{**rows(1)[0], "summaries": ["Two.", "Three."]}]))
    with database.read() as session:
        pair_id = session.scalars(select(PairRow.id)).one()  # type: ignore[call-overload]
    edit_pair(database, SETTINGS, pair_id=pair_id, text="Three.", by="local:maria", now=NOW)
    first = exported(database)
    bring(elsewhere, tmp_path, first)
    assert exported(elsewhere) == first


def test_the_order_depends_on_what_is_in_the_pairs_and_not_on_how_they_came(
    database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    made = [{**row, "source": "ab"[at % 2]} for at, row in enumerate(rows(8))]
    bring(database, tmp_path, json.dumps(made))
    for row in reversed(made):
        bring(elsewhere, tmp_path, json.dumps([row]))
    assert exported(elsewhere) == exported(database)
    assert [json.loads(line)["id"] for line in exported(database).splitlines()] == [
        *(f"row-{at}" for at in range(0, 8, 2)), *(f"row-{at}" for at in range(1, 8, 2)),
    ]  # fmt: skip


@one_database
def test_filters_and_the_ledger_say_what_left(database: Database, tmp_path: Path) -> None:
    bring(database, tmp_path, json.dumps(rows(3)), source="set")
    open_, closed = conversation(), conversation(public=False)
    first, second = corrected(database, open_).pair, corrected(database, closed, author_id="slack:U9").pair
    assert first and second
    approve(database, pair_ids=[second.id], by="local:maria")
    assert len(exported(database, wanted=PairFilter(state="approved")).splitlines()) == 1
    assert len(exported(database, wanted=PairFilter(source="set")).splitlines()) == 3
    assert exported(database, wanted=PairFilter(state="rejected")) == ""
    assert exported(database, "json", PairFilter(state="rejected")) == "[\n]\n"
    assert exported(database, wanted=PairFilter(author_id="slack:U9")).count("\n") == 1
    lines = [line.details for line in show(database).lines if line.action == "pairs.exported"]
    by_author = next(details for details in lines if "author_id" in details["filter"])
    assert (by_author["count"], by_author["private"]) == (1, 1)
    assert "U9" not in json.dumps(lines), "whose they were is a pseudonym"


@one_database
def test_a_file_is_written_whole_for_its_owner_alone_and_never_over_another(database: Database, tmp_path: Path) -> None:
    bring(database, tmp_path, json.dumps(rows(2)))
    told = exported(database)
    made = []
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        with written(tmp_path / name) as out:
            export_pairs(database, out, EVERYTHING, format="jsonl", by="local:maria")
        made.append((tmp_path / name).read_bytes())
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert made[0] == made[1] and gzip.decompress(made[0]).decode() == told
    with pytest.raises(StorageError, match="There is a file"), written(tmp_path / "a.jsonl.gz"):
        pass
    with pytest.raises(StorageError, match="cannot be written"), written(tmp_path / "no" / "where.jsonl"):
        pass
    with pytest.raises(RuntimeError), written(tmp_path / "c.jsonl") as out:
        out.write("half of it")
        raise RuntimeError
    assert sorted(one.name for one in tmp_path.glob("*.json*")) == ["a.jsonl.gz", "b.jsonl.gz"]
    assert not list(tmp_path.glob(".*.tmp"))
