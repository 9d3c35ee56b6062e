"""A database with a little of everything, for the console's tests, pictures and benchmark; the people are invented.

Times and ids are fixed, so that a picture of it is the same whenever it is taken.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.conversation import Conversation, Message
from engine.learning.dialogues import content_hash, dialogue_of
from engine.learning.differences import difference
from engine.learning.ledger import pseudonym, recorded
from engine.learning.splits import BLIND_NEEDED
from engine.records import store_conversation
from engine.scoring.bootstrap import Interval
from engine.scoring.gate import GateReport, Table
from storage.database import Database
from storage.learning_tables import (
    AdapterRow,
    AlertRow,
    AuthorisationRow,
    CorrectionRow,
    EvaluationRow,
    PairRow,
    PromotionRow,
    RunPairRow,
    RunProgressRow,
    RunRow,
)
from storage.tables import FeedbackRow, SummaryRow

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MARIA = "local:maria"
#: What serves ``default``, what waits to, and the one before.
ACTIVE, CANDIDATE, BEFORE, WORSE = (
    "a4c01f92be73d85016e2a",
    "a9e35b7701fc24d8a6b13",
    "a17d8c60e2f4935ba08c7",
    "af02b6d94c1385e7702d5",
)

_PEOPLE = (("U01ANA", "Ana"), ("U02KOFI", "Kofi"), ("U03PRIYA", "Priya"), ("U04TOMAS", "Tomas"))
_TOPICS = (
    (
        "The export job stopped at 14:05 with a full disk.",
        "I moved the old exports to the archive, 40 GB are free again.",
        "Can we have an alert before it is full next time?",
        "I will add one at 80 per cent today.",
        "Export stopped because of a disk problem. It was fixed by the team.",
        "The export stopped at 14:05 because the disk was full. Kofi archived old exports (40 GB free) and adds an "
        "alert at 80 per cent today.",
    ),
    (
        "The customer in Lyon says their invoice has the wrong address.",
        "Their record was changed on Monday, the invoice is from Friday.",
        "So we send a corrected one and leave the record?",
        "Yes, Priya sends it before noon.",
        "A customer says an invoice is wrong. The record was changed.",
        "Lyon's invoice shows the old address because their record changed after it was made. Priya sends a corrected "
        "one before noon.",
    ),
    (
        "Login is slow since the release this morning, 6 seconds at least.",
        "The new index on sessions is missing in production.",
        "I can add it without downtime, it takes ten minutes.",
        "Do it, and put the check into the release list.",
        "Login is slow since the release. Someone can add an index.",
        "Login takes 6 seconds since this morning's release because the sessions index is missing. Tomas adds it now, "
        "without downtime, and the check goes on the release list.",
    ),
    (
        "Who takes the support shift on Thursday?",
        "I can, but only until 16:00.",
        "Then I take the rest.",
        "Thanks, I put both of you in the calendar.",
        "The support shift on Thursday was discussed.",
        "Ana covers Thursday's support shift until 16:00 and Tomas the rest; both are in the calendar.",
    ),
)


def seed(database: Database, *, adapters: bool = True) -> None:
    """Everything; without ``adapters`` for tests that make theirs with files."""
    _talks(database)
    _pairs(database)
    if adapters:
        _learnt(database)
    _alerts_and_ledger(database)


def talk(number: int, *, private: bool = False) -> Conversation:
    """A conversation of a channel."""
    topic = _TOPICS[number % len(_TOPICS)]
    at = NOW - timedelta(days=number % 28, hours=number % 7, minutes=20)
    messages = tuple(
        Message(
            f"{number}.{place}", _PEOPLE[(number + place) % 4][1], text, at + timedelta(minutes=place),
            f"slack:{_PEOPLE[(number + place) % 4][0]}", permalink=f"https://example.slack.com/archives/C1/p{number}{place}",
        )
        for place, text in enumerate(topic[:4])
    )  # fmt: skip
    channel, title = (
        ("C9", "#board") if private else (f"C{number % 3 + 1}", ("#ops", "#billing", "#support")[number % 3])
    )
    return Conversation(
        f"slack:T1/{channel}/{number}.0", messages, platform="slack", title=title, workspace="T1", channel=channel,
        thread=f"{number}.0", public=not private,
    )  # fmt: skip


def _talks(database: Database) -> None:
    with database.write() as session:
        for number in range(24):
            private = number % 8 == 7
            made = talk(number, private=private)
            store_conversation(session, made, now=NOW - timedelta(days=number % 28, hours=number % 7))
    chance = random.Random(7)
    days = [day for day in range(30) for _ in range(2 if (NOW - timedelta(days=day)).weekday() > 4 else 5 + day % 4)]
    with database.write() as session:
        for number, day in enumerate(days):
            made = talk(number % 24, private=number % 24 % 8 == 7)
            adapter = ACTIVE if day < 9 else BEFORE if day < 21 else "base"
            at = NOW - timedelta(days=day, minutes=13 * (number % 40))
            summary = SummaryRow(
                id=f"{number:032x}", conversation_id=made.id, created_at=at, asked_by="slack:U01ANA",
                text=_TOPICS[number % 24 % len(_TOPICS)][4], style="standard", adapter=adapter, model="starter",
                prompt_version="1", covered=4, left_out=0, authors=4, parts=1, input_tokens=120, output_tokens=24,
                seconds=1.4,
            )  # fmt: skip
            session.add(summary)
            session.flush()
            bad = 0.12 if adapter == ACTIVE else 0.22 if adapter == BEFORE else 0.4
            if chance.random() < 0.5:
                thumb = "down" if chance.random() < bad else "up"
                session.add(FeedbackRow(summary_id=summary.id, author_id="slack:U02KOFI", thumb=thumb, given_at=at))
            if chance.random() < bad:
                session.add(
                    CorrectionRow(
                        id=f"c{number:031x}", summary_id=summary.id, author_id="slack:U03PRIYA", author="Priya",
                        created_at=at, kind="edited", text="Said better.", distance=0.6,
                    )
                )  # fmt: skip


def pair(number: int, **changes: Any) -> PairRow:
    """A correction's pair; every fourth is blind, every ninth private."""
    topic, made = _TOPICS[number % len(_TOPICS)], talk(number % 24, private=number % 24 % 8 == 7)
    blind = number % 4 == 3
    told, dialogue = topic[5], dialogue_of(made.messages)
    summary = told if number < len(_TOPICS) else f"{told} ({number})"
    account, name = _PEOPLE[(number + 1) % 4]
    values: dict[str, Any] = {
        "id": f"{number:08x}{'a1' * 12}",
        "content_hash": content_hash(dialogue, summary),
        "conversation_key": made.id,
        "conversation_id": made.id,
        "dialogue": dialogue,
        "summary": summary,
        "origin": "blind" if blind else "edited",
        "platform": "slack",
        "workspace": "T1",
        "channel": made.channel,
        "public": made.public,
        "state": "pending",
        "split": "heldout" if blind else "train",
        "author_id": f"slack:{account}",
        "author": name,
        "seen_draft": not blind,
        "draft_summary_id": "" if blind else f"{number % 24:032x}",
        "draft_adapter": "" if blind else ACTIVE,
        "distance": None if blind else difference(topic[4], summary).distance,
        "created_at": NOW - timedelta(hours=3 * number + 1),
    }
    return PairRow(**(values | changes))


def _pairs(database: Database) -> None:
    with database.write() as session:
        session.add(
            AuthorisationRow(
                platform="slack", authorised_at=NOW - timedelta(days=40), authorised_by=MARIA, basis="W-12"
            )
        )
        session.add_all(pair(number) for number in range(14))
        decided = {"decided_by": MARIA, "decided_at": NOW - timedelta(days=1)}
        session.add_all(pair(number, state="approved", **decided) for number in range(20, 60))
        session.add_all(
            pair(number, state="rejected", reject_reason="Not a summary", **decided) for number in range(60, 64)
        )
        session.add_all(
            pair(
                number, platform="file", workspace="", channel="", public=False, origin="imported",
                source="support-2025",
                conversation_id=None, conversation_key=f"file-{number}", author_id="", author="", seen_draft=False,
                draft_summary_id="", draft_adapter="", distance=None, state="approved",
                split="heldout" if number % 2 else "train", **decided,
            )
            for number in range(100, 100 + 2 * BLIND_NEEDED - 20)
        )  # fmt: skip


def report(better: bool = True) -> GateReport:
    """A gate's figures."""

    def figures(rouge: float, content: float, novelty: float) -> dict[str, Interval | None]:
        return {
            "rougeL": Interval(rouge, rouge - 1.9, rouge + 2.0, 84),
            "content_f1": Interval(content, content - 1.7, content + 1.8, 84),
            "novelty": Interval(novelty, novelty - 1.2, novelty + 1.3, 84),
            "unsupported": Interval(3.1, 2.0, 4.4, 84),
            "length_ratio": Interval(1.02, 0.97, 1.08, 84),
        }

    gain = 3.4 if better else -2.6
    differences: dict[str, Interval | None] = {
        "rougeL": Interval(gain, gain - 1.4, gain + 1.5, 84),
        "content_f1": Interval(gain - 0.8, gain - 2.0, gain + 0.6, 84),
        "novelty": Interval(-0.3, -1.1, 0.6, 84),
        "unsupported": Interval(0.2, -0.9, 1.1, 84),
        "length_ratio": Interval(0.01, -0.03, 0.05, 84),
    }
    systems = {
        "candidate": figures(36.2 + gain, 38.9 + gain, 18.8),
        "active": figures(36.2, 38.9, 19.1),
        "base": figures(24.9, 27.3, 9.6),
        "trivial": figures(31.0, 37.0, 0.0),
    }
    reason = "ROUGE-L is clearly up, content F1 is not down." if better else "ROUGE-L is clearly down."
    return GateReport(
        "better" if better else "worse", "active", (reason,), blind=Table(84, 91, systems, differences)
    )  # fmt: skip


def _learnt(database: Database) -> None:
    home = database.home
    runs = (
        ("20260425-023000-0c2mw6", "finished", BEFORE, 9),
        ("20260425-023000-1w7hj2", "finished", WORSE, 6),
        ("20260428-023000-2k3v94", "finished", ACTIVE, 4),
        ("20260503-023000-3p8xd9", "finished", CANDIDATE, 1),
        ("20260504-113000-4now00", "running", "", 0),
    )
    with database.write() as session:
        for number, (run_id, state, adapter, days) in enumerate(runs):
            began = NOW - timedelta(days=days, minutes=30)
            ended = None if state == "running" else began + timedelta(minutes=24)
            session.add(
                RunRow(
                    id=run_id, scope="default", state=state, cause="schedule" if number else "manual",
                    slot=f"{began:%Y-%m-%dT%H:%M}" if number else "", requested_by="redraft" if number else MARIA,
                    created_at=began, started_at=began + timedelta(seconds=9), finished_at=ended, pid=0,
                    base_model="starter", prompt_version="1", settings={"train_rank": 16, "train_epochs": 4.0},
                    train_pairs=180 + 20 * number, validation_pairs=20, left_out={"pending": 14, "heldout": 60},
                    step=31 if state == "running" else 48, steps=48, adapter_id=adapter,
                    metrics={} if state == "running" else {
                        "seconds": 1431.0, "tokens_per_second": 812.0, "peak_memory_bytes": 2_910_000_000,
                        "validation_loss": 1.62, "validation_loss_before": 2.71, "best_step": 40, "train_loss": 1.31,
                    },
                    message="Training." if state == "running" else "",
                )
            )  # fmt: skip
            session.flush()
            chance = random.Random(number)
            for step in range(1, (31 if state == "running" else 48) + 1):
                fall = 2.8 - 1.5 * (1 - 0.94**step)
                at = began + timedelta(seconds=30 * step)
                session.add(
                    RunProgressRow(
                        run_id=run_id, kind="train", step=step, at=at, epoch=step / 12,
                        loss=fall + chance.uniform(-0.12, 0.12), learning_rate=1e-3,
                        tokens_per_second=800 + 10.0 * chance.random(), memory_bytes=2_900_000_000,
                    )
                )  # fmt: skip
                if step % 8 == 0:
                    session.add(
                        RunProgressRow(
                            run_id=run_id, kind="validation", step=step, at=at, epoch=step / 12, loss=fall + 0.22
                        )
                    )
            session.add_all(
                RunPairRow(run_id=run_id, pair_id=f"{one:08x}{'a1' * 12}", role="train") for one in range(20, 60)
            )
        made = (
            (CANDIDATE, "candidate", 1, runs[3][0], "better", ""),
            (ACTIVE, "active", 4, runs[2][0], "better", ""),
            (BEFORE, "retired", 9, runs[0][0], "better", f"{ACTIVE} took its place."),
            (WORSE, "rejected", 6, runs[1][0], "worse", "Drops who does what."),
        )
        for adapter, state, days, run_id, verdict, reason in made:
            (home.adapters / adapter).mkdir(exist_ok=True)
            session.add(
                AdapterRow(
                    id=adapter, scope="default", state=state, state_since=NOW - timedelta(days=days),
                    created_at=NOW - timedelta(days=days), base_model="starter", prompt_version="1", run_id=run_id,
                    data_hash=f"data-{adapter}", settings_hash="settings", train_pairs=200, size_bytes=4_310_000,
                    replaced=BEFORE if state == "active" else "base", verdict=verdict, reason=reason,
                )
            )  # fmt: skip
            session.add(
                EvaluationRow(
                    id=f"e-{adapter}", adapter_id=adapter, scope="default",
                    against={CANDIDATE: ACTIVE, ACTIVE: BEFORE, WORSE: BEFORE}.get(adapter, "base"), run_id=run_id,
                    at=NOW - timedelta(days=days) + timedelta(minutes=3), verdict=verdict, blind_references=91,
                    report=report(verdict == "better").as_json(),
                )
            )  # fmt: skip
        who = pseudonym(session, MARIA)
        for number, (adapter, replaced, days) in enumerate(((BEFORE, "base", 9), (ACTIVE, BEFORE, 4))):
            session.add(
                PromotionRow(
                    id=f"{number + 1:012}", scope="default", at=NOW - timedelta(days=days), kind="promote",
                    adapter=adapter, replaced=replaced, actor=who, reason="",
                )
            )  # fmt: skip


def _alerts_and_ledger(database: Database) -> None:
    with database.write() as session:
        session.add_all(
            [
                AlertRow(
                    key=f"candidate-waiting:{CANDIDATE}", kind="candidate-waiting", subject=CANDIDATE,
                    sentence=f"Candidate {CANDIDATE} is better than what serves default, and waits to be promoted.",
                    command=f"redraft adapters promote {CANDIDATE}", raised_at=NOW - timedelta(hours=9),
                ),
                AlertRow(
                    key="backup", kind="backup", sentence="The last backup is 9 days old.",
                    command="redraft backup DIR",
                    raised_at=NOW - timedelta(days=2),
                ),
            ]
        )  # fmt: skip
    lines = (
        ("pairs.imported", MARIA, "", {"rows": 120, "source": "support-2025"}, 39),
        ("training.authorised", MARIA, "slack", {"basis": "W-12"}, 39),
        ("adapter.promoted", MARIA, BEFORE, {"scope": "default", "replaced": "base", "verdict": "better"}, 9),
        ("adapter.rejected", "local:jonas", WORSE, {"scope": "default", "reason": "Drops who does what."}, 6),
        ("adapter.promoted", MARIA, ACTIVE, {"scope": "default", "replaced": BEFORE, "verdict": "better"}, 4),
        ("run.requested", "redraft", "20260503-023000-3p8xd9", {"scope": "default", "cause": "schedule"}, 1),
        ("adapter.evaluated", "redraft", CANDIDATE, {"verdict": "better", "against": ACTIVE}, 1),
        ("conversation.opened", "local:jonas", "slack:T1/C9/7.0", {"why": "pair"}, 0),
    )
    with recorded(database) as (_session, ledger):
        for action, by, subject, details, days in lines:
            ledger.append(action, by=by, subject=subject, details=details, now=NOW - timedelta(days=days, hours=1))
