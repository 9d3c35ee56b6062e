"""A data directory with somebody's words wherever words can be, and those of others beside them; all invented."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.conversation import Conversation, Message
from engine.learning.dialogues import content_hash, dialogue_of
from engine.learning.evaluation_files import Texts, write_texts
from engine.learning.heldout import Held
from engine.learning.ledger import recorded
from engine.learning.report import report_path
from engine.records import store_conversation, store_summary
from engine.requests import Coverage, SummaryRequest, SummaryResult, SummarySentence
from storage.base import Base
from storage.database import Database
from storage.home import Home
from storage.learning_tables import (
    AuthorisationRow,
    CorrectionRow,
    NearKeyRow,
    PairRow,
    PromotionRequestRow,
    RunPairRow,
    SplitRow,
)
from storage.tables import FeedbackRow
from tests.engine.learning import making

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ACCOUNT = "U0IMKE77"
IMKE = f"slack:{ACCOUNT}"
#: Imke's words, in whatever was made of them too.
SENTENCE = "the heron ate my umbrella again"
#: Words that stay.
OTHERS = "the pump wants a new gasket"
#: What lay in rows of its own and was not Imke's, by conversation.
KEPT_CONVERSATIONS = {"shared", "others", "elsewhere"}


def conversation(identity: str, *messages: Message, **given: Any) -> Conversation:
    values = {"platform": "slack", "title": "#garden", "workspace": "T1", "channel": "C1", "public": True, **given}
    return Conversation(id=identity, messages=messages, **values)


def imke(number: int = 1, words: str = SENTENCE) -> Message:
    return Message(f"{number}.1", "Imke Onder", f"{words} {number}", NOW, ACCOUNT)


def tariq(number: int = 2) -> Message:
    return Message(f"{number}.2", "Tariq", f"{OTHERS} {number}", NOW, "U0TARIQ1")


def summarise(database: Database, told: Conversation, words: str, *, asked_by: str = "", focus: str = "") -> str:
    result = SummaryResult(
        summary=f"Somebody says {words}.",
        sentences=(SummarySentence(f"Somebody says {words}.", (told.messages[0].id,)),),
        coverage=Coverage(len(told.messages), 0, 2, "", "", 1),
        model="starter",
        adapter="base",
        prompt_version="1",
        style="brief",
        focus=focus,
        input_tokens=9,
        output_tokens=9,
        seconds=0.5,
    )
    request = SummaryRequest(told, style="brief", focus=focus)
    return store_summary(database, request, result, asked_by=asked_by, now=NOW)


def pair(identity: str, key: str, words: str, told: Conversation | None = None, **given: Any) -> PairRow:
    dialogue = dialogue_of(told.messages) if told else f"Ana: {words}"
    values: dict[str, Any] = {
        "origin": "blind",
        "platform": told.platform if told else "file",
        "workspace": told.workspace if told else "",
        "channel": told.channel if told else "",
        "state": "approved",
        "split": "train",
        "author_id": "slack:U0TARIQ1",
        "created_at": NOW,
        **given,
    }
    summary = f"They say {words} ({identity})."
    return PairRow(
        id=identity,
        content_hash=content_hash(dialogue, summary),
        conversation_key=key,
        conversation_id=told.id if told else None,
        dialogue=dialogue,
        summary=summary,
        **values,
    )


def correction(identity: str, summary: str, author: str, words: str, **given: Any) -> CorrectionRow:
    return CorrectionRow(
        id=identity,
        summary_id=summary,
        author_id=author,
        author="Somebody",
        created_at=NOW,
        kind="edited",
        text=f"No: {words}.",
        distance=0.5,
        diff=[["insert", "", words]],
        **given,
    )


def plant(database: Database, *, much: int = 0) -> None:
    """Imke's words everywhere; ``much`` further conversations of hers, so that pages fill and split."""
    shared = conversation("shared", tariq(), imke(), thread="2.2")
    others = conversation("others", tariq(3), tariq(4))
    alone = conversation("alone", imke(5), title="only me", direct=True, channel="D1", public=False)
    elsewhere = conversation("elsewhere", tariq(6), platform="file", workspace="", channel="", title="chat.txt")
    with database.write() as session:
        for number in range(much):
            more = conversation(f"more{number}", *(imke(100 * number + at, SENTENCE * 3) for at in range(8)), tariq())
            store_conversation(session, more, now=NOW)
    summary = summarise(database, shared, SENTENCE, asked_by="slack:U0TARIQ1")
    asked = summarise(database, others, OTHERS, asked_by=IMKE, focus=SENTENCE)
    summarise(database, alone, SENTENCE, asked_by=ACCOUNT)
    summarise(database, elsewhere, OTHERS, asked_by="local:maria")
    # Read once with a message of Imke's that she deleted; what was made of it then is still there.
    deleted = conversation("deleted", imke(7), tariq(8))
    gone = summarise(database, deleted, f"{SENTENCE} by Imke Onder")
    lost = pair("lost", "deleted", OTHERS, deleted)
    with database.write() as session:
        store_conversation(session, replace(deleted, messages=deleted.messages[1:]), now=NOW)
        session.add_all(
            [
                lost,
                pair("dialogue", "shared", OTHERS, shared, decided_by="local:maria"),
                pair("hers", "others", SENTENCE, others, author_id=IMKE, author="Imke Onder"),
                pair("built", "others", SENTENCE, others, supersedes="hers"),
                pair("edited", "imported", SENTENCE, editor_id=IMKE),
                pair("kept", "others", OTHERS, others, decided_by=IMKE, superseded_by="hers"),
                pair("imported", "import-1", OTHERS, split="heldout"),
            ]
        )
        session.add_all(
            [
                correction("c-shared", summary, "slack:U0TARIQ1", SENTENCE, pair_id="dialogue"),
                correction("c-hers", asked, IMKE, SENTENCE, pair_id="hers"),
                correction("c-built", asked, "slack:U0TARIQ1", SENTENCE, builds_on="c-hers", pair_id="built"),
                correction("c-kept", asked, "slack:U0TARIQ1", OTHERS, pair_id="kept"),
                FeedbackRow(summary_id=asked, author_id=IMKE, thumb="down", reason=SENTENCE, given_at=NOW),
                FeedbackRow(summary_id=asked, author_id="U0TARIQ1", thumb="up", reason=OTHERS, given_at=NOW),
                FeedbackRow(summary_id=gone, author_id="U0TARIQ1", thumb="up", given_at=NOW),
                AuthorisationRow(platform="slack", authorised_at=NOW, authorised_by=IMKE, basis="the works council"),
                PromotionRequestRow(adapter_id="a", requested_at=NOW, requested_by=IMKE, against="base"),
            ]
        )
        for key in ("shared", "alone", "others", "imported"):
            session.add(SplitRow(conversation_key=key, side="train", scope="default", assigned_at=NOW))
            session.add(NearKeyRow(band=f"1:{key}", conversation_key=key))
    with recorded(database) as (_session, ledger):
        ledger.append("pairs.approved", by=IMKE, subject="kept", now=NOW)
    _plant_files(database.home)


def _plant_files(home: Home) -> None:
    held = [
        Held(key=key, dialogue=f"Ana: {words}", style="brief", focus="", output_language="", blind=(words,), edited=(),
             pairs=(name,))
        for key, words, name in (("shared", SENTENCE, "dialogue"), ("import-1", OTHERS, "imported"))
    ]  # fmt: skip
    written = {system: [SENTENCE, OTHERS] for system in ("base", "candidate")}
    write_texts(home, "run-1", Texts("e1", held, written))
    report_path(home, "run-1").write_text(f"<p>{SENTENCE}</p>")
    checkpoint = home.runs / "run-1" / "checkpoints" / "step-5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "examples.json").write_text(SENTENCE)
    (home.runs / "run-1" / "log.txt").write_text(SENTENCE)
    lines = [f'{{"event": "read", "user": "{IMKE}", "text": "{SENTENCE}"}}', f'{{"event": "{OTHERS}"}}',
             f'{{"author": "{ACCOUNT}", "text": "{SENTENCE}"}}']  # fmt: skip
    for name in ("bot.jsonl", "bot.jsonl.1", "errors.log"):
        (home.logs / name).write_text("\n".join(lines) + "\n")
    home.copies.mkdir(exist_ok=True)
    (home.copies / "redraft-20260101T000000000000-before-0002.db").write_text(SENTENCE)
    (home.root / ".restore-killed").mkdir()
    (home.root / ".restore-killed" / "redraft.db").write_text(SENTENCE)


def learn(
    database: Database, *, seed: int = 1, pairs: tuple[str, ...] = ("dialogue", "kept"), scope: str = "default"
) -> str:
    """A candidate with its files, whose run was made of these pairs."""
    run_id = f"run-{seed}"
    began = NOW - timedelta(days=1)
    making.run(database, run_id, scope=scope, requested_by=IMKE, train_pairs=len(pairs))
    with database.write() as session:
        session.add_all(RunPairRow(run_id=run_id, pair_id=one, role="train") for one in pairs)
    return making.candidate(database, seed=seed, now=began, scope=scope, run_id=run_id).id


def files_with(root: Path, *words: str) -> list[str]:
    """Files under a directory in whose bytes or name one of the words is."""
    wanted = [word.encode() for word in words]
    found = []
    for parent, _, names in os.walk(root):
        for name in names:
            path = Path(parent) / name
            content = path.read_bytes()
            if any(word in content or word in os.fsencode(path) for word in wanted):
                found.append(str(path.relative_to(root)))
    return sorted(found)


def columns_with(database: Database, *words: str) -> list[str]:
    """Columns of tables in which one of the words is."""
    found = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(text(f"SELECT * FROM {table.name}")).mappings():
                found += [
                    f"{table.name}.{name}" for name, value in row.items() if any(one in str(value) for one in words)
                ]
    return sorted(set(found))
