"""Who may read what in Slack; each delivery once; and what changes in Slack after it was read."""

from __future__ import annotations

import time
from typing import Any

from engine.learning.alerts import raise_alert
from storage.chat_tables import ChatJobRow
from storage.learning_tables import CorrectionRow, PairRow
from storage.tables import FeedbackRow, MessageRow, SummaryRow
from tests.bot.slack_team import ANA, GUEST, KOFI, PRIYA, STRANGER, TOMAS, talk
from tests.bot.slack_world import ADMINS, IN_THE_WORLD, World
from tests.slack_server.server import BOT, buttons, texts

pytestmark = IN_THE_WORLD


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


async def test_who_cannot_read_a_channel_can_neither_open_nor_correct_its_summaries(world: World) -> None:
    channel, server = world.channel(ANA, private=True).id, world.slack
    server.write(channel, ANA, "The shed code is under the mat.")
    summary, _ = await world.summary(ANA, channel)
    for action in ("redraft_correct", "redraft_own", "redraft_sources", "redraft_show", "redraft_down"):
        view = await server.modal(KOFI, action, summary)
        assert "not in that channel" in texts(view["blocks"]) and "shed" not in str(view)
    view = await server.modal(ANA, "redraft_own", summary, channel=channel)
    await server.submit(KOFI, view, text0="I know nothing of this and say so at length.")
    await server.submit(ANA, view, text0="Ana says where the code of the shed is kept.")
    await server.until(lambda: world.rows(CorrectionRow, summary_id=summary), "hers is stored")
    before = len(server.posts)
    await server.click(KOFI, "redraft_up", summary, channel=channel)
    await server.until(lambda: len(server.posts) > before or "not in that" in server.ephemerals[-1]["text"], "told")
    assert [row.author_id for row in world.rows(CorrectionRow, summary_id=summary)] == ["slack:U0ANA"]
    assert world.rows(FeedbackRow, summary_id=summary) == []
    [pair] = world.rows(PairRow, channel=channel)
    assert (pair.public, pair.direct) == (False, False), "it trains none but its own channel's adapter"


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


async def test_whoever_left_a_channel_that_the_app_left_as_well_is_not_sent_its_summary(world: World) -> None:
    channel, server = world.channel(ANA, TOMAS, private=True), world.slack
    server.write(channel.id, ANA, "The cellar code is on the door.")
    payload = server.slash(TOMAS, channel.id, "")
    server.instead["response_url"] += [(404, {}, {})] * 3
    server.instead["chat.postEphemeral"].append((200, {}, {"ok": False, "error": "channel_not_found"}))
    before = len(server.posts)
    channel.members.remove(TOMAS)
    await server.ack(await server.send("slash_commands", payload))
    await server.until(lambda: len(server.posts) > before, "he is told in his own messages")
    assert not any("cellar" in str(one) for one in (*server.posts, *server.ephemerals))


async def test_one_refused_call_does_not_end_the_bot(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    server.instead["conversations.history"].append((200, {}, {"ok": False, "error": "access_denied"}))
    before = len(server.ephemerals)
    await server.ack(await server.send("slash_commands", server.slash(ANA, channel, "")))
    await server.until(lambda: len(server.ephemerals) > before, "she is told")
    summary, _ = await world.summary(TOMAS, channel)
    assert summary


async def test_what_may_not_be_posted_is_told(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    server.channels[channel].archived = True
    before = len(server.ephemerals)
    await server.click(ANA, "redraft_share", summary, channel=channel)
    await server.until(lambda: len(server.ephemerals) > before, "she is told")
    assert "archived" in server.ephemerals[-1]["text"]


async def test_an_archived_channel_can_be_read_from_elsewhere_and_asked_in_itself(world: World) -> None:
    here, old = world.channel().id, world.channel()
    world.slack.write(old.id, ANA, "The project is over.")
    old.archived = True
    assert "project is over" in texts((await world.answer(ANA, here, f"<#{old.id}|x> 1d"))["blocks"])
    assert "project is over" in texts((await world.answer(ANA, old.id))["blocks"])


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
