"""A few rounds of what `make faults` does in full counts to the bot."""

from __future__ import annotations

import pytest

from tests.faults import bot_kill, slack_outage

pytestmark = pytest.mark.xdist_group("slack-bot")


@pytest.mark.faults
def test_what_a_killed_bot_had_accepted_is_answered_by_the_next_one() -> None:
    outcome = bot_kill.run(2, seed=7)
    assert outcome["kills"] == 2 and outcome["answers"] == 9


@pytest.mark.faults
def test_a_short_outage_of_slack_loses_nothing_that_was_accepted() -> None:
    assert slack_outage.run(1, seed=7, outage_s=1.0)["outages"] == 1
