"""What can be asked of Discord's bot, in channels, threads and posts, and what is read for it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from storage.tables import ConversationRow
from tests.bot.discord_world import IN_THE_GUILD, Acme
from tests.discord_server.objects import text_of
from tests.discord_server.world import FORUM

pytestmark = IN_THE_GUILD


def link(message: Any) -> str:
    return f"https://discord.com/channels/{message.channel.guild.id}/{message.channel.id}/{message.id}"


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({}, 20), ({"since": "2h"}, 3), ({"since": "3d"}, 12), ({"messages": 5}, 5), ({"messages": 50}, 21),
        ({"since": "last 90 minutes"}, 2), ({"since": "1w", "style": "brief"}, 15),
        ({"since": "1w", "style": "detailed"}, 15), ({"since": "yesterday"}, 9),
    ],
)  # fmt: skip
async def test_each_option_reads_its_stretch(acme: Acme, options: dict[str, Any], messages: int) -> None:
    channel = await acme.room()
    # UTC's yesterday began 24 to 48 hours ago.
    ages_h = [0.5, 1, 1.8, 4, 5, 6, 7, 8, 9, *(60 + n for n in range(3)), *(100 + n for n in range(3)), *[24 * 10] * 6]
    for number, age in enumerate(ages_h):
        acme.server.write(channel, (acme.ana, acme.tomas)[number % 2], f"Note {number} of the week.", ago=3600 * age)
    said = await acme.said(acme.ana, channel, **options)
    assert re.search(rf"\b{messages} messages", said), said
    if "style" in options:
        assert f"({options['style']})" in said


async def test_a_command_in_a_thread_means_all_of_the_thread_with_the_message_that_it_hangs_under(acme: Acme) -> None:
    channel, server = await acme.room(), acme.server
    first = server.write(channel, acme.ana, "Shall we move the release?", ago=900)
    server.write(channel, acme.ana, "Lunch is at noon.", ago=850)
    thread = await server.open_thread(channel, "the release", acme.ana, starter=first)
    server.write(thread, acme.tomas, "Yes, to Thursday.", ago=800)
    server.write(thread, acme.priya, "Thursday suits me.", ago=-1)
    asked = {
        "in it": await acme.said(acme.ana, thread),
        "by link to a reply": await acme.said(acme.ana, channel, link=link(next(iter(thread.history)))),
        "by link to its message": await acme.said(acme.ana, channel, link=link(first)),
        "by option": await acme.said(acme.ana, channel, channel=thread),
    }
    for how, said in asked.items():
        assert "3 messages by 3 people" in said and "Lunch" not in said, f"{how}: {said}"
        assert "the release" in said
    # The channel itself does not hold what is in its threads.
    assert "2 messages" in await acme.said(acme.ana, channel)
    rows = acme.rows(ConversationRow, thread=str(thread.id))
    assert {(row.channel, row.workspace, row.public, row.direct) for row in rows} == {
        (str(channel.id), str(acme.acme.id), True, False)
    }


async def test_a_forum_post_is_read_from_its_first_message_on_and_a_forum_itself_asks_for_a_post(acme: Acme) -> None:
    forum = await acme.room(kind=FORUM)
    post = await acme.server.open_thread(forum, "Where is the key?", acme.ana, text="I cannot find the key.")
    acme.server.write(post, acme.tomas, "In the drawer.", ago=-1)
    said = await acme.said(acme.priya, post)
    assert "2 messages by 2 people" in said and "Where is the key?" in said and "In the drawer" in said
    assert "choose one of its posts" in await acme.said(acme.priya, acme.general, channel=forum)


async def test_a_link_to_a_message_without_a_thread_means_from_there_on(acme: Acme) -> None:
    channel, server = await acme.room(), acme.server
    messages = acme.talk(channel, 6)
    assert "4 messages" in await acme.said(acme.ana, acme.general, link=link(messages[2]))
    menu = await server.context_menu(acme.ana, messages[3], "Summarize from here")
    assert "3 messages" in text_of(await settled(acme, menu))
    menu = await server.context_menu(acme.ana, messages[3], "Summarize thread")
    assert "no thread on that message" in text_of(await settled(acme, menu))
    await server.open_thread(channel, "on that", acme.ana, starter=messages[3])
    menu = await server.context_menu(acme.ana, messages[3], "Summarize thread")
    assert "1 message by 1 person" in text_of(await settled(acme, menu))
    # Several links are answered one by one.
    asked = await server.slash(acme.ana, channel, "summarize", link=f"{link(messages[1])} {link(messages[4])}")
    assert "5 messages" in text_of(await settled(acme, asked))
    assert "2 messages" in text_of(await asked.followup(1))


async def settled(acme: Acme, asked: Any) -> Any:
    from tests.bot.discord_guild import final

    await acme.server.until(lambda: asked.original is not None and final(asked.original), "it is answered")
    return asked.original


async def test_new_begins_where_the_asker_last_used_it(acme: Acme) -> None:
    channel = await acme.room()
    acme.server.write(channel, acme.tomas, "The first thing.", ago=3000)
    assert "The first thing" in await acme.said(acme.ana, channel, since="new")
    acme.server.write(channel, acme.tomas, "The second thing.", ago=-1)
    said = await acme.said(acme.ana, channel, since="new")
    assert "The second thing" in said and "The first thing" not in said
    assert "The first thing" in await acme.said(acme.tomas, channel, since="new")


async def test_a_topic_is_named_above_the_summary_and_narrows_it(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 12)
    acme.server.write(channel, acme.ana, "The invoices of Kite_Sons *are* late.", ago=100)
    said = await acme.said(acme.ana, channel, since="1d", about="invoices")
    assert "about invoices" in said and r"Kite\_Sons" in said and "not read" in said


async def test_since_is_completed_and_what_was_typed_is_offered_where_it_can_be_read(acme: Acme) -> None:
    channel = await acme.room()

    async def offered(typed: str) -> list[str]:
        return [str(one["value"]) for one in await acme.server.autocomplete(
            acme.ana, channel, "summarize", "since", typed
        )]  # fmt: skip

    assert {"2h", "yesterday", "new"} <= set(await offered(""))
    assert (await offered("ye"))[0] == "yesterday"
    assert (await offered("monday 9:00"))[0] == "monday 9:00"
    assert await offered("since the meeting") == ["since the meeting"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": "the meeting"}, "no time that I can read"),
        ({"since": "2h", "messages": 5}, "more than one stretch"),
        ({"about": "!!!"}, "Say what it should be about"),
        ({"link": "https://example.com/x"}, "no link to a message"),
        ({"link": "https://discord.com/channels/1111111111111111/2222222222222222/3333333333333333"}, "another server"),
        ({"since": "2030-01-01"}, "in the future"),
    ],
)
async def test_what_cannot_be_read_is_explained_and_not_guessed(acme: Acme, options: dict[str, Any], said: str) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    before = len(acme.server.calls)
    assert said in await acme.said(acme.ana, channel, **options)
    assert not any("messages" in call.name and call.name.startswith("GET") for call in acme.server.calls[before:])


async def test_an_empty_stretch_is_told_and_so_is_a_link_to_nothing(acme: Acme) -> None:
    channel = await acme.room()
    assert "no messages from people" in await acme.said(acme.ana, channel)
    gone = acme.server.write(channel, acme.ana, "Soon gone.")
    await acme.server.remove_channel(channel)
    assert "no such channel" in await acme.said(acme.ana, acme.general, link=link(gone))


async def test_messages_that_are_not_plain_text_are_read_as_people_see_them(acme: Acme) -> None:
    channel, server = await acme.room(), acme.server
    other = server.write(await acme.room(), acme.tomas, "The original of it.")
    server.write(channel, acme.ana, f"ask <@{acme.tomas.id}> in <#{acme.general.id}> <:tada:123456789012345678>")
    server.write(channel, acme.ana, "", attachments=[file("plan.png")])
    server.write(channel, acme.priya, "", stickers=[{"id": "749054660769218631", "name": "Wave", "format_type": 3}])
    server.write(channel, acme.priya, "", poll=poll("Where to eat?", "Pizza", "Sushi"))
    server.forward(channel, acme.ana, other)
    server.write(channel, acme.tomas, "مرحبا بالفريق 👩‍👩‍👧 `x < y`")
    said = await acme.said(acme.ana, channel, style="detailed", messages=10)
    for part in ("ask Tomas in #general", "plan.png", "Wave", "Where to eat?", "The original of it", "مرحبا"):
        assert part in said.replace("\\", ""), f"{part}: {said}"
    assert "<@" not in said.replace(r"\<@", "")


def file(name: str) -> dict[str, Any]:
    address = f"https://cdn.discordapp.com/{name}"
    return {"id": "1234567890123456", "filename": name, "size": 9, "url": address, "proxy_url": address}


def poll(question: str, *answers: str) -> dict[str, Any]:
    return {
        "question": {"text": question}, "expiry": None, "allow_multiselect": False, "layout_type": 1,
        "answers": [{"answer_id": n, "poll_media": {"text": text}} for n, text in enumerate(answers, 1)],
    }  # fmt: skip


async def test_nobody_is_called_by_their_account_who_has_a_name_in_the_guild(acme: Acme) -> None:
    channel, server = await acme.room(), acme.server
    lena = server.person("lena_1987", "Lena L.")
    server.member(acme.acme, lena, nick="Lena from Sales")
    gone = server.person("gone.person", "Gone")
    server.write(channel, lena, "The offer is out.", ago=60)
    server.write(channel, gone, "It was mine.", ago=50)
    said = await acme.said(acme.ana, channel)
    assert "Lena from Sales said" in said and "Gone said" in said


async def test_what_the_app_said_itself_is_no_part_of_what_it_reads(acme: Acme) -> None:
    channel = await acme.room()
    acme.talk(channel, 3)
    answer = await acme.summary(acme.ana, channel, share=True)
    assert answer.seen_by is None
    assert "3 messages" in await acme.said(acme.ana, channel)


async def test_a_long_channel_is_read_within_the_limit_and_says_what_was_left_out(acme: Acme) -> None:
    channel = await acme.room()
    acme.server.backlog(channel, 10_000, lambda n: (acme.ana, f"Note {n} of many."), ago=20_000 * 2, step=2.0)
    before = len(acme.server.calls)
    said = await acme.said(acme.ana, channel, since="1d")
    assert "200 messages" in said and "the oldest 200 or more were left out" in said and "Note 9999" in said
    assert sum(call.name == "GET /channels/{channel}/messages" for call in acme.server.calls[before:]) <= 6
