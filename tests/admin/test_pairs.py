"""`redraft pairs` and `redraft training`, as a person and a script use them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.learning.ledger_check import show
from engine.learning.pairs import approve, edit_pair
from storage.database import Database
from storage.settings import StorageSettings
from tests.admin.cli import redraft
from tests.engine.learning.pairing import BETTER, SETTINGS, conversation, corrected, keep, pair, rows


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    yield opened
    opened.close()


def document(*arguments: str | Path, stdin: bytes = b"") -> Any:
    """What a command prints with --json: one document and nothing else."""
    done = redraft(*arguments, "--json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def lines(found: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def test_from_a_file_over_an_approval_to_the_same_file(database: Database, tmp_path: Path) -> None:
    given = gzip.compress(lines([*rows(3), rows(1)[0], {"dialogue": "Ana: hi", "summary": ""}]))
    said = redraft("pairs", "import", "-", "--source", "desk", "--licence", "CC0", stdin=given)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("Imported 3 of 5 rows: ")
    assert said.stdout.endswith(
        "1 are there already.\n1 have no dialogue or no summary.\n"
        "They wait for approval: `redraft pairs approve --all`, or one by one.\n"
    )
    listed = document("pairs", "list", "--state", "pending", "--limit", "2")
    assert [row["source"] for row in listed["pairs"]] == ["desk", "desk"]
    rest = document("pairs", "list", "--after", listed["next_after"])
    assert len(rest["pairs"]) == 1 and rest["next_after"] is None
    names = {row["id"]: row["name"] for row in (*listed["pairs"], *rest["pairs"])}
    assert sorted(names.values()) == ["row-0", "row-1", "row-2"]
    first, second, third = names
    assert redraft("pairs", "approve", first[:12], second).stdout == "Approved 2 pairs.\n"
    assert document("pairs", "reject", third, "--reason", "about nobody") == {"rejected": 1}
    told = redraft("pairs", "list", "--state", "rejected").stdout
    assert told.startswith(third[:12]) and told.count("\n") == 1
    out = tmp_path / "out.csv.gz"
    assert redraft("pairs", "export", "--format", "csv", "-o", out).stderr == f"Exported 2 pairs to {out}.\n"
    exported = redraft("pairs", "export", "--format", "csv").stdout
    assert gzip.decompress(out.read_bytes()).decode().replace("\r\n", "\n") == exported.replace("\r\n", "\n")
    assert exported.count('"desk"') == 0 and exported.count(",desk,CC0,") == 2
    imported = document("pairs", "import", out, "--scope", "default", "--approve", "--split", "heldout")
    assert imported == {"rows": 2, "added": 0, "duplicates": 2, "empty": 0, "splits": {}, "moved": 0}
    stats = document("pairs", "stats")
    (scope,) = stats["scopes"]
    assert (scope["scope"], scope["pairs"], scope["states"]) == ("default", 3, {"approved": 2, "rejected": 1})
    assert scope["lacking"] + scope["blind"] == 60 and scope["sentence"] in redraft("pairs", "stats").stdout
    actions = {line.action for line in show(database).lines}
    assert actions == {"pairs.imported", "pair.approved", "pair.rejected", "pairs.exported"}


def test_a_private_pair_is_listed_without_its_text_and_its_opening_recorded(database: Database) -> None:
    closed = corrected(database, conversation(public=False)).pair
    assert closed is not None
    listed = redraft("pairs", "list").stdout
    assert "slack:T1/C1 (private)" in listed and "Billing" not in listed
    shown = document("pairs", "show", closed.id[:8])
    assert (shown["summary"], shown["author"], shown["public"]) == (BETTER, "Noor", False)
    assert [line.action for line in show(database).lines] == ["conversation.opened"]
    approve(database, pair_ids=[closed.id], by="slack:U2")
    stale = redraft("pairs", "reject", closed.id, "--reason", "x", "--seen", shown["seen"])
    assert (stale.returncode, stale.stdout) == (1, "")
    assert stale.stderr == (
        f"redraft: The pair {closed.id[:12]} has changed since you saw it: it is now approved by slack:U2.\n"
        "         Look at it again.\n"
    )
    assert document("pairs", "reopen", closed.id) == {"id": closed.id, "state": "pending"}


def test_what_was_replaced_leaves_only_where_every_state_is_asked_for(database: Database) -> None:
    made = corrected(database).pair
    assert made is not None
    approve(database, pair_ids=[made.id], by="slack:U2")
    second = edit_pair(database, SETTINGS, pair_id=made.id, text=f"{BETTER} Tariq opened a ticket.", by="slack:U2")
    approve(database, pair_ids=[second.id], by="slack:U3")
    assert [row["summary"] for row in document("pairs", "export")] == [second.summary]
    assert len(redraft("pairs", "export", "--every-state").stdout.splitlines()) == 2


def test_what_is_wrong_is_one_sentence_and_wrong_usage_is_two(database: Database, tmp_path: Path) -> None:
    keep(database, pair(id="a" * 32, state="pending"))
    bad = tmp_path / "ba\x1b[31md.jsonl"
    bad.write_bytes(lines([*rows(1), {"dialogue": "words and nobody", "summary": "x"}]))
    for arguments, code, told in (
        (("pairs", "import", bad), 1, "redraft: Nothing was imported: row 2 (line 2) of "),
        (("pairs", "import", tmp_path / "none"), 1, "redraft: There is no file"),
        (("pairs", "show", "bbbb"), 1, "redraft: There is no pair 'bbbb'.\n"),
        (("pairs", "list", "--scope", "here"), 1, "redraft: 'here' is no scope.\n"),
        (("pairs", "reject", "a" * 32, "--reason", " "), 1, "redraft: A rejection needs a reason.\n"),
        (("pairs", "approve"), 2, "Name pairs by their ids, or add --all; not both."),
        (("pairs", "approve", "aaaa", "--source", "x"), 2, "Filters go with --all."),
    ):
        done = redraft(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), arguments
        assert told in done.stderr, arguments
        assert "Traceback" not in done.stderr and "\x1b" not in done.stderr and "Exception" not in done.stderr
        if code == 1:
            assert len(done.stderr.splitlines()) == 2, "a sentence, and what to do"
    assert not show(database).lines


def test_training_is_authorised_shown_and_revoked(database: Database) -> None:
    never = "Training on the messages of chat platforms was never authorised.\n"
    assert redraft("training", "show").stdout == never
    said = redraft("training", "authorize", "slack", "--by", "Ana Ruiz", "--basis", "consent of all, 3 May")
    assert said.returncode == 0
    assert "authorised by Ana Ruiz; it stands in the ledger.\n" in said.stdout and "docs/privacy.md" in said.stdout
    again = redraft("training", "authorize", "slack", "--by", "Ana Ruiz", "--basis", "consent")
    assert (again.returncode, "is authorised already" in again.stderr) == (1, True)
    (row,) = document("training", "show")["authorisations"]
    assert (row["platform"], row["authorised_by"], row["revoked_at"]) == ("slack", "Ana Ruiz", None)
    assert document("training", "revoke", "slack")["revoked_at"]
    assert "revoked" in redraft("training", "show").stdout
    assert redraft("training", "authorize", "teams", "--by", "x", "--basis", "y").returncode == 2
    assert [line.action for line in show(database).lines].count("training.revoked") == 1
