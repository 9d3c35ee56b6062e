"""Slack from end to end: the real bot process, a real engine server, a strict local Slack."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlmodel import select

from engine.learning.alerts import raise_alert
from storage.chat_tables import ChatJobRow
from storage.database import Database
from storage.learning_tables import CorrectionRow, PairRow
from storage.tables import FeedbackRow, MessageRow, SummaryRow
from tests.bot.slack_team import ANA, GUEST, KOFI, PRIYA, STRANGER, TOMAS, Bot, bot, database, engine, slack, talk
from tests.slack_server.server import BOT, HOST, TEAM, Channel, SlackServer, buttons, texts

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("slack-bot")]
REVIEWED, ADMINS = "C0REVIEWED", "C0ADMINS"
_numbers = itertools.count(1)


class World:
    """A team whose bot is up, and what it has stored."""

    def __init__(self, server: SlackServer, process: Bot, stored: Database) -> None:
        self.slack, self.bot, self.stored = server, process, stored

    def channel(self, *members: str, **given: Any) -> Channel:
        """A channel of this test's own."""
        number = next(_numbers)
        return self.slack.channel(f"C0ROOM{number}", f"room-{number}", list(members or (ANA, TOMAS, PRIYA)), **given)

    def rows(self, table: type[Any], **where: Any) -> list[Any]:
        with self.stored.read() as session:
            return list(session.scalars(select(table).filter_by(**where)))

    async def answer(self, user: str, channel: str, text: str = "") -> dict[str, Any]:
        """What `/summarize` answers, beyond its acknowledgement."""
        payload, before = self.slack.slash(user, channel, text), len(self.slack.ephemerals)
        await self.slack.ack(await self.slack.send("slash_commands", payload))

        def answered() -> dict[str, Any] | None:
            for one in self.slack.ephemerals[before:]:
                if one["url"] == payload["response_url"] or (one["url"] == "" and one["user"] == user):
                    return one
            return None

        found: dict[str, Any] = await self.slack.until(answered, f"{user} is answered")
        return found

    async def summary(self, user: str, channel: str, text: str = "") -> tuple[str, str]:
        """A summary's id and all that its message says."""
        told = await self.answer(user, channel, text)
        assert "blocks" in told, told
        return buttons(told["blocks"])["redraft_correct"], texts(told["blocks"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("slack") / "home"
    async with slack() as server:
        server.channel(REVIEWED, "reviewed", [ANA, TOMAS, KOFI])
        server.channel(ADMINS, "admins", [KOFI])
        with engine(home), database(home) as stored:
            async with bot(
                server, home, SLACK_REACTION="memo", SLACK_ADMIN_CHANNEL=ADMINS, CHAT_MAX_MESSAGES="200",
                SLACK_PACE="1000", SLACK_REVIEWERS=f"{REVIEWED}:{KOFI} {PRIYA} {ANA}",
            ) as process:  # fmt: skip
                yield World(server, process, stored)


async def test_a_command_becomes_a_summary_a_correction_a_training_pair_and_a_shared_message(world: World) -> None:
    server, channel = world.slack, world.channel().id
    talk(server, channel)
    summary, shown = await world.summary(ANA, channel)
    assert "The export job number 24 is checked before lunch" in shown
    assert "25 messages by 3 people" in shown
    assert "base model" in shown and "Only you can see this" in shown

    view = await server.modal(ANA, "redraft_correct", summary, channel=channel)
    assert "export job number 24" in view["blocks"][0]["element"]["initial_value"]
    seen = len(server.ephemerals)
    await server.submit(ANA, view, text0="Ana, Tomas and Priya checked all of the jobs.", about="too long")
    await server.until(lambda: len(server.ephemerals) >= seen + 2, "it is replaced, and she is thanked")
    replaced, thanks = server.ephemerals[seen : seen + 2]
    assert replaced["replace_original"] is True
    assert "checked all of the jobs" in texts(replaced["blocks"])
    assert "Corrected by Ana" in texts(replaced["blocks"])
    assert "administrator has approved" in thanks["text"]

    await server.click(TOMAS, "redraft_share", summary, channel=channel)
    posted = await server.until(lambda: [one for one in server.posts if one["channel"] == channel], "it is shared")
    assert "Shared by Tomas" in texts(posted[0]["blocks"])
    assert posted[0]["unfurl_links"] in (False, "0") and posted[0]["unfurl_media"] in (False, "0")

    [correction] = world.rows(CorrectionRow, summary_id=summary)
    [pair] = world.rows(PairRow, channel=channel)
    assert (correction.author_id, correction.author, correction.about) == ("slack:U0ANA", "Ana", "too long")
    assert (pair.platform, pair.workspace, pair.public, pair.state) == ("slack", TEAM, True, "pending")
    assert pair.summary == "Ana, Tomas and Priya checked all of the jobs."
    assert "Tomas: The export job number 1 is checked before lunch." in pair.dialogue


# What can be asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", 20), ("2h", 3), ("3d", 12), ("since yesterday", 9), ("5", 5), ("50 messages", 21), ("last 90 minutes", 2),
        ("1w brief", 15), ("1w detailed", 15),
    ],
)  # fmt: skip
async def test_each_form_of_the_command_reads_its_stretch(world: World, text: str, messages: int) -> None:
    channel = world.channel().id
    # Berlin's yesterday began 24 to 49 hours ago; of "since yesterday" the nine newest are within it at any hour.
    ages_h = [0.5, 1, 1.8, 4, 5, 6, 7, 8, 9, *(60 + n for n in range(3)), *(100 + n for n in range(3)), *[24 * 10] * 6]
    for number, age in enumerate(ages_h):
        world.slack.write(channel, (ANA, TOMAS)[number % 2], f"Note {number} of the week.", ago=3600 * age)
    _, shown = await world.summary(ANA, channel, text)
    assert re.search(rf"\b{messages} messages", shown), shown


async def test_replies_are_part_of_a_channels_summary_and_a_link_names_its_thread(world: World) -> None:
    channel = world.channel().id
    parent = world.slack.write(channel, ANA, "Shall we move the release?", ago=900)
    world.slack.write(channel, TOMAS, "Yes, to Thursday.", ago=800, thread=parent)
    reply = world.slack.write(channel, PRIYA, "Thursday suits me.", ago=700, thread=parent)
    other = world.slack.write(channel, ANA, "Lunch is at noon.", ago=600)
    _, shown = await world.summary(ANA, channel)
    assert "4 messages" in shown and "Thursday suits me" in shown
    link = world.slack.permalink(channel, reply) + f"?thread_ts={parent}&cid={channel}"
    _, shown = await world.summary(ANA, channel, f"<{link}>")
    assert "3 messages" in shown and "Lunch" not in shown
    # A link to a reply that says nothing of its thread means the thread as well.
    _, shown = await world.summary(ANA, channel, world.slack.permalink(channel, reply))
    assert "3 messages" in shown

    before = len(world.slack.ephemerals)
    await world.slack.command(ANA, channel, f"{link} {world.slack.permalink(channel, other)}")
    await world.slack.until(lambda: len(world.slack.ephemerals) == before + 2, "both links are answered")
    one, two = (texts(told["blocks"]) for told in world.slack.ephemerals[before:])
    assert "3 messages" in one and "Lunch" not in one
    assert "Lunch" in two and "Thursday" not in two


async def test_new_begins_where_the_asker_last_used_it(world: World) -> None:
    channel = world.channel().id
    world.slack.write(channel, TOMAS, "The first thing.", ago=3000)
    _, shown = await world.summary(ANA, channel, "new")
    assert "The first thing" in shown
    world.slack.write(channel, TOMAS, "The second thing.", ago=-1)
    _, shown = await world.summary(ANA, channel, "new")
    assert "The second thing" in shown and "The first thing" not in shown
    _, shown = await world.summary(TOMAS, channel, "new")
    assert "The first thing" in shown


async def test_a_topic_is_named_above_the_summary_and_narrows_it(world: World) -> None:
    channel = world.channel().id
    talk(world.slack, channel, 12)
    world.slack.write(channel, ANA, "The invoices of Kite & Sons <https://kite.example/a|are late>.", ago=100)
    _, shown = await world.summary(ANA, channel, "1d about invoices")
    assert "about invoices" in shown and "Kite &amp; Sons" in shown
    assert "not read" in shown


@pytest.mark.parametrize(
    "text", ["fortnight", "since", "since the meeting", "2h 3d", "brief detailed", "0", "9999999", "about", "#general"]
)
async def test_what_cannot_be_read_is_explained_with_examples_and_not_guessed(world: World, text: str) -> None:
    channel = world.channel().id
    before = len(world.slack.calls)
    said = await world.slack.command(ANA, channel, text)
    assert said["response_type"] == "ephemeral"
    assert "since monday 9:00" in said["text"] or "list that appears" in said["text"]
    assert not any(name.startswith("conversations") for name, _ in world.slack.calls[before:])


async def test_help_says_what_can_be_said(world: World) -> None:
    said = (await world.slack.command(ANA, world.channel().id, "help"))["text"]
    assert "`/summarize 2h, 3d, 1w`" in said and "#channel 1d" in said and "&" not in said.replace("&amp;", "")


async def test_an_empty_stretch_is_told_and_so_is_a_link_to_nothing(world: World) -> None:
    channel = world.channel().id
    assert "no messages from people" in (await world.answer(ANA, channel))["text"]
    assert (
        "nothing at that link"
        in (await world.answer(ANA, channel, world.slack.permalink(channel, "1700000000.000001")))["text"]
    )
    said = await world.slack.command(ANA, channel, f"https://other.slack.com/archives/{channel}/p1700000000000001")
    assert "another workspace" in said["text"]


async def test_messages_that_are_not_plain_text_are_read_as_people_see_them(world: World) -> None:
    channel, server = world.channel().id, world.slack
    said = [{"type": "text", "text": "ask "}, {"type": "user", "user_id": TOMAS}, {"type": "emoji", "name": "tada"}]
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": said}]}
    server.write(channel, ANA, "", blocks=[rich])
    server.write(channel, ANA, "", files=[{"id": "F1", "name": "plan.png", "mimetype": "image/png"}])
    server.write(channel, ANA, "", attachments=[{"text": "Build 7 failed", "fallback": "x"}])
    server.write(
        channel, "USLACKBOT", "", subtype="huddle_thread", room={"created_by": ANA, "participant_history": [ANA]}
    )
    server.write(channel, TOMAS, "مرحبا بالفريق 👩‍👩‍👧 <@U0ANA> `x &lt; y`")
    _, shown = await world.summary(ANA, channel)
    assert "ask Tomas" in shown and "plan.png" in shown and "Build 7 failed" in shown
    assert "مرحبا" in shown and "x &lt; y" in shown
    assert "<@" not in shown


# Threads ------------------------------------------------------------------------------------------------------------


async def test_a_mention_in_a_thread_is_answered_publicly_as_it_is_written(world: World) -> None:
    channel, server = world.channel().id, world.slack
    parent = server.write(channel, ANA, "Where is the key?", ago=500)
    server.write(channel, TOMAS, "In *the* drawer.", ago=400, thread=parent)
    ts = server.write(channel, PRIYA, f"<@{BOT}> summarize", ago=1, thread=parent)
    await server.happen({"type": "app_mention", "user": PRIYA, "text": f"<@{BOT}> summarize", "ts": ts,
                         "channel": channel, "thread_ts": parent})  # fmt: skip
    post = (
        await server.until(lambda: [p for p in server.posts if p["channel"] == channel and p.get("blocks")], "it ends")
    )[0]
    assert post["thread_ts"] == parent
    assert (post["recipient_user_id"], post["recipient_team_id"]) == (PRIYA, TEAM)
    assert "In \\*the\\* drawer" in post["streamed"]
    assert "summarize" not in post["streamed"], "what was said to the app is none of the thread"
    assert "2 messages by 2 people" in texts(post["blocks"])
    assert "redraft_share" not in buttons(post["blocks"])

    # A correction changes it where it stands, for everybody.
    summary = buttons(post["blocks"])["redraft_correct"]
    view = await server.modal(ANA, "redraft_correct", summary, channel=channel, thread=parent, ts=post["ts"])
    await server.submit(ANA, view, text0="The key is in the drawer, says Tomas.")
    await server.until(
        lambda: "The key is in the drawer, says Tomas" in texts(server.posted(post["ts"])["blocks"]), "changed"
    )
    assert "Corrected by Ana" in texts(server.posted(post["ts"])["blocks"])


async def test_the_message_shortcut_and_the_reaction_answer_privately_in_the_thread(world: World) -> None:
    channel, server = world.channel().id, world.slack
    parent = server.write(channel, ANA, "Who has the badge?", ago=500)
    server.write(channel, TOMAS, "I have the badge.", ago=400, thread=parent)
    before = len(server.ephemerals)
    payload = {
        "type": "message_action", "callback_id": "summarize_thread", "trigger_id": server.trigger(), "token": "x",
        "user": {"id": PRIYA}, "team": {"id": TEAM}, "channel": {"id": channel}, "message_ts": parent,
        "message": {"ts": parent, "text": "x"}, "response_url": server.response_url(user=PRIYA, channel=channel),
    }  # fmt: skip
    await server.ack(await server.send("interactive", payload))

    def answered(number: int) -> Any:
        found = [one for one in server.ephemerals[before:] if one["channel"] == channel]
        return found[number - 1 :]

    told = await server.until(lambda: answered(1), "the shortcut is answered")
    assert "I have the badge" in texts(told[0]["blocks"]) and told[0]["thread_ts"] == parent
    for reaction in ("eyes", "memo"):
        await server.happen({"type": "reaction_added", "user": TOMAS, "reaction": reaction, "item_user": ANA,
                             "item": {"type": "message", "channel": channel, "ts": parent}})  # fmt: skip
    told = await server.until(lambda: answered(2), "the reaction is answered")
    assert (told[0]["user"], told[0]["by"]) == (TOMAS, "chat.postEphemeral")
    assert [one for one in server.posts if one["channel"] == channel] == []


async def test_a_stream_that_slack_refuses_becomes_a_message(world: World) -> None:
    channel, server = world.channel().id, world.slack
    ts = server.write(channel, ANA, "Where is the key?", ago=500)
    server.instead["chat.startStream"].append((200, {}, {"ok": False, "error": "feature_not_enabled"}))
    await server.happen({"type": "app_mention", "user": ANA, "text": f"<@{BOT}> summarize", "ts": "1700000000.000100",
                         "channel": channel, "thread_ts": ts})  # fmt: skip
    post = (await server.until(lambda: [p for p in server.posts if p["channel"] == channel], "it is posted"))[0]
    assert "Where is the key" in texts(post["blocks"]) and post["thread_ts"] == ts


# What people say to a summary ---------------------------------------------------------------------------------------


async def test_a_second_correction_builds_on_the_first_and_a_blind_one_does_not_see_the_draft(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 6)
    summary, _ = await world.summary(ANA, channel)
    view = await server.modal(ANA, "redraft_correct", summary, channel=channel)
    await server.submit(ANA, view, text0="All six of the export jobs were looked at in the morning.")
    await server.until(lambda: len(world.rows(CorrectionRow, summary_id=summary)) == 1, "the first is stored")
    view = await server.modal(TOMAS, "redraft_correct", summary, channel=channel)
    assert view["blocks"][0]["element"]["initial_value"] == "All six of the export jobs were looked at in the morning."
    await server.submit(TOMAS, view, text0="All six of the export jobs were looked at, one by one, before noon.")
    await server.until(lambda: len(world.rows(CorrectionRow, summary_id=summary)) == 2, "the second is stored")
    view = await server.modal(PRIYA, "redraft_own", summary, channel=channel)
    assert "initial_value" not in view["blocks"][0]["element"]
    assert "export" not in texts(view["blocks"])
    await server.until(lambda: "hidden" in server.ephemerals[-1]["text"], "the draft is hidden meanwhile")
    assert server.ephemerals[-1]["replace_original"] is True and "blocks" not in server.ephemerals[-1]
    # She changes her mind, and the draft is back; then again.
    closed = {"type": "view_closed", "team": {"id": TEAM}, "user": {"id": PRIYA}, "view": view, "is_cleared": False}
    await server.ack(await server.send("interactive", closed))
    await server.until(lambda: "one by one" in texts(server.ephemerals[-1].get("blocks", [])), "it is shown again")
    view = await server.modal(PRIYA, "redraft_own", summary, channel=channel)
    await server.submit(PRIYA, view, text0="Six jobs, six checks, no trouble before lunch.")
    await server.until(lambda: len(world.rows(CorrectionRow, summary_id=summary)) == 3, "the blind one is stored")
    first, second, blind = sorted(world.rows(CorrectionRow, summary_id=summary), key=lambda row: row.created_at)
    assert (second.builds_on, second.kind) == (first.id, "edited")
    assert (blind.builds_on, blind.kind) == ("", "blind")
    origins = sorted(
        (row.origin, row.author_id) for row in world.rows(PairRow, channel=channel) if not row.superseded_by
    )
    assert origins == [("blind", "slack:U0PRIYA"), ("edited", "slack:U0TOMAS")]


async def test_an_empty_correction_keeps_the_modal_open_and_an_unchanged_one_is_told(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    view = await server.modal(ANA, "redraft_correct", summary, channel=channel)
    said = await server.submit(ANA, view, text0=" … ")
    assert said["response_action"] == "errors" and "text0" in said["errors"]
    seen = len(server.ephemerals)
    await server.submit(ANA, view)
    await server.until(lambda: len(server.ephemerals) > seen, "it is told")
    assert "nothing was changed" in server.ephemerals[seen]["text"]


async def test_thumbs_are_kept_with_a_reason_if_there_is_one(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    await server.click(TOMAS, "redraft_up", summary, channel=channel)
    await server.until(lambda: world.rows(FeedbackRow, summary_id=summary), "the thumb is stored")
    view = await server.modal(ANA, "redraft_down", summary, channel=channel)
    await server.submit(ANA, view, reason="It misses the deadline.")
    await server.until(
        lambda: any(row.reason for row in world.rows(FeedbackRow, summary_id=summary)), "with its reason"
    )
    thumbs = {(row.author_id, row.thumb, row.reason) for row in world.rows(FeedbackRow, summary_id=summary)}
    assert thumbs == {("slack:U0TOMAS", "up", ""), ("slack:U0ANA", "down", "It misses the deadline.")}


async def test_sources_link_each_sentence_to_its_messages(world: World) -> None:
    channel, server = world.channel().id, world.slack
    ts = server.write(channel, ANA, "The boiler in room twelve is leaking since Tuesday.")
    summary, _ = await world.summary(TOMAS, channel)
    view = await server.modal(TOMAS, "redraft_sources", summary, channel=channel)
    assert f"<https://{HOST}/archives/{channel}/p{ts.replace('.', '')}|Ana>" in texts(view["blocks"])


async def test_the_home_brings_summaries_back_with_what_became_of_corrections(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 4)
    summary, _ = await world.summary(PRIYA, channel)
    view = await server.modal(PRIYA, "redraft_correct", summary, channel=channel)
    await server.submit(PRIYA, view, text0="Four jobs were checked by the three of us.")
    await server.until(lambda: world.rows(CorrectionRow, summary_id=summary), "it is stored")
    server.homes.pop(PRIYA, None)
    await server.happen({"type": "app_home_opened", "user": PRIYA, "channel": "D0X", "tab": "home"})
    home = (await server.until(lambda: server.homes.get(PRIYA), "the home is shown"))["blocks"]
    assert "Four jobs were checked" in texts(home) and "waiting for approval" in texts(home)
    assert buttons(home)["redraft_correct"] == summary
    # From there, with no message to answer in, everything works.
    view = await server.modal(PRIYA, "redraft_show", summary)
    assert "Four jobs were checked" in texts(view["blocks"])
    view = await server.modal(PRIYA, "redraft_sources", summary)
    assert "/archives/" in texts(view["blocks"])
    await server.click(PRIYA, "redraft_share", summary)
    await server.until(lambda: [one for one in server.posts if one["channel"] == channel], "it is shared")
    # Out of the channel, nothing of it is shown any more.
    server.channels[channel].members.remove(PRIYA)
    server.channels[channel].private = True
    server.homes.pop(PRIYA)
    await server.happen({"type": "app_home_opened", "user": PRIYA, "channel": "D0X", "tab": "home"})
    home = (await server.until(lambda: server.homes.get(PRIYA), "the home is shown"))["blocks"]
    summaries = texts(home).partition("Your corrections")[0]
    assert "Four jobs" not in summaries and "not in that channel any more" in summaries
    view = await server.modal(PRIYA, "redraft_show", summary)
    assert "not in that channel any more" in texts(view["blocks"])


async def test_reviewers_decide_in_their_channels_but_never_on_their_own(world: World) -> None:
    server = world.slack
    talk(server, REVIEWED, 8)
    texts_by = {ANA: "Every export job was checked before the lunch break.", TOMAS: "Eight jobs, all of them checked."}
    for author, text in texts_by.items():
        summary, _ = await world.summary(author, REVIEWED)
        view = await server.modal(author, "redraft_own", summary, channel=REVIEWED)
        await server.submit(author, view, text0=text)
    await server.until(lambda: len(world.rows(PairRow, channel=REVIEWED)) == 2, "both are stored")

    async def home(user: str) -> list[dict[str, Any]]:
        server.homes.pop(user, None)
        await server.happen({"type": "app_home_opened", "user": user, "channel": "D0X", "tab": "home"})
        return list((await server.until(lambda: server.homes.get(user), "the home is shown"))["blocks"])

    shown = texts(await home(KOFI))
    assert texts_by[ANA] in shown and texts_by[TOMAS] in shown and "waiting for your review" in shown
    # Ana is named too, but does not see her own; Priya is named and not in the channel; Tomas is not named.
    shown = texts(await home(ANA)).partition("waiting for your review")[2].partition("Your corrections")[0]
    assert texts_by[TOMAS] in shown and texts_by[ANA] not in shown
    assert "waiting for your review" not in texts(await home(PRIYA)) + texts(await home(TOMAS))

    pairs = {row.author_id: row for row in world.rows(PairRow, channel=REVIEWED)}
    blocks = await home(KOFI)
    values = {
        element["value"].partition(" ")[0]: element["value"]
        for block in blocks if block["type"] == "actions"
        for element in block["elements"] if element["action_id"] == "redraft_approve"
    }  # fmt: skip
    seen = len(server.ephemerals)
    # A click that no button offers: on her own.
    await server.click(ANA, "redraft_approve", values[pairs["slack:U0ANA"].id], channel=REVIEWED)
    await server.until(lambda: len(server.ephemerals) > seen, "she is told")
    assert "somebody else" in server.ephemerals[-1]["text"]
    await server.click(KOFI, "redraft_approve", values[pairs["slack:U0ANA"].id])
    await server.until(lambda: world.rows(PairRow, id=pairs["slack:U0ANA"].id)[0].state == "approved", "it is approved")
    view = await server.modal(KOFI, "redraft_edit", values[pairs["slack:U0TOMAS"].id])
    await server.submit(KOFI, view, text0="All eight jobs were checked, each before lunch.")
    await server.until(lambda: len(world.rows(PairRow, channel=REVIEWED)) == 3, "the edit is a pair of its own")
    edited = next(row for row in world.rows(PairRow, channel=REVIEWED) if row.editor_id)
    assert (edited.editor_id, edited.author_id) == ("slack:U0KOFI", "slack:U0TOMAS")
    shown = await home(ANA)
    value = next(
        element["value"]
        for block in shown if block["type"] == "actions"
        for element in block["elements"] if element["action_id"] == "redraft_reject"
    )  # fmt: skip
    view = await server.modal(ANA, "redraft_reject", value)
    assert (await server.submit(ANA, view, reason=" "))["response_action"] == "errors"
    await server.submit(ANA, view, reason="It says nothing of who did it.")
    await server.until(lambda: world.rows(PairRow, id=edited.id)[0].state == "rejected", "it is rejected")
    assert world.rows(PairRow, id=edited.id)[0].decided_by == "slack:U0ANA"


async def test_opting_out_takes_messages_out_of_what_is_stored_and_of_every_later_prompt(world: World) -> None:
    server = world.slack
    server.person("U0NORA", "Nora")
    channel = world.channel(ANA, "U0NORA").id
    server.write(channel, ANA, "I water the plants on Monday.", ago=900)
    server.write(channel, "U0NORA", "I water the plants on Friday.", ago=800)
    summary, shown = await world.summary(ANA, channel)
    assert "Friday" in shown
    view = await server.modal(ANA, "redraft_own", summary, channel=channel)
    await server.submit(ANA, view, text0="Ana waters on Monday, a colleague at the end of the week.")
    await server.until(lambda: "Thank you" in server.ephemerals[-1]["text"], "a pair is stored, and Ana thanked")
    before = len(server.ephemerals)
    await server.command("U0NORA", channel, "mydata", "/redraft")
    await server.until(lambda: len(server.ephemerals) == before + 1, "she is told what is stored")
    assert "1 messages" in server.ephemerals[-1]["text"] or "1 message" in server.ephemerals[-1]["text"]
    await server.command("U0NORA", channel, "optout", "/redraft")
    await server.until(lambda: len(server.ephemerals) == before + 2, "it is done")
    assert "Your messages have left" in server.ephemerals[-1]["text"]
    assert [row.text for row in world.rows(MessageRow, author_id="U0NORA")] == []
    [pair] = world.rows(PairRow, channel=channel)
    assert pair.state == "rejected" and "Friday" not in pair.dialogue and "Monday" in pair.dialogue
    _, shown = await world.summary(ANA, channel)
    assert "Friday" not in shown and "1 message by 1 person" in shown
    await server.command("U0NORA", channel, "optin", "/redraft")
    await server.until(lambda: "Welcome back" in server.ephemerals[-1]["text"], "she is in again")
    _, shown = await world.summary(ANA, channel)
    assert "Friday" in shown


# Who may read what --------------------------------------------------------------------------------------------------


async def test_another_channel_is_summarised_for_members_and_a_public_one_for_full_members_of_the_workspace(
    world: World,
) -> None:
    here = world.channel(ANA, TOMAS, PRIYA, GUEST, STRANGER).id
    public, private = world.channel(ANA).id, world.channel(ANA, private=True).id
    for channel in (public, private):
        world.slack.write(channel, ANA, "The vault code is in the safe.")
    for user, channel, may in [
        (ANA, private, True), (ANA, public, True), (TOMAS, public, True), (TOMAS, private, False),
        (GUEST, public, False), (STRANGER, public, False), (GUEST, private, False),
    ]:  # fmt: skip
        link = world.slack.permalink(channel, next(iter(world.slack.channels[channel].messages)))
        for text in (f"<#{channel}|x> 1d", link):
            told = await world.answer(user, here, text)
            said = texts(told.get("blocks", [])) + told["text"]
            assert ("vault code" in said) is may, (user, channel, text, said)
            assert may or "you are not in that channel" in said


async def test_a_mention_that_names_another_channel_is_answered_to_the_asker_alone(world: World) -> None:
    here, private = world.channel(ANA, TOMAS).id, world.channel(ANA, private=True).id
    world.slack.write(private, ANA, "The vault code is in the safe.")
    ts = world.slack.write(here, ANA, f"<@{BOT}> summarize <#{private}|x> 1d", ago=1)
    before = len(world.slack.ephemerals)
    await world.slack.happen({"type": "app_mention", "user": ANA, "text": f"<@{BOT}> summarize <#{private}|x> 1d",
                              "ts": ts, "channel": here})  # fmt: skip
    told = await world.slack.until(lambda: world.slack.ephemerals[before:], "she is answered")
    assert "vault code" in texts(told[0]["blocks"]) and told[0]["user"] == ANA
    assert [post for post in world.slack.posts if post["channel"] == here] == []
    # And sharing puts it back where it is from, not where she stands.
    await world.slack.click(ANA, "redraft_share", buttons(told[0]["blocks"])["redraft_share"], channel=here)
    await world.slack.until(lambda: [p for p in world.slack.posts if p["channel"] == private], "it is shared there")
    assert [post for post in world.slack.posts if post["channel"] == here] == []


async def test_a_channel_without_the_app_says_how_to_invite_it(world: World) -> None:
    public = world.channel(ANA, with_bot=False)
    private = world.channel(ANA, with_bot=False, private=True)
    assert "/invite @redraft" in (await world.answer(ANA, public.id))["text"]
    assert "#" + public.name in (await world.answer(ANA, public.id))["text"]
    assert "/invite @redraft" in (await world.answer(ANA, private.id))["text"]


async def test_whoever_leaves_before_the_answer_is_not_shown_it(world: World) -> None:
    here, other = world.channel(TOMAS).id, world.channel(TOMAS, ANA, private=True).id
    world.slack.write(other, ANA, "The cellar code is in the safe.")
    members = world.slack.channels[other].members
    page = {"ok": True, "members": list(members), "has_more": False, "response_metadata": {"next_cursor": ""}}
    # The first look finds him, the second one does not.
    world.slack.instead["conversations.members"].append((200, {}, page))
    members.remove(TOMAS)
    told = await world.answer(TOMAS, here, f"<#{other}|x> 1d")
    assert "you are not in that channel" in told["text"] and "cellar" not in str(told)
    assert not any("cellar" in row.text for row in world.rows(SummaryRow))


# Once, and whatever Slack answers -----------------------------------------------------------------------------------


async def test_each_delivery_is_done_once_however_often_and_in_whatever_order_it_comes(world: World) -> None:
    channel, server = world.channel().id, world.slack
    ts = server.write(channel, ANA, "Where is the key?", ago=500)
    events = [
        server.event({"type": "app_mention", "user": ANA, "text": f"<@{BOT}> summarize", "ts": f"170000000{n}.000100",
                      "channel": channel, "thread_ts": ts})
        for n in range(3)
    ]  # fmt: skip
    command = server.slash(ANA, channel, "")
    before = len(server.ephemerals)
    for number in (2, 0, 1, 0, 2, 1, 1, 0, 2, 0, 1, 2):
        await server.ack(await server.send("events_api", events[number]))
        if number == 1:
            await server.ack(await server.send("slash_commands", command))
    await server.until(lambda: sum(bool(p.get("blocks")) for p in server.posts if p["channel"] == channel) == 3, "all")
    await server.until(lambda: len(server.ephemerals) > before, "the command is answered")
    assert len([post for post in server.posts if post["channel"] == channel and not post["deleted"]]) == 3
    assert len(server.ephemerals) == before + 1


async def test_rate_limits_and_failures_of_slack_delay_an_answer_and_lose_nothing(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    limited = (429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"})
    broken: tuple[int, dict[str, str], dict[str, Any]] = (500, {}, {"ok": False, "error": "internal_error"})
    server.instead["conversations.history"] += [limited, broken]
    server.instead["conversations.info"] += [broken, limited]
    server.instead["response_url"] += [(404, {}, {})]
    server.instead["chat.postEphemeral"] += [limited]
    _, shown = await world.summary(ANA, channel)
    assert "3 messages" in shown
    assert all(not left for left in server.instead.values())


async def test_a_topic_with_slacks_own_marks_is_shown_as_a_person_would_write_it(world: World) -> None:
    channel = world.channel().id
    world.slack.write(channel, ANA, "Tomas sent the R&amp;D invoices.", ago=100)
    _, shown = await world.summary(ANA, channel, f"1d about R&amp;D invoices of <@{TOMAS}|tomas>")
    assert "about R&amp;D invoices of @Tomas" in shown and "<@" not in shown


async def test_direct_messages_are_not_read_and_a_private_channels_name_stays_private(world: World) -> None:
    told = await world.answer(ANA, "D0DIRECT")
    assert "no direct messages" in told["text"]
    private, channel = world.channel(ANA, private=True), world.channel().id
    world.slack.write(channel, ANA, f"As said in <#{private.id}> and <#{channel}>, all is well.")
    _, shown = await world.summary(TOMAS, channel)
    assert (
        private.name not in shown and "#private-channel" in shown and f"#{world.slack.channels[channel].name}," in shown
    )


async def test_whoever_left_the_channel_in_which_they_asked_is_not_sent_its_summary(world: World) -> None:
    channel, server = world.channel(ANA, TOMAS, private=True), world.slack
    server.write(channel.id, ANA, "The attic code is on the door.")
    payload = server.slash(TOMAS, channel.id, "")
    channel.members.remove(TOMAS)
    server.instead["response_url"] += [(404, {}, {})] * 2
    before = len(server.posts)
    await server.ack(await server.send("slash_commands", payload))
    await server.until(lambda: len(server.posts) > before, "he is told in his own messages")
    assert server.posts[-1]["channel"] == TOMAS and "not in that channel any more" in server.posts[-1]["text"]
    assert not any("attic" in str(one) for one in (*server.posts, *server.ephemerals))


async def test_what_may_not_be_posted_is_told(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    server.channels[channel].archived = True
    before = len(server.ephemerals)
    await server.click(ANA, "redraft_share", summary, channel=channel)
    await server.until(lambda: len(server.ephemerals) > before, "she is told")
    assert "archived" in server.ephemerals[-1]["text"]


async def test_a_trigger_that_has_expired_is_told_as_such(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    before = len(server.ephemerals)
    server.instead["views.open"].append((200, {}, {"ok": False, "error": "expired_trigger_id"}))
    await server.click(ANA, "redraft_correct", summary, channel=channel)
    await server.until(lambda: len(server.ephemerals) > before, "she is told")
    assert "press it again" in server.ephemerals[-1]["text"]


async def test_a_correction_that_slack_delivers_four_times_is_taken_once(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    view = await server.modal(ANA, "redraft_correct", summary, channel=channel)
    payload = server.submission(ANA, view, text0="All three of the jobs were checked by noon.")
    for _ in range(4):
        await server.ack(await server.send("interactive", payload))
    # Another submission of the same text is no second correction either.
    seen = len(server.ephemerals)
    await server.submit(ANA, view, text0="All three of the jobs were checked by noon.")
    await server.until(lambda: any("there already" in one["text"] for one in server.ephemerals[seen:]), "it is told")
    assert len(world.rows(CorrectionRow, summary_id=summary)) == 1
    assert len(world.rows(PairRow, channel=channel)) == 1


async def test_a_long_summary_is_corrected_in_parts_and_shared_in_several_messages(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    view = await server.modal(ANA, "redraft_correct", summary, channel=channel)
    sentences = [f"Sentence number {n} of a long report says that job {n} & its neighbour are done." for n in range(90)]
    first = " ".join(sentences)[:2900]
    await server.submit(ANA, view, text0=first)
    await server.until(lambda: world.rows(CorrectionRow, summary_id=summary), "the first is stored")
    for number in range(1, 5):
        view = await server.modal(TOMAS, "redraft_correct", summary, channel=channel)
        inputs = [block for block in view["blocks"] if block["block_id"].startswith("text")]
        assert inputs[0]["label"]["text"].endswith(f"part 1 of {len(inputs)}") or len(inputs) == 1
        last = inputs[-1]["block_id"]
        text = inputs[-1]["element"]["initial_value"] + f"\n\nPart {number}. " + first[: 2900 - 200]
        await server.submit(TOMAS, view, **{last: text[:3000]})
        await server.until(lambda n=number: len(world.rows(CorrectionRow, summary_id=summary)) == n + 1, "stored")
    newest = max(world.rows(CorrectionRow, summary_id=summary), key=lambda row: row.created_at)
    assert newest.text.startswith(first) and len(newest.text) > 3000
    await server.click(ANA, "redraft_share", summary, channel=channel)
    await server.until(lambda: [one for one in server.posts if one["channel"] == channel], "it is shared")
    await server.until(lambda: any(one["text"] == "Shared." for one in server.ephemerals[-3:]), "all of it")
    shown = "".join(texts(one["blocks"]) for one in server.posts if one["channel"] == channel)
    assert "".join(newest.text.replace("&", "&amp;").split()) in "".join(shown.split())


async def test_opting_out_in_the_home_does_the_same(world: World) -> None:
    server = world.slack
    server.person("U0OMAR", "Omar")
    await server.happen({"type": "app_home_opened", "user": "U0OMAR", "channel": "D0X", "tab": "home"})
    home = (await server.until(lambda: server.homes.get("U0OMAR"), "the home is shown"))["blocks"]
    assert "Nothing is stored about you" in texts(home)
    await server.click("U0OMAR", "redraft_optout", buttons(home)["redraft_optout"])
    await server.until(lambda: "You have opted out" in texts(server.homes["U0OMAR"]["blocks"]), "it is shown")
    await server.click("U0OMAR", "redraft_optin", "optin")
    await server.until(lambda: "You have opted out" not in texts(server.homes["U0OMAR"]["blocks"]), "and taken back")


async def test_a_thread_whose_parent_was_deleted_is_summarised_from_its_replies(world: World) -> None:
    channel, server = world.channel().id, world.slack
    parent = server.write(channel, ANA, "Where shall we meet?", ago=500)
    server.write(channel, TOMAS, "At the fountain.", ago=400, thread=parent)
    server.channels[channel].messages[parent] |= {"subtype": "tombstone", "user": "USLACKBOT", "text": "deleted"}
    _, shown = await world.summary(ANA, channel, server.permalink(channel, parent))
    assert "At the fountain" in shown and "1 message by 1 person" in shown


# What changes in Slack ----------------------------------------------------------------------------------------------


async def test_edits_and_deletions_reach_what_is_stored_and_take_its_pairs_back(world: World) -> None:
    channel, server = world.channel().id, world.slack
    edited = server.write(channel, ANA, "The party is on Friday.", ago=900)
    deleted = server.write(channel, TOMAS, "The gift is a surprise.", ago=800)
    summary, _ = await world.summary(ANA, channel)
    view = await server.modal(ANA, "redraft_own", summary, channel=channel)
    await server.submit(ANA, view, text0="There will be a party with a gift at the week's end.")
    await server.until(lambda: world.rows(PairRow, channel=channel), "a pair is stored")
    messages = server.channels[channel].messages
    before = dict(messages[edited])
    messages[edited] |= {"text": "The party is on Saturday.", "edited": {"user": ANA, "ts": f"{time.time():.6f}"}}
    change = {"type": "message", "subtype": "message_changed", "channel": channel, "ts": "1.2", "hidden": True,
              "message": messages[edited], "previous_message": before}  # fmt: skip
    await server.happen(change)
    await server.until(
        lambda: world.rows(MessageRow, id=edited)[0].text == "The party is on Saturday.", "it is changed"
    )
    [pair] = world.rows(PairRow, channel=channel)
    assert pair.state == "rejected" and "Saturday" in pair.dialogue and "Friday" not in pair.dialogue
    # What Slack reports of our own answers, or of previews, is no job.
    jobs = len(world.rows(ChatJobRow))
    own = {"ts": "1.5", "bot_id": "B0REDRAFT", "text": "x"}
    await server.happen({**change, "message": own, "previous_message": {**own, "text": "y"}})
    await server.happen({**change, "message": messages[edited], "previous_message": messages[edited]})
    assert len(world.rows(ChatJobRow)) == jobs
    gone = messages.pop(deleted)
    await server.happen({"type": "message", "subtype": "message_deleted", "channel": channel, "ts": "1.3",
                         "hidden": True, "deleted_ts": deleted, "previous_message": gone})  # fmt: skip
    await server.until(lambda: world.rows(MessageRow, id=deleted) == [], "it is gone")
    [pair] = world.rows(PairRow, channel=channel)
    assert "gift is a surprise" not in pair.dialogue


async def test_alerts_come_to_the_admin_channel_once_with_the_command_to_type(world: World) -> None:
    for _ in range(2):
        with world.stored.write() as session:
            raise_alert(
                session,
                kind="run-failed",
                subject="run1",
                sentence="The fine-tune failed.",
                command="redraft runs show run1",
            )
    posted = await world.slack.until(lambda: [p for p in world.slack.posts if p["channel"] == ADMINS], "it is told", 40)
    assert "The fine-tune failed." in texts(posted[0]["blocks"]) and "redraft runs show run1" in texts(
        posted[0]["blocks"]
    )
    assert len(posted) == 1


async def test_nothing_that_people_wrote_and_no_token_is_in_the_log(world: World) -> None:
    log = world.bot.log()
    assert "xoxb-" not in log and "xapp-" not in log and "ticket=" not in log and "/response/" not in log
    for said in ("vault code", "export job", "The party is", "water the plants", "since the meeting"):
        assert said not in log
