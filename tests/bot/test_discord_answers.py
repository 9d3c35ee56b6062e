"""What can be done with an answer in Discord: corrections, thumbs, sources, sharing, and what `/redraft` brings."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from storage.learning_tables import CorrectionRow, PairRow
from storage.tables import FeedbackRow, MessageRow
from tests.bot.discord_world import IN_THE_GUILD, Acme
from tests.discord_server.objects import text_of
from tests.discord_server.world import Message

pytestmark = IN_THE_GUILD
OWN_WORDS = "Ana wants the release moved to Thursday, and everybody agrees with her on that."
_numbers = itertools.count(1)


def words() -> str:
    """What nobody has written before: a pair is stored once."""
    return f"{OWN_WORDS} That makes {next(_numbers)}."


async def talked(acme: Acme, where: Any = None) -> Any:
    channel = where or await acme.room()
    acme.talk(channel, 4)
    return channel


def summary_id(acme: Acme, message: Message) -> str:
    return acme.server.buttons(message)["Correct"].rpartition(":")[2]


async def test_a_private_answer_has_its_buttons_and_says_what_it_covers(acme: Acme) -> None:
    answer = await acme.summary(acme.ana, await talked(acme))
    assert answer.seen_by is acme.ana
    assert list(acme.server.buttons(answer)) == ["Share", "Correct", "Write my own", "Sources", "👍", "👎"]
    said = text_of(answer)
    assert "4 messages by 3 people, <t:" in said and "Only you can see this" in said and "base model" in said
    [drafted] = {text for _, text in answer.drafts if "said The export job" in text and "messages by" not in text} or [
        ""
    ]
    assert drafted, "it shows as it is written"


async def test_a_correction_is_shown_attributed_stored_and_becomes_a_pair(acme: Acme) -> None:
    channel = await talked(acme)
    answer = await acme.summary(acme.ana, channel)
    opened = await acme.server.press(acme.ana, answer, "Correct")
    modal = await opened.shown_modal()
    assert modal["title"] == "Correct the summary"
    sent = await acme.server.submit(opened, text0=OWN_WORDS, about="wrong")
    assert "Thank you" in text_of(await sent.followup(1))
    # In place of the draft, for the person whose message it is.
    assert OWN_WORDS in text_of(answer) and "**Corrected by Ana**" in text_of(answer)
    [correction] = acme.rows(CorrectionRow, summary_id=summary_id(acme, answer))
    assert (correction.author_id, correction.author, correction.kind, correction.about) == (
        f"discord:{acme.ana.id}", "Ana", "edited", "wrong",
    )  # fmt: skip
    [pair] = acme.rows(PairRow, id=correction.pair_id)
    assert (pair.platform, pair.workspace, pair.channel, pair.public, pair.state) == (
        "discord", str(acme.acme.id), str(channel.id), True, "pending",
    )  # fmt: skip

    # A second one builds on the first, and both are kept.
    opened = await acme.server.press(acme.ana, answer, "Correct")
    assert OWN_WORDS in json.dumps(await opened.shown_modal())
    sent = await acme.server.submit(opened, text0=OWN_WORDS + " Tomas orders the cake for the whole team.")
    await sent.followup(1)
    assert "orders the cake" in text_of(answer)
    rows = acme.rows(CorrectionRow, summary_id=summary_id(acme, answer))
    assert {row.builds_on for row in rows} == {"", correction.id}


async def test_own_words_are_written_with_the_draft_out_of_sight_and_marked_as_blind(acme: Acme) -> None:
    answer = await acme.summary(acme.ana, await talked(acme))
    draft = text_of(answer)
    hide = await acme.server.press(acme.ana, answer, "Write my own")
    await hide.acknowledged()
    assert "draft is hidden" in text_of(answer) and "export job" not in text_of(answer)
    # Somebody who thinks better of it gets it back.
    back = await acme.server.press(acme.ana, answer, "Show the draft")
    await back.acknowledged()
    await acme.server.until(lambda: text_of(answer) == draft, "the draft is back")

    await (await acme.server.press(acme.ana, answer, "Write my own")).acknowledged()
    opened = await acme.server.press(acme.ana, answer, "Write my own")
    modal = await opened.shown_modal()
    assert modal["title"] == "Write your own" and "export job" not in json.dumps(modal)
    sent = await acme.server.submit(opened, text0=OWN_WORDS)
    await sent.followup(1)
    assert OWN_WORDS in text_of(answer) and "draft is hidden" not in text_of(answer)
    [row] = acme.rows(CorrectionRow, summary_id=summary_id(acme, answer))
    assert row.kind == "blind"


async def test_a_long_text_is_corrected_in_several_inputs_and_part_by_part(acme: Acme) -> None:
    answer = await acme.summary(acme.ana, await talked(acme))
    paragraphs = [f"Paragraph {n}. " + f"Word{n} is said here. " * 140 for n in range(6)]
    whole = "\n\n".join(part.strip() for part in paragraphs)
    assert len(whole) > 16_000
    opened = await acme.server.press(acme.ana, answer, "Correct")
    await (await acme.server.submit(opened, text0=whole[:3_900])).followup(1)
    row = max(acme.rows(CorrectionRow, summary_id=summary_id(acme, answer)), key=lambda one: one.created_at)
    from bot import feedback
    from engine.learning.settings import LearningSettings

    feedback.correct(
        acme.bot.stored, LearningSettings.load(), summary_id=row.summary_id, person=f"discord:{acme.ana.id}",
        name="Ana", text=whole, blind=False, builds_on=row.id,
    )  # fmt: skip
    opened = await acme.server.press(acme.ana, answer, "Correct")
    modal = await opened.shown_modal()
    assert len(modal["components"]) == 5 and all(len(json.dumps(one)) < 4_600 for one in modal["components"])
    sent = await acme.server.submit(opened, text1="The second part is short now.")
    told = await acme.server.until(
        lambda: next((one for one in sent.followups if acme.server.buttons(one).get("Correct the next part")), None),
        "the next part can be corrected",
    )
    opened = await acme.server.press(acme.ana, told, "Correct the next part")
    assert "part 4 of 5" in json.dumps(await opened.shown_modal())
    sent = await acme.server.submit(opened, text0="The fifth part is short now.", text1="")
    await sent.followup(1)
    newest = max(acme.rows(CorrectionRow, summary_id=row.summary_id), key=lambda one: one.created_at).text
    assert "Word0" in newest and "Word2" in newest and "Word3" in newest
    assert "The second part is short now." in newest and "The fifth part is short now." in newest
    assert "Word1 " not in newest and "Word4 " not in newest


async def test_sharing_posts_it_once_where_it_is_of_and_corrections_reach_it_there(acme: Acme) -> None:
    channel = await talked(acme)
    answer = await acme.summary(acme.ana, acme.general, channel=channel)
    before = len(acme.server.posts)
    said = [await acme.pressed(acme.ana, answer, "Share") for _ in range(2)]
    assert said == ["Shared.", "It is shared already."]
    [post] = [one for one in acme.server.posts[before:] if one.channel is channel]
    assert "Shared by Ana" in text_of(post) and "Only you" not in text_of(post)
    assert "Share" not in acme.server.buttons(post)

    # A colleague corrects what stands there, and everybody sees it.
    opened = await acme.server.press(acme.priya, post, "Correct")
    sent = await acme.server.submit(opened, text0=OWN_WORDS)
    assert "Thank you" in text_of(await sent.answer())
    await acme.server.until(lambda: OWN_WORDS in text_of(post), "the post is changed")
    assert "**Corrected by Priya**" in text_of(post) and "Shared by Ana" in text_of(post)
    assert sent.original is not None and sent.original.seen_by is acme.priya


async def test_a_shared_answer_is_for_everybody_from_the_start(acme: Acme) -> None:
    channel = await talked(acme)
    answer = await acme.summary(acme.ana, channel, share=True)
    assert answer.seen_by is None and "Only you" not in text_of(answer)
    assert "Share" not in acme.server.buttons(answer)
    opened = await acme.server.press(acme.tomas, answer, "Write my own")
    sent = await acme.server.submit(opened, text0=OWN_WORDS)
    assert "Thank you" in text_of(await sent.answer())
    await acme.server.until(lambda: OWN_WORDS in text_of(answer), "the answer is changed")


async def test_thumbs_are_taken_a_thumb_down_with_its_reason(acme: Acme) -> None:
    answer = await acme.summary(acme.ana, await talked(acme))
    assert "👍 noted" in await acme.pressed(acme.ana, answer, "👍")
    opened = await acme.server.press(acme.ana, answer, "👎")
    sent = await acme.server.submit(opened, text0="It leaves out the cake.")
    assert "👎 noted" in text_of(await sent.answer())
    [row] = acme.rows(FeedbackRow, summary_id=summary_id(acme, answer), author_id=f"discord:{acme.ana.id}")
    assert (row.thumb, row.reason) == ("down", "It leaves out the cake.")


async def test_sources_tie_sentences_to_messages(acme: Acme) -> None:
    channel = await talked(acme)
    said = await acme.pressed(acme.ana, await acme.summary(acme.ana, channel), "Sources")
    assert f"](https://discord.com/channels/{acme.acme.id}/{channel.id}/" in said


async def test_recent_brings_back_what_vanished_and_hides_what_may_not_be_read_any_more(acme: Acme) -> None:
    who = acme.server.person("nadia", "Nadia")
    acme.server.member(acme.acme, who)
    asked = await acme.server.slash(who, acme.general, "redraft recent")
    assert await acme.told(asked) == "None yet."
    channel, closed = await talked(acme), await talked(acme)
    for where in (channel, closed):
        await acme.summary(who, where)
    closed.allow(who, 0, 1 << 10)
    asked = await acme.server.slash(who, acme.general, "redraft recent")
    listed = await asked.answer()
    assert "**1** · You are not in that channel any more" in text_of(listed)
    assert f"**2 · #{channel.name}".replace("-", r"\-") in text_of(listed) or channel.name in text_of(listed)
    shown = await acme.server.press(who, listed, "Show 2")
    again = await shown.answer()
    assert "4 messages" in text_of(again) and "Correct" in acme.server.buttons(again)


async def test_my_data_and_opting_out_and_in(acme: Acme) -> None:
    channel, who = await acme.room(), acme.server.person("omar", "Omar")
    acme.server.member(acme.acme, who)
    for number in range(3):
        acme.server.write(channel, who, f"Omar's word number {number}.", ago=100 - number)
        acme.server.write(channel, acme.ana, f"Ana's word number {number}.", ago=90 - number)
    assert "6 messages by 2 people" in await acme.said(acme.ana, channel)

    async def word(name: str) -> str:
        return await acme.told(await acme.server.slash(who, acme.general, f"redraft {name}"))

    shared = await acme.room()
    acme.server.forward(shared, acme.ana, next(one for one in channel.history if one.author is who), ago=50)
    assert "Omar's word" in await acme.said(acme.ana, shared)
    assert "3 messages" in await word("mydata")
    assert "have left what is stored" in await word("optout")
    assert acme.rows(MessageRow, author_id=str(who.id)) == []
    said = await acme.said(acme.ana, channel)
    assert "3 messages by 1 person" in said and "Omar's word" not in said
    # Nor is it read where others forward it.
    assert "Omar's word" not in await acme.said(acme.ana, shared)
    assert "You have opted out" in await word("mydata")
    assert "Welcome back" in await word("optin")
    assert "6 messages" in await acme.said(acme.ana, channel)
    assert "/summarize alone" in await word("help")


async def test_my_data_is_told_in_the_apps_own_messages_too(acme: Acme) -> None:
    asked = await acme.server.slash(acme.priya, acme.server.direct(acme.priya), "redraft mydata")
    assert "stored about you" in (await acme.told(asked)).lower()


async def corrected(acme: Acme, text: str, who: Any = None) -> CorrectionRow:
    answer = await acme.summary(who or acme.tomas, acme.reviewed)
    opened = await acme.server.press(who or acme.tomas, answer, "Correct")
    sent = await acme.server.submit(opened, text0=text)
    await sent.followup(1)
    return max(acme.rows(CorrectionRow, summary_id=summary_id(acme, answer)), key=lambda one: one.created_at)


async def test_reviewers_named_for_a_channel_approve_reject_and_edit_there(acme: Acme) -> None:
    await talked(acme, acme.reviewed)
    # An author decides on nothing of their own, and nobody decides who is not named.
    own = await corrected(acme, "Ana says that every export job is checked before lunch by the team.", acme.ana)
    assert "Nobody named you" in await acme.told(await acme.server.slash(acme.tomas, acme.general, "redraft review"))
    waiting = await acme.told(await acme.server.slash(acme.ana, acme.general, "redraft review"))
    assert waiting == "Nothing waits for your review."

    async def shown() -> Message:
        asked = await acme.server.slash(acme.kofi, acme.general, "redraft review")
        return await asked.answer()

    first = await shown()
    assert "**" in text_of(first) and "Ana" in text_of(first)
    assert list(acme.server.buttons(first)) == ["Approve", "Reject", "Edit"]
    stale = await shown()
    await (await acme.server.press(acme.kofi, first, "Approve")).acknowledged()
    await acme.server.until(lambda: text_of(first) == "Approved.", "it is approved")
    assert acme.rows(PairRow, id=own.pair_id)[0].state == "approved"
    assert acme.server.buttons(first) == {}
    # What was decided since it was shown is not decided again.
    late = await acme.server.press(acme.kofi, stale, "Approve")
    assert "changed" in text_of(await late.followup(1))

    other = await corrected(acme, "Tomas says that the team looks after all of the export jobs at noon.")
    rejecting = await shown()
    opened = await acme.server.press(acme.kofi, rejecting, "Reject")
    await acme.server.submit(opened, text0="That is not what was said.")
    await acme.server.until(lambda: text_of(rejecting) == "Rejected.", "it is rejected")
    assert acme.rows(PairRow, id=other.pair_id)[0].reject_reason == "That is not what was said."

    third = await corrected(acme, "Tomas says that three people look after every export job before they eat.")
    editing = await shown()
    opened = await acme.server.press(acme.kofi, editing, "Edit")
    await acme.server.submit(opened, text0="Three people check each export job, and they do it before their lunch.")
    await acme.server.until(lambda: "your version" in text_of(editing), "it is edited")
    assert [row.author for row in acme.rows(PairRow, editor_id=f"discord:{acme.kofi.id}")] == ["Tomas"]
    assert third.pair_id


async def test_alerts_are_posted_to_the_admin_channel_with_the_command_to_type(acme: Acme) -> None:
    from datetime import UTC, datetime

    from bot.alerting import take_on
    from engine.learning.alerts import raise_alert

    with acme.bot.stored.write() as session:
        raise_alert(
            session, kind="disk", subject="test", sentence="The <disk> is *nearly* full.", command="redraft doctor",
            now=datetime.now(UTC),
        )  # fmt: skip
    take_on(acme.bot.stored, platform="discord", now=datetime.now(UTC))
    post = await acme.server.posted(acme.admins)
    assert r"The \<disk\> is \*nearly\* full." in text_of(post) and "```\nredraft doctor\n```" in text_of(post)


@pytest.mark.parametrize("button", ["Correct", "Sources", "👍", "Share"])
async def test_a_summary_that_is_gone_is_told(acme: Acme, button: str) -> None:
    answer = await acme.summary(acme.ana, await talked(acme))
    from sqlalchemy import delete

    from storage.tables import SummaryRow

    with acme.bot.stored.write() as session:
        session.execute(delete(SummaryRow).where(SummaryRow.id == summary_id(acme, answer)))  # type: ignore[arg-type]
    assert "no longer stored" in await acme.pressed(acme.ana, answer, button)
