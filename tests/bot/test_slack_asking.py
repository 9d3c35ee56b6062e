"""What can be asked of Slack's bot, in channels and threads, and what is read for it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from storage.tables import SummaryRow
from tests.bot.slack_team import ANA, PRIYA, TOMAS, talk
from tests.bot.slack_world import IN_THE_WORLD, World
from tests.slack_server.server import BOT, TEAM, buttons, texts

pytestmark = IN_THE_WORLD


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


async def test_replies_to_threads_that_began_before_the_stretch_are_part_of_it(world: World) -> None:
    channel = world.channel().id
    old = world.slack.write(channel, ANA, "Shall we move the release?", ago=9 * 3600)
    world.slack.write(channel, PRIYA, "An old answer.", ago=8 * 3600, thread=old)
    world.slack.write(channel, ANA, "Something else of long ago.", ago=7 * 3600)
    world.slack.write(channel, TOMAS, "Moved to Thursday after all.", ago=600, thread=old)
    world.slack.write(channel, PRIYA, "Coffee is ready.", ago=500)
    _, shown = await world.summary(ANA, channel, "2h")
    assert "Moved to Thursday" in shown and "Shall we move" in shown and "3 messages" in shown
    assert "An old answer" not in shown and "long ago" not in shown


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


async def test_a_style_that_the_model_cannot_honour_is_told_with_those_that_it_can(world: World) -> None:
    channel = world.channel().id
    talk(world.slack, channel, 3)
    told = await world.answer(ANA, channel, "1w actions")
    assert "cannot honour the style “actions”" in told["text"] and "brief and detailed" in told["text"]


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


async def test_an_answer_whose_stream_was_refused_on_the_way_is_posted_whole(world: World) -> None:
    channel, server = world.channel().id, world.slack
    parent = server.write(channel, ANA, "Where is the ladder?", ago=500)
    for number in range(6):
        server.write(channel, TOMAS, f"Ladder {number} is in cellar {number}.", ago=400 - number, thread=parent)
    ts = server.write(channel, PRIYA, f"<@{BOT}> summarize", ago=1, thread=parent)
    server.instead["chat.appendStream"] += [(200, {}, {"ok": False, "error": "message_not_in_streaming_state"})] * 9
    await server.happen({"type": "app_mention", "user": PRIYA, "text": f"<@{BOT}> summarize", "ts": ts,
                         "channel": channel, "thread_ts": parent})  # fmt: skip
    [post] = await server.until(
        lambda: [p for p in server.posts if p["channel"] == channel and p.get("blocks")], "it ends"
    )
    summary = buttons(post["blocks"])["redraft_correct"]
    [row] = world.rows(SummaryRow, id=summary)
    server.instead["chat.appendStream"].clear()
    shown = "".join(texts(post["blocks"]).split()) + "".join(post.get("streamed", "").split())
    assert all("".join(line.split()) in shown for line in row.text.split("\n")), "a part of it is missing"


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
