"""The local Discord is stricter than a friend: requests that break a documented rule, each refused and told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bot.discord_app import Team
from tests.bot.discord_app import server as server
from tests.bot.discord_raw import POST, Raw, asking, button, row, shown
from tests.bot.discord_raw import raw as raw
from tests.discord_server import commands, components, rules
from tests.discord_server.server import DiscordServer
from tests.discord_server.values import Broken


def command(**given: Any) -> dict[str, Any]:
    return {"name": "summarize", "description": "Summarise", "type": 1, **given}


def option(**given: Any) -> dict[str, Any]:
    return {"name": "since", "description": "since when", "type": 3, **given}


V2 = {"flags": rules.COMPONENTS_V2}
OPTIONS = [{"label": str(n), "value": str(n)} for n in range(26)]
#: Messages that break a rule each, and what the server says of them.
BAD_MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "content": ({"content": "x" * 2001}, "content="),
    "empty": ({"content": " \n"}, "50006"),
    "nothing": ({}, "50006"),
    "type": ({"content": 7}, "content='7'"),
    "field": ({"content": "x", "ephemeral": True}, "unknown field ephemeral"),
    "flags": ({"content": "x", "flags": 64}, "flags 64"),
    "embeds": ({"embeds": [{"title": "x"}] * 11}, "embeds"),
    "description": ({"embeds": [{"description": "x" * 4097}]}, "description="),
    "total": ({"embeds": [{"description": "x" * 3001}] * 2}, "6002 characters"),
    "embed field": ({"embeds": [{"title": "x", "colour": 1}]}, "unknown field colour"),
    "embed fields": ({"embeds": [{"fields": [{"name": "a", "value": "b"}] * 26}]}, "fields="),
    "empty embed": ({"embeds": [{"color": 1}]}, "embed: empty"),
    "rows": ({"content": "x", "components": [row(button(custom_id=str(n))) for n in range(6)]}, "6 action rows"),
    "buttons": ({"content": "x", "components": [row(*(button(custom_id=str(n)) for n in range(6)))]}, "components="),
    "custom id": ({"content": "x", "components": [row(button(custom_id="x" * 101))]}, "custom_id="),
    "same custom id": ({"content": "x", "components": [row(button(), button())]}, "custom_id is there twice"),
    "label": ({"content": "x", "components": [row(button(label="x" * 81))]}, "label="),
    "link": ({"content": "x", "components": [row(button(style=5))]}, "style 5"),
    "bare button": ({"content": "x", "components": [button()]}, "component 2 without IS_COMPONENTS_V2"),
    "select": ({"content": "x", "components": [row({"type": 3, "custom_id": "s", "options": OPTIONS})]}, "options="),
    "text input": ({"content": "x", "components": [row({"type": 4, "custom_id": "t", "style": 1})]}, "of [4]"),
    "v2 content": ({**V2, "content": "x", "components": [shown("x")]}, "content beside"),
    "v2 embeds": ({**V2, "embeds": [{"title": "x"}], "components": [shown("x")]}, "embeds beside"),
    "v2 number": ({**V2, "components": [shown("x")] * 41}, "41 components"),
    "v2 characters": ({**V2, "components": [shown("x" * 2001)] * 2}, "4002 characters"),
    "v2 missing": ({"content": "x", "components": [shown("x")]}, "component 10 without"),
    "section": ({**V2, "components": [{"type": 9, "components": [shown("x")]}]}, "accessory is missing"),
    "container": ({**V2, "components": [{"type": 17, "components": [{"type": 17, "components": []}]}]}, "17"),
    "mentions": ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, "parse="),
    "mentioned": ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "both parsed"),
    "mention field": ({"content": "x", "allowed_mentions": {"none": True}}, "unknown field none"),
    "stickers": ({"content": "x", "sticker_ids": ["1"] * 4}, "sticker_ids="),
}
BAD_COMMANDS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "name": ([command(name="Summarize")], "name="),
    "long name": ([command(name="x" * 33)], "name="),
    "spaces": ([command(name="sum up")], "name="),
    "description": ([command(description="x" * 101)], "description="),
    "no description": ([command(description="")], "description="),
    "options": ([command(options=[option(name=f"o{n}") for n in range(26)])], "options="),
    "option twice": ([command(options=[option(), option()])], "a name twice"),
    "order": ([command(options=[option(), option(name="link", required=True)])], "required after optional"),
    "choices": ([command(options=[option(choices=[{"name": "a", "value": "a"}] * 26)])], "choices="),
    "both": ([command(options=[option(autocomplete=True, choices=[{"name": "a", "value": "a"}])])], "beside choices"),
    "twice": ([command(), command()], "a name twice"),
    "menus": ([{"name": f"Do {n}", "type": 3} for n in range(6)], "more than 5 of type 3"),
    "menu": ([{"name": "Do", "type": 3, "options": []}], "unknown field options"),
    "mixed": ([command(options=[{"name": "a", "description": "b", "type": 1}, option()])], "subcommands beside"),
    "deep": ([command(options=[option(type=1, options=[option(type=2, name="b")])])], "nested too deep"),
    "size": ([command(options=[
        option(name=f"o{n}", choices=[{"name": f"{m:050}", "value": "x" * 100} for m in range(25)]) for n in range(3)
    ])], "characters"),
    "contexts": ([command(contexts=[4])], "contexts="),
    "field": ([command(guild_only=True)], "unknown field guild_only"),
}  # fmt: skip


#: JSON of names that the rules know, in any shape.
NAMES = st.sampled_from(
    ["type", "id", "components", "content", "embeds", "flags", "custom_id", "label", "style", "options", "choices",
     "value", "name", "description", "fields", "footer", "poll", "allowed_mentions", "parse", "component", "accessory"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.sampled_from([1, 2, 3, 4, 9, 10, 17, 18, 21, 1.5, "", "x"])
SHAPES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=20
)


@settings(max_examples=100, deadline=None)
@given(SHAPES)
def test_whatever_the_shape_of_a_request_it_passes_or_is_told_to_be_broken(shape: Any) -> None:
    for look in (
        lambda: rules.message("create", shape),
        lambda: rules.message("edit", {"components": [row(button()), shape]}, {"content": "x", "flags": 0}),
        lambda: rules.message("create", {**V2, "components": [{"type": 17, "components": [shape]}]}),
        lambda: components.modal({"custom_id": "m", "title": "x", "components": [shape]}),
        lambda: commands.every([shape, command(options=[shape])]),
    ):
        with contextlib.suppress(Broken):
            look()


# Requests that break a rule -------------------------------------------------------------------------------------------


async def test_each_bad_message_is_refused_and_told(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    server.limits.of[POST] = None
    path = f"/channels/{team.general.id}/messages"
    for what, (body, said) in BAD_MESSAGES.items():
        server.broken.clear()
        status, answer = await raw("POST", path, body)
        assert (status, answer["code"]) == (400, 50035), what
        assert len(server.broken) == 1 and said in server.broken[0], (what, server.broken)
    server.broken.clear()
    everything = {
        "content": "x" * 2000, "tts": False, "nonce": 7, "embeds": [{"description": "x" * 4096}, {"title": "x"}],
        "components": [row(*(button(custom_id=f"{n}{m}" * 20) for m in range(5))) for n in range(5)],
        "allowed_mentions": {"parse": []}, "flags": rules.SUPPRESS_EMBEDS,
    }  # fmt: skip
    section = {"type": 9, "components": [shown("x")], "accessory": button()}
    inside = {"type": 17, "components": [section, {"type": 14, "divider": True, "spacing": 2}], "accent_color": 255}
    menu = row({"type": 3, "custom_id": "s", "options": OPTIONS[:25], "max_values": 25})
    for good in (everything, {**V2, "components": [shown("x" * 3999), inside, menu]}):
        assert (await raw("POST", path, good))[0] == 200, server.broken
    assert server.broken == []


async def test_each_bad_command_is_refused_and_told(server: DiscordServer, raw: Raw) -> None:
    path = f"/applications/{raw.app}/commands"
    for what, (body, said) in BAD_COMMANDS.items():
        server.broken.clear()
        assert (await raw("PUT", path, body))[0] == 400, what
        assert len(server.broken) == 1 and said in server.broken[0], (what, server.broken)
    server.broken.clear()
    good = [
        command(options=[option(autocomplete=True, max_length=100), option(name="wie-viele", type=4, min_value=1)]),
        command(name="redraft", options=[option(type=1, name="recent"), option(type=1, name="खोज")]),
        *({"name": f"Summarize {n}", "type": 3, "description": ""} for n in range(5)),
    ]
    status, answer = await raw("PUT", path, good)
    assert (status, server.broken) == (200, []) and len({one["id"] for one in answer}) == 7
    ids = [one["id"] for one in answer]
    assert [one["id"] for one in (await raw("PUT", path, good))[1]] == ids, "a command that stays keeps its id"


async def test_unknown_routes_queries_bodies_and_headers_are_failures(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)
    path = f"/channels/{team.general.id}/messages"
    for what, request in {
        "unknown route": raw("GET", f"/channels/{team.general.id}/webhooks"),
        "unknown field limits": raw("GET", f"{path}?limits=3"),
        "limit='101'": raw("GET", f"{path}?limit=101"),
        "together": raw("GET", f"{path}?before=3&after=2"),
        "a body where there is none": raw("GET", path, {}),
        "a body of text/plain": raw("POST", path, {"content": "x"}, **{"Content-Type": "text/plain"}),
        "no JSON object": raw("POST", path, []),
        "User-Agent": raw("GET", path, **{"User-Agent": "curl"}),
        "Authorization": raw("GET", path, Authorization=server.token),
    }.items():
        server.broken.clear()
        assert (await request)[0] in (400, 404), what
        assert len(server.broken) == 1 and what in server.broken[0], (what, server.broken)
    server.broken.clear()
    assert (await raw("POST", path, "{"))[1]["code"] == 50109
    assert await raw("GET", path, Authorization="Bot no") == (401, {"message": "401: Unauthorized", "code": 0})
    assert server.broken == []


async def test_bad_payloads_on_the_gateway_close_it(server: DiscordServer, raw: Raw) -> None:
    ws = server.base.replace("http", "ws")
    identify = {
        "token": server.token, "intents": 1, "properties": {"os": "linux", "browser": "x", "device": "x"},
    }  # fmt: skip
    cases: list[tuple[str, int, str, list[dict[str, Any]]]] = [
        ("gateway: {", 4012, "?v=9&encoding=json", []),
        ("unknown field token2", 4002, "", [{"op": 2, "d": {**identify, "token2": 1}}]),
        ("opcode 5", 4002, "", [{"op": 5, "d": None}]),
        ("before identifying", 4003, "", [{"op": 3, "d": {"since": 0, "afk": False, "status": "idle"}}]),
        ("identified twice", 4005, "", [{"op": 2, "d": identify}] * 2),
        ("more than 120", 4008, "", [{"op": 1, "d": None}] * 121),
        ("", 4013, "", [{"op": 2, "d": {**identify, "intents": 1 << 40}}]),
        ("", 4010, "", [{"op": 2, "d": {**identify, "shard": [1, 1]}}]),
        ("", 4007, "", [{"op": 6, "d": {"token": server.token, "session_id": "S", "seq": 999}}]),
    ]
    for said, code, query, sent in cases:
        server.broken.clear()
        path = "/gateway/resume" if code == 4007 else "/gateway"
        async with raw.session.ws_connect(ws + path + (query or "?v=10&encoding=json")) as socket:
            for one in sent:
                if one["op"] == 6:
                    one["d"]["session_id"] = next(reversed(server.sessions))
                    server.sessions[one["d"]["session_id"]].ended = False
                await socket.send_json(one)
            async with asyncio.timeout(5):
                async for _ in socket:
                    pass
        assert socket.close_code == code, said
        assert (len(server.broken), said in "".join(server.broken)) == (int(bool(said)), True), server.broken


async def test_each_bad_field_of_a_modal_is_refused(server: DiscordServer, raw: Raw) -> None:
    team = Team(server)

    def field(**given: Any) -> dict[str, Any]:
        return {"type": 4, "custom_id": "t", "style": 2, **given}

    def labelled(inner: dict[str, Any], **given: Any) -> dict[str, Any]:
        return {"type": 18, "label": "Text", "component": inner, **given}

    for said, part in (
        ("value=", labelled(field(value="x" * 4001))),
        ("5 characters of 0 to 4", labelled(field(value="x" * 5, max_length=4))),
        ("label=", labelled(field(), label="x" * 46)),
        ("label=", row(field(label="x" * 46))),
        ("label is missing", row(field())),
        ("label=", labelled(field(label="twice"))),
        ("description=", labelled(field(), description="x" * 101)),
        ("placeholder=", labelled(field(placeholder="x" * 101))),
        ("one text input", row(button())),
        ("component 2", labelled(button())),
        ("disabled in a modal", labelled({"type": 5, "custom_id": "s", "disabled": True})),
    ):
        server.broken.clear()
        status, _ = await raw.answer(asking(team), 9, {"custom_id": "m", "title": "x", "components": [part]})
        assert status == 400 and len(server.broken) == 1 and said in server.broken[0], (said, server.broken)
    server.broken.clear()
    good = [labelled(field(value="x" * 4000, max_length=4000)), row(field(custom_id="u", label="x" * 45)), shown("x")]
    one = asking(team)
    assert (await raw.answer(one, 9, {"custom_id": "m" * 100, "title": "x" * 45, "components": good}))[0] == 204
    assert one.modal is not None and [part["id"] for part in one.modal["components"]] == [1, 3, 5]
    assert server.broken == []
