"""What becomes of what people say of summaries, whatever the platform."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import select

from bot import feedback
from bot.answers import record_shown
from engine import records
from engine.learning.settings import LearningSettings
from engine.requests import SummaryRequest
from storage.database import Database
from storage.learning_tables import CorrectionRow
from tests.storage.samples import conversation, result


@pytest.mark.parametrize(("private", "kind"), [(True, "blind"), (False, "edited")])
def test_own_words_on_a_summary_that_stands_in_the_channel_are_not_blind(
    database: Database, private: bool, kind: str
) -> None:
    made = replace(conversation("own"), platform="slack", workspace="T1", channel="C1")
    summary = records.store_summary(database, SummaryRequest(conversation=made), result(), asked_by="slack:U1")
    record_shown(
        database, summary_id=summary, platform="slack", person="slack:U1", private=private, channel="C1", message="17.1"
    )
    feedback.correct(
        database, LearningSettings(), summary_id=summary, person="slack:U2", name="Priya", blind=True,
        text="The cats of the neighbours took over the garden, and everybody agreed to buy more fish.",
    )  # fmt: skip
    with database.read() as session:
        (row,) = session.scalars(select(CorrectionRow)).all()
    assert row.kind == kind
