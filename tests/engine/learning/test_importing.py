"""Importing pairs: every format that is promised, the whole file or nothing, and each text once."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from engine.learning import splits
from engine.learning.importing import Imported, Options, add_case, import_pairs
from engine.learning.ledger_check import show
from engine.learning.near import THRESHOLD, jaccard, shingles_of
from storage.database import Database
from storage.errors import InputError, StorageError
from storage.learning_tables import PairRow, SplitRow
from tests.engine.learning.pairing import NOW, dialogue, one_database, rows, words

SAMSUM = [
    {"id": "13818", "dialogue": "Ana: lunch?\r\nBo: yes, at noon <file_photo>", "summary": "Ana and Bo lunch at noon."},
    {"id": "13819", "dialogue": "Cy: late\r\nDee: again, you fool", "summary": "Cy is late again."},
]
DIALOGSUM = [
    {
        "fname": "t_0",
        "dialogue": "#Person1#: Hi.\n#Person2#: Bye.",
        "summary1": "One.",
        "summary2": "Two.",
        "topic1": "x",
    },
    {"fname": "t_1", "dialogue": "#Person1#: So?\n#Person2#: No.", "summary1": "#Person2# says no.", "summary2": ""},
]
SEVERAL = [
    {"id": "d1", "dialogue": "U: it broke\nA: try now", "summaries": ["First.", "Second.", "First."], "licence": "L"}
]
ALL = [*SAMSUM, *DIALOGSUM, *SEVERAL]


def as_json(found: Sequence[dict[str, Any]]) -> str:
    return json.dumps(found, indent=1)


def as_lines(found: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def as_csv(found: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in found for name in row)))
    writer.writeheader()
    for row in found:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return out.getvalue()


WRITERS: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {"json": as_json, "jsonl": as_lines, "csv": as_csv}


def put(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def taken(database: Database, file: Path, **options: Any) -> Imported:
    return import_pairs(database, file, Options(**options), by="local:maria", now=NOW)


def stored(database: Database) -> dict[str, PairRow]:
    with database.read() as session:
        return {row.name: row for row in session.scalars(select(PairRow))}


def nothing_stored(database: Database) -> bool:
    with database.read() as session:
        return not any(session.scalars(select(table)).first() for table in (PairRow, SplitRow))


@one_database
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("format", WRITERS)
def test_every_format_brings_in_the_same_pairs(database: Database, tmp_path: Path, format: str, ending: str) -> None:
    done = taken(database, put(tmp_path / f"rows{ending}", WRITERS[format](ALL)), source="set")
    assert (done.rows, done.added, done.duplicates, done.empty) == (5, 5, 0, 0)
    found = stored(database)
    assert {name: (row.summary, row.summaries) for name, row in found.items()} == {
        "13818": ("Ana and Bo lunch at noon.", []),
        "13819": ("Cy is late again.", []),
        "t_0": ("One.", ["Two."]),
        "t_1": ("Person2 says no.", []),
        "d1": ("First.", ["Second."]),
    }
    assert found["13818"].dialogue == "Ana: lunch?\nBo: yes, at noon [image]"
    assert found["t_0"].dialogue == "Person1: Hi.\nPerson2: Bye."
    assert found["d1"].licence == "L"
    assert {(row.origin, row.state, row.platform, row.seen_draft, row.source) for row in found.values()} == {
        ("imported", "pending", "file", False, "set")
    }


def test_an_import_is_stored_with_its_sides_and_one_line_of_the_ledger(database: Database, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", as_lines(rows(40)))
    done = taken(database, file, approve=True)
    assert done.added == 40 and done.splits["train"] + done.splits["heldout"] == 40
    assert 8 <= done.splits["heldout"] <= 32
    found = stored(database)
    assert {row.state for row in found.values()} == {"approved"}
    assert {(row.decided_by, row.decided_at) for row in found.values()} == {("local:maria", NOW)}
    for row in found.values():
        assert row.split == splits.drawn(row.conversation_key, splits.FIRST_SHARE)
    (line,) = show(database).lines
    assert (line.action, line.person) == ("pairs.imported", "local:maria")
    counts = {name: line.details[name] for name in ("rows", "added", "duplicates", "empty", "approved")}
    assert counts == {"rows": 40, "added": 40, "duplicates": 0, "empty": 0, "approved": True}
    again = taken(database, file)
    assert (again.added, again.duplicates, again.splits) == (0, 40, {})
    assert {name: row.split for name, row in stored(database).items()} == {
        name: row.split for name, row in found.items()
    }


def test_rows_without_text_and_rows_said_before_are_counted_and_passed_over(database: Database, tmp_path: Path) -> None:
    first, second = rows(2)
    told = [
        first,
        second,
        {**first, "id": "again"},
        {**first, "dialogue": first["dialogue"].replace(" ", "  ") + "\n"},
        {**first, "dialogue": " \n\u200b"},
        {**first, "summary": ""},
        {**first, "dialogue": None},
        {"dialogue": first["dialogue"], "summaries": [], "summary": None},
    ]
    done = taken(database, put(tmp_path / "a.json", as_json(told)))
    assert (done.rows, done.added, done.duplicates, done.empty) == (8, 2, 2, 4)
    assert sorted(stored(database)) == ["row-0", "row-1"]


GOOD = {"id": "g", "dialogue": "Ana: hi\nBo: ho", "summary": "They greet."}
BROKEN: dict[str, tuple[str, str]] = {
    "no dialogue": (as_lines([GOOD, {"summary": "x"}]), r"row 2 \(line 2\) of a.file has no `dialogue`"),
    "no summary": (as_lines([GOOD, {"dialogue": "Ana: x"}]), r"row 2 \(line 2\) of a.file has no summary"),
    "a number for a text": (as_json([GOOD, {**GOOD, "summary": 5}]), r"row 2 \(line 7\).* `summary` that is no text"),
    "no list": (as_lines([{**GOOD, "summaries": {"a": 1}}]), r"row 1 .* `summaries` that are no list"),
    "no text in the list": (as_lines([{**GOOD, "summaries": [["x"]]}]), r"row 1 .* in `summaries` that is no text"),
    "nobody speaks": (as_lines([GOOD, {**GOOD, "dialogue": "just words"}]), r"row 2 .* no line says who speaks"),
    "an unknown origin": (as_lines([{**GOOD, "origin": "stolen"}]), r"row 1 .* `origin` that is none of imported"),
    "an unknown style": (as_lines([{**GOOD, "style": "haiku"}]), r"row 1 .* `style` that is none of standard"),
    "a source too long": (as_lines([{**GOOD, "source": "s" * 501}]), r"row 1 .* `source` that is no short text"),
    "broken JSON": (as_lines([GOOD]) + '{"dialogue": "Ana: x", "summary" "y"}\n', r"row 2 .* from line 2, column 34"),
    "cut short": (as_lines([GOOD, GOOD])[:-20], r"row 2 \(line 2\) of a.file is never finished"),
    "a list cut short": (as_json([GOOD])[:-1], r"ends in the middle of its list, after row 1"),
    "no comma": (f"[{json.dumps(GOOD)}\n{json.dumps(GOOD)}]", r"row 1 .* has no comma behind it"),
    "more behind the list": (as_json([GOOD]) + "x", "has something behind the end of its list"),
    "no object": (as_json([GOOD]).replace("]", ', "x"]'), r"row 2 .* is no JSON object"),
    "nested too deep": ('{"dialogue": ' + "[" * 100_000, r"row 1 .* nested too deep"),
    "no columns": ("Ana: hi\nBo: ho\n", "neither JSON nor a CSV table"),
    "a column too many": ("dialogue,summary\nAna: hi,x,y\n", r"row 1 \(line 2\).* 3 columns where .* 2"),
    "a quotation mark left open": ('dialogue,summary\n"Ana: hi\nBo: ho,x\n', r"row 1 \(line 2\).* quotation mark"),
    "a column named twice": ("dialogue,summary,summary\nAna: hi,x,y\n", "names a column twice"),
    "empty": ("", "is empty"),
    "white space": (" \n \n", "is empty"),
    "an empty list": ("[]", "has no rows"),
    "only a header": ("dialogue,summary\n", "has no rows"),
}  # fmt: skip


@one_database
@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_file_is_refused_whole_and_the_row_is_told(database: Database, tmp_path: Path, what: str) -> None:
    text, sentence = BROKEN[what]
    with pytest.raises(InputError, match=sentence) as refusal:
        taken(database, put(tmp_path / "a.file", text))
    assert refusal.value.message.startswith("Nothing was imported: ")
    assert refusal.value.hint
    assert nothing_stored(database) and not show(database).lines
    assert not list(database.home.root.glob(".import-*"))


def test_a_malformed_row_behind_thousands_of_good_ones_leaves_none_of_them(database: Database, tmp_path: Path) -> None:
    good = [{**GOOD, "id": str(number), "summary": f"Greeting {number}."} for number in range(1_500)]
    with pytest.raises(InputError, match=r"row 1,501 \(line 1,501\)"):
        taken(database, put(tmp_path / "a.jsonl", as_lines([*good, {"dialogue": 1, "summary": "x"}])))
    assert nothing_stored(database)


@one_database
def test_damaged_bytes_are_refused_in_a_sentence(database: Database, tmp_path: Path) -> None:
    packed = gzip.compress(as_lines(rows(300)).encode())
    altered = bytearray(packed)
    altered[-6] ^= 1
    for data, sentence in (
        (packed[: len(packed) // 2], "damaged gzip file"),
        (bytes(altered), "damaged gzip file"),
        (as_lines([GOOD]).encode() + b'{"dialogue": "\xff\xfe"}', "no UTF-8 text"),
    ):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(InputError, match=sentence):
            taken(database, tmp_path / "a")
    for path, sentence in ((tmp_path / "absent", "There is no file"), (tmp_path, "is a directory")):
        with pytest.raises(InputError, match=sentence):
            taken(database, path)
    assert nothing_stored(database)


@one_database
def test_other_encodings_of_unicode_with_their_mark_are_read(database: Database, tmp_path: Path) -> None:
    text = as_lines([{**GOOD, "summary": "Grüße, 寿司 🎉"}])
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / encoding).write_bytes(text.encode(encoding))
    assert taken(database, tmp_path / "utf-8-sig").added == 1
    assert taken(database, tmp_path / "utf-16").duplicates == 1
    assert stored(database)["g"].summary == "Grüße, 寿司 🎉"


@one_database
def test_standard_input_is_read_like_a_file(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(as_csv(SAMSUM).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    assert taken(database, Path("-")).added == 2


def test_a_wanted_side_holds_for_all_that_resembles_nothing(database: Database, tmp_path: Path) -> None:
    made = rows(12)
    assert taken(database, put(tmp_path / "a", as_lines(made[:6])), split="heldout").splits == {"heldout": 6}
    like = [{**row, "dialogue": row["dialogue"] + "\nBo: and one line more"} for row in made[:2]]
    done = taken(database, put(tmp_path / "b", as_lines([*like, *made[6:]])), split="train")
    assert (done.splits, done.moved) == ({"heldout": 2, "train": 6}, 2)


def test_what_resembles_both_sides_becomes_a_bridge(database: Database, tmp_path: Path) -> None:
    said = words(7, 90).split()
    one, other, both = (f"Ana: {' '.join(part)}" for part in (said[:60], said[30:], said))
    assert jaccard(shingles_of(one), shingles_of(other)) < THRESHOLD
    for name, text, split in (("one", one, "train"), ("other", other, "heldout")):
        row = {"id": name, "dialogue": text, "summary": name}
        assert taken(database, put(tmp_path / name, as_lines([row])), split=split).splits == {split: 1}
    row = {"id": "both", "dialogue": both, "summary": "both"}
    done = taken(database, put(tmp_path / "both", as_lines([row, {**row, "id": "later", "summary": "once more"}])))
    assert done.splits == {"bridge": 2}
    assert {name: found.split for name, found in stored(database).items()} == {
        "one": "train", "other": "heldout", "both": "bridge", "later": "bridge",
    }  # fmt: skip


@one_database
def test_near_duplicates_within_one_file_end_on_one_side(database: Database, tmp_path: Path) -> None:
    made = [{**row, "dialogue": f"{dialogue(3)}\nBo: {words(900 + at, 3)}"} for at, row in enumerate(rows(30))]
    done = taken(database, put(tmp_path / "a", as_lines(made)))
    assert done.added == 30 and len(done.splits) == 1


@one_database
def test_a_channels_import_is_that_channels_and_a_workspaces_is_public(database: Database, tmp_path: Path) -> None:
    first, second = rows(2)
    taken(database, put(tmp_path / "a", as_lines([first])), scope="slack:T1/C9")
    taken(database, put(tmp_path / "b", as_lines([second])), scope="slack:T1")
    found = stored(database)
    channel, workspace = (
        (row.platform, row.workspace, row.channel, row.public) for row in (found["row-0"], found["row-1"])
    )
    assert channel == ("slack", "T1", "C9", False)
    assert workspace == ("slack", "T1", "", True)
    with pytest.raises(InputError, match="is no scope"):
        taken(database, put(tmp_path / "c", as_lines(rows(1, start=5))), scope="everywhere")


@one_database
def test_what_the_importer_says_goes_before_what_the_rows_say(database: Database, tmp_path: Path) -> None:
    told = [{**row, "source": "theirs", "licence": "CC0"} for row in rows(2)]
    told[1]["origin"] = "case"
    taken(database, put(tmp_path / "a", as_lines(told)), source=" ours\x07\n", origin="case")
    found = stored(database).values()
    assert {(row.source, row.licence, row.origin) for row in found} == {("ours", "CC0", "case")}


@one_database
def test_a_support_case_comes_in_alone(database: Database) -> None:
    case = {"dialogue": "Ana: it fails\nAgent: cleared the cache", "by": "local:maria", "name": "T-17"}
    done = add_case(database, summary="The cache was full.", **case)
    assert done.added == 1 and stored(database)["T-17"].origin == "case"
    assert add_case(database, summary="The  cache was full.", **case).duplicates == 1
    with pytest.raises(InputError, match="needs a dialogue and a summary"):
        add_case(database, summary=" ", **case)


@one_database
def test_a_megabyte_in_one_pair_comes_in_and_an_endless_row_is_refused(database: Database, tmp_path: Path) -> None:
    long = "Ana: " + "word " * 200_000 + "\nBo: ok"
    assert taken(database, put(tmp_path / "a", as_lines([{**GOOD, "dialogue": long}]))).added == 1
    assert len(stored(database)["g"].dialogue) == len(long)
    endless = b'{"summary": "x", "dialogue": "Ana: ' + b"a" * (17 * 2**20)
    with pytest.raises(InputError, match="longer than 16 million characters"):
        taken(database, put(tmp_path / "b.gz", endless))


@one_database
def test_a_disk_that_cannot_be_written_is_one_sentence(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "a", as_lines(rows(1)))

    def full(*_: object, **__: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(StorageError, match="its disk may be full"):
        taken(database, file)
    assert nothing_stored(database)


def test_somebody_who_decides_meanwhile_is_not_overlooked(database: Database, tmp_path: Path) -> None:
    """A conversation like a row's arrives on the other side after the sides were decided and before they are stored."""
    made = rows(6)
    other = {**made[0], "id": "other", "dialogue": made[0]["dialogue"] + "\nBo: and more"}
    file, second = put(tmp_path / "a", as_lines(made)), put(tmp_path / "b", as_lines([other]))
    came: list[int] = []

    def tell(what: str, _rows: int) -> None:
        if what == "Comparing" and not came:
            came.append(taken(database, second, split="heldout").added)

    done = import_pairs(database, file, Options(split="train"), by="local:maria", now=NOW, tell=tell)
    assert came == [1] and done.splits == {"train": 5, "heldout": 1}
    found = stored(database)
    assert found["row-0"].split == found["other"].split == "heldout"
