"""The watch tells of an adapter that people correct or dislike more than the one before, and seldom of another."""

from __future__ import annotations

import random
from datetime import timedelta
from math import comb

import pytest
from sqlalchemy import delete, select
from sqlmodel import col

from engine.learning import promotion
from engine.learning.alerts import open_alerts
from engine.learning.settings import LearningSettings
from engine.learning.watch import LOOKS, looks, service_figures, watch
from storage.database import Database
from storage.errors import InputError
from storage.learning_tables import AlertRow, CorrectionRow
from storage.retention import enforce
from storage.settings import StorageSettings
from storage.tables import ConversationRow, FeedbackRow, ReceptionRow, SummaryRow
from storage.watch_queries import Reception
from tests.engine.learning.making import START, candidate, gate, serve
from tests.engine.learning.pairing import chat_pair, keep

LEAST = 20


def wrote(
    database: Database,
    adapter: str,
    count: int,
    *,
    corrected: int = 0,
    down: int = 0,
    up: int = 0,
    kind: str = "edited",
    workspace: str = "T1",
    after: timedelta = timedelta(minutes=1),
) -> None:
    """Summaries by an adapter, the first of them corrected or disliked."""
    with database.write() as session:
        for number in range(count):
            name = f"{adapter}-{workspace}-{after}-{number}"
            session.add(
                ConversationRow(
                    id=name, platform="slack", workspace=workspace, channel="C1", first_read_at=START, read_at=START
                )
            )
            session.flush()
            session.add(
                SummaryRow(
                    id=name, conversation_id=name, created_at=START + after + timedelta(minutes=number),
                    text="Ana asks.", style="standard", adapter=adapter, model="tiny", prompt_version="2", covered=3,
                    left_out=0, authors=2, parts=1, input_tokens=9, output_tokens=4, seconds=0.1,
                )
            )  # fmt: skip
            session.flush()
            if number < corrected:
                for person in ("ben", "eve"):  # corrected twice is still one summary
                    session.add(
                        CorrectionRow(
                            id=f"{name}-{person}", summary_id=name, author_id=f"slack:{person}", created_at=START,
                            kind=kind, text="Ana asks Tomas.", distance=0.5,
                        )
                    )  # fmt: skip
            if number < down + up:
                thumb = "down" if number < down else "up"
                session.add(FeedbackRow(summary_id=name, author_id="slack:ben", thumb=thumb, given_at=START))


def look(database: Database) -> list[AlertRow]:
    watch(database, LearningSettings(watch_min_summaries=LEAST), now=START)
    with database.read() as session:
        return [alert for alert in open_alerts(session) if alert.kind == "regression"]


@pytest.mark.parametrize("how", ["corrected", "down"])
def test_worse_than_the_one_before_raises_one_alert_with_the_way_back_which_clears_it(
    database: Database, how: str
) -> None:
    old = serve(database, seed=1)
    new = serve(database, seed=2)
    wrote(database, old.id, 60, after=timedelta(days=-2), **{how: 6})
    wrote(database, new.id, 20, **{how: 12})
    (alert,) = look(database)
    assert alert.command == 'redraft adapters rollback --scope default --reason "…"'
    assert f"12 of 20 summaries by {new.id} in default, and 6 of 60 by {old.id} before it" in alert.sentence
    assert alert.sentence.startswith("People corrected" if how == "corrected" else "People disliked")
    assert [one.raised_at for one in look(database)] == [alert.raised_at]
    promotion.rollback(
        database, database.home, LearningSettings(), scope="default", by="local:ana", reason="watched", now=START
    )
    assert look(database) == []


def test_what_people_wrote_without_seeing_the_draft_says_nothing_of_it(database: Database) -> None:
    serve(database, seed=1)
    new = serve(database, seed=2)
    wrote(database, new.replaced, 60, after=timedelta(days=-2))
    wrote(database, new.id, 20, corrected=20, kind="blind")
    assert look(database) == []


def test_nothing_is_said_before_both_have_written_enough_or_of_what_a_rollback_brought_back(
    database: Database,
) -> None:
    old = serve(database, seed=1)
    new = serve(database, seed=2)
    wrote(database, old.id, 19, after=timedelta(days=-2))
    wrote(database, new.id, 40, corrected=40)
    assert look(database) == []
    wrote(database, old.id, 1, after=timedelta(days=-3))
    assert len(look(database)) == 1
    promotion.rollback(
        database, database.home, LearningSettings(), scope="default", by="local:ana", reason="watched", now=START
    )
    wrote(database, old.id, 40, down=40, after=timedelta(days=1))
    assert look(database) == []


def test_an_adapter_of_a_workspace_is_held_against_what_served_that_workspace(database: Database) -> None:
    new = candidate(database, seed=1, scope="slack:T1")
    gate(database, new)
    wrote(database, "base", 60, corrected=40, workspace="T1", after=timedelta(days=-2))
    wrote(database, "base", 60, corrected=0, workspace="T2", after=timedelta(days=-2))
    promotion.promote(database, database.home, LearningSettings(), adapter_id=new.id, by="local:ana", now=START)
    wrote(database, new.id, 20, corrected=14)
    assert look(database) == []
    with database.write() as session:
        for number in range(60):
            session.delete(session.get(SummaryRow, f"base-T1-{timedelta(days=-2)}-{number}"))
    wrote(database, "base", 60, corrected=2, workspace="T1", after=timedelta(days=-4))
    assert len(look(database)) == 1


def needed(database: Database) -> None:
    """Have a pair need the conversations whose summaries were corrected, as corrections do."""
    with database.read() as session:
        names = session.scalars(select(col(CorrectionRow.summary_id)).distinct()).all()
    keep(database, *(chat_pair(conversation_id=name, conversation_key=name) for name in names))


def test_retention_changes_no_look_and_no_figure_and_clears_no_alert(
    database: Database, settings: StorageSettings
) -> None:
    old, new = serve(database, seed=1), serve(database, seed=2)
    wrote(database, old.id, 60, corrected=6, up=3, after=timedelta(days=-2))
    wrote(database, old.id, 5, workspace="T2", after=timedelta(days=-3))
    wrote(database, new.id, 60, corrected=12, down=2)
    needed(database)
    learning = LearningSettings(watch_min_summaries=LEAST)

    def seen() -> tuple[object, ...]:
        with database.read() as session:
            figures = [service_figures(session, scope=scope) for scope in (None, "slack:T1", "slack:T2/C1")]
            since = service_figures(session, since=START + timedelta(minutes=31))
        return watch(database, learning, now=START), figures, since

    before = seen()
    (alert,) = look(database)
    assert enforce(database, settings, START + timedelta(days=40)).conversations == 60 + 5 + 60 - 18
    assert seen() == before
    assert [(one.key, one.raised_at) for one in look(database)] == [(alert.key, alert.raised_at)]
    wrote(database, new.id, 3, corrected=3, after=timedelta(days=50))
    with database.read() as session:
        assert [(one.adapter, one.summaries, one.corrected) for one in service_figures(session)] == [
            (new.id, 63, 15), (old.id, 65, 6),
        ]  # fmt: skip


def test_what_cannot_be_looked_at_any_more_clears_no_alert_and_what_is_looked_at_does(database: Database) -> None:
    old, new = serve(database, seed=1), serve(database, seed=2)
    wrote(database, old.id, 60, corrected=6, after=timedelta(days=-2))
    wrote(database, new.id, 20, corrected=14)
    assert len(look(database)) == 1
    with database.write() as session:
        session.execute(delete(ConversationRow))
    assert len(look(database)) == 1
    wrote(database, old.id, 60, corrected=6, after=timedelta(days=-1))
    wrote(database, new.id, 20, corrected=2)
    assert look(database) == []


def test_of_direct_messages_that_went_not_even_the_channel_is_kept(
    database: Database, settings: StorageSettings
) -> None:
    wrote(database, "base", 2)
    with database.write() as session:
        row = session.scalars(select(ConversationRow).order_by(col(ConversationRow.id)).limit(1)).one()
        row.direct, row.channel = True, "D0IMKE"
    enforce(database, settings, START + timedelta(days=40))
    with database.read() as session:
        kept = session.scalars(select(ReceptionRow).order_by(col(ReceptionRow.id))).all()
    assert [(one.platform, one.workspace, one.channel) for one in kept] == [("slack", "T1", ""), ("slack", "T1", "C1")]


def test_figures_in_service_count_summaries_and_not_corrections(database: Database) -> None:
    wrote(database, "base", 10, corrected=3, down=2, up=4, after=timedelta(days=-2))
    wrote(database, "a1", 5, corrected=1, workspace="T2")
    with database.read() as session:
        figures = service_figures(session)
        assert [(one.adapter, one.summaries, one.corrected, one.thumbs_up, one.thumbs_down) for one in figures] == [
            ("a1", 5, 1, 0, 0),
            ("base", 10, 3, 4, 2),
        ]
        assert figures[0].last == START + timedelta(minutes=5)
        assert [one.adapter for one in service_figures(session, scope="slack:T2")] == ["a1"]
        assert [one.adapter for one in service_figures(session, since=START)] == ["a1"]
        with pytest.raises(InputError):
            service_figures(session, scope="everywhere")


def test_each_look_is_at_exactly_as_many_as_planned_and_by_the_exact_test() -> None:
    new = [Reception(corrected=number < 15, thumb_down=False) for number in range(1000)]
    before = [Reception(corrected=number < 10, thumb_down=False) for number in range(50)]
    found = looks(new, before, LEAST)
    assert [(one.what, one.of) for one in found if one.what == "corrected"] == [
        ("corrected", LEAST * 2**doubling) for doubling in range(LOOKS)
    ]
    assert len(found) == 2 * LOOKS
    exact = sum(comb(25, k) * comb(45, 20 - k) for k in range(15, 21)) / comb(70, 20)
    assert found[0].p == pytest.approx(exact)
    assert found[1].p == 1.0
    assert (found[0].alarms, found[4].alarms) == (True, False)


@pytest.mark.parametrize(("rate", "dislike", "before"), [(0.05, 0.02, 30), (0.2, 0.1, 100), (0.4, 0.3, 400)])
def test_an_adapter_that_is_no_worse_raises_an_alarm_less_than_one_time_in_twenty(
    rate: float, dislike: float, before: int
) -> None:
    assert _alarms(rate, dislike, rate, dislike, before, rounds=400) < 0.05


def test_an_adapter_that_is_much_worse_is_found_out_nearly_always() -> None:
    assert _alarms(0.15, 0.05, 0.4, 0.05, 200, rounds=100) > 0.9


def _alarms(rate: float, dislike: float, new_rate: float, new_dislike: float, before: int, rounds: int) -> float:
    """Share of watches, each to its last look, that raised an alarm at any of them."""
    chance = random.Random(7)

    def received(count: int, corrected: float, disliked: float) -> list[Reception]:
        return [Reception(chance.random() < corrected, chance.random() < disliked) for _ in range(count)]

    alarms = 0
    for _ in range(rounds):
        new = received(LEAST * 2 ** (LOOKS - 1), new_rate, new_dislike)
        alarms += any(one.alarms for one in looks(new, received(before, rate, dislike), LEAST))
    return alarms / rounds
