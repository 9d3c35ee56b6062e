"""Slack from end to end: the real bot process, a real engine server, a strict local Slack."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import select

from storage.learning_tables import CorrectionRow, PairRow
from tests.bot.slack_team import ANA, GENERAL, TOMAS, bot, database, engine, slack, talk
from tests.slack_server.server import buttons, texts


async def test_a_command_becomes_a_summary_a_correction_a_training_pair_and_a_shared_message(own_home: Path) -> None:
    async with slack() as server:
        talk(server)
        with engine(own_home):
            async with bot(server, own_home):
                acknowledged = await server.command(ANA, GENERAL)
                assert "Reading" in acknowledged["text"]
                told = await server.told(ANA)
                shown = texts(told["blocks"])
                assert "The export job number 24 is checked before lunch" in shown
                assert "25 messages by 3 people" in shown
                assert "base model" in shown
                summary = buttons(told["blocks"])["redraft_correct"]

                view = await server.modal(ANA, "redraft_correct", summary, channel=GENERAL)
                assert "export job number 24" in view["blocks"][0]["element"]["initial_value"]
                await server.submit(ANA, view, text0="Ana, Tomas and Priya checked all of the jobs.", about="too long")
                replaced = await server.told(ANA, after=1)
                assert replaced["replace_original"] is True
                assert "checked all of the jobs" in texts(replaced["blocks"])
                assert "Corrected by Ana" in texts(replaced["blocks"])
                assert "administrator has approved" in (await server.told(ANA, after=2))["text"]

                await server.click(TOMAS, "redraft_share", summary, channel=GENERAL)
                await server.until(lambda: server.posts, "it is shared")
                assert server.posts[0]["channel"] == GENERAL
                assert "Shared by Tomas" in texts(server.posts[0]["blocks"])
                assert server.posts[0]["unfurl_links"] in (False, "0")

        with database(own_home) as opened, opened.read() as session:
            correction = session.scalars(select(CorrectionRow)).one()
            pair = session.scalars(select(PairRow)).one()
        assert (correction.author_id, correction.author, correction.about) == ("slack:U0ANA", "Ana", "too long")
        assert (pair.platform, pair.channel, pair.public, pair.state) == ("slack", GENERAL, True, "pending")
        assert pair.summary == "Ana, Tomas and Priya checked all of the jobs."
        assert "Tomas: The export job number 1 is checked before lunch." in pair.dialogue
