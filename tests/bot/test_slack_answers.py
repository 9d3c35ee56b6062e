"""What people do with answers in Slack: correct, thumb, share, look at sources and the home, decide, opt out."""

from __future__ import annotations

from typing import Any

from storage.learning_tables import CorrectionRow, PairRow
from storage.tables import FeedbackRow, MessageRow
from tests.bot.slack_team import ANA, KOFI, PRIYA, TOMAS, talk
from tests.bot.slack_world import IN_THE_WORLD, REVIEWED, World
from tests.slack_server.server import HOST, TEAM, buttons, texts

pytestmark = IN_THE_WORLD


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
    pairs = world.rows(PairRow, channel=channel)
    replaced = {row.supersedes for row in pairs}
    origins = sorted((row.origin, row.author_id) for row in pairs if row.id not in replaced)
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


async def test_two_shares_at_once_post_one_message_and_the_other_is_told(world: World) -> None:
    channel, server = world.channel().id, world.slack
    talk(server, channel, 3)
    summary, _ = await world.summary(ANA, channel)
    seen = len(server.ephemerals)
    payloads = [server.click_payload(user, "redraft_share", summary, channel=channel) for user in (ANA, TOMAS, PRIYA)]
    for envelope in [await server.send("interactive", payload) for payload in payloads]:
        await server.ack(envelope)
    told = await server.until(
        lambda: len(server.ephemerals) == seen + 3 and [one["text"] for one in server.ephemerals[seen:]], "all are told"
    )
    assert len([post for post in server.posts if post["channel"] == channel]) == 1
    assert sum(text == "Shared." for text in told) == 1
    assert all("shar" in text.lower() for text in told)
    await server.click(PRIYA, "redraft_share", summary, channel=channel)
    await server.until(lambda: server.ephemerals[-1]["text"] == "It is shared already.", "she is told")
    assert len([post for post in server.posts if post["channel"] == channel]) == 1


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
    summaries, _, corrections = texts(home).partition("Your corrections")
    for shown in (summaries, corrections):
        assert "Four jobs" not in shown and "not in that channel any more" in shown
    assert buttons(home)["redraft_optout"] == "optout", "the way out is always there"
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
        for element in block["elements"]
        if element["action_id"] == "redraft_reject" and element["value"].startswith(edited.id)
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
    hers = {"is_share": True, "author_id": "U0NORA", "author_name": "Nora Example", "text": "I water on Friday."}
    server.write(channel, ANA, "As she said.", attachments=[hers], ago=700)
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
    assert "As she said." in [row.text for row in world.rows(MessageRow, author_id=ANA)]
    [pair] = world.rows(PairRow, channel=channel)
    assert pair.state == "rejected" and "Friday" not in pair.dialogue and "Monday" in pair.dialogue
    _, shown = await world.summary(ANA, channel)
    assert "Friday" not in shown and "2 messages by 1 person" in shown
    # Nor do others bring her words in, by sharing them.
    quote = {"is_msg_unfurl": True, "is_share": True, "author_name": "Nora", "text": "I water the plants on Friday.",
             "from_url": server.permalink(channel, "1700000000.000001"), "fallback": "plants on Friday"}  # fmt: skip
    server.write(channel, ANA, "See above.", attachments=[{**quote, "author_id": "U0NORA"}], ago=90)
    server.write(channel, ANA, "And here.", attachments=[quote], ago=80)
    server.write(channel, ANA, "By Tomas.", attachments=[{**quote, "author_id": TOMAS, "text": "On Sunday."}], ago=70)
    _, shown = await world.summary(ANA, channel)
    assert "Friday" not in shown and "5 messages by 1 person" in shown
    stored = [row.text for row in world.rows(MessageRow, author_id=ANA)]
    assert any("On Sunday" in text for text in stored) and not any("on Friday" in text for text in stored)
    await server.command("U0NORA", channel, "optin", "/redraft")
    await server.until(lambda: "Welcome back" in server.ephemerals[-1]["text"], "she is in again")
    _, shown = await world.summary(ANA, channel)
    assert "Friday" in shown
