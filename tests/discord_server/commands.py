"""What Discord documents of application commands: names, descriptions, options, and how many there may be."""

from __future__ import annotations

from typing import Any

import regex

from tests.discord_server.values import (
    Broken,
    Check,
    anything,
    check,
    either,
    exactly,
    flag,
    integer,
    items,
    nullable,
    number,
    permissions,
    text,
)  # fmt: skip

CHAT, USER, MESSAGE = 1, 2, 3
SUB, GROUP, STRING, INTEGER, BOOLEAN, A_USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
#: Commands of a type: a hundred slash commands; of context menus, what discord.py allows.
MOST = {CHAT: 100, USER: 5, MESSAGE: 5}
#: Characters of a command: all names, descriptions and choices' values.
CHARACTERS = 8000

_NAME = regex.compile(r"[-_'\p{L}\p{N}\p{sc=Deva}\p{sc=Thai}]{1,32}")
LOCALES = {
    "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR",
    "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW", "ko",
}  # fmt: skip


def slash_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and value == value.lower()


def _localised(inner: Check) -> Check:
    return lambda value: (
        value is None
        or (
            isinstance(value, dict)
            and set(value) <= LOCALES
            and all(one is None or inner(one) for one in value.values())
        )
    )


def _choice(kind: int) -> Check:
    inner = {STRING: text(1, 100), INTEGER: integer(-(2**53), 2**53), NUMBER: number}[kind]

    def test(value: Any) -> bool:
        check("choice", value, {
            "name!": text(1, 100), "name_localizations": _localised(text(1, 100)), "value!": inner,
        })  # fmt: skip
        return True

    return test


def _options(value: Any, depth: int) -> None:
    names = []
    optional = False
    kinds = set()
    for one in value:
        _option(one, depth)
        names.append(one["name"])
        kinds.add(one["type"] in (SUB, GROUP))
        if one["type"] not in (SUB, GROUP):
            if one.get("required") and optional:
                raise Broken(f"option {one['name']}: required after optional ones")
            optional = optional or not one.get("required", False)
    if len(set(names)) != len(names):
        raise Broken(f"options: a name twice among {names}")
    if len(kinds) > 1:
        raise Broken("options: subcommands beside values")


def _option(value: Any, depth: int) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if not integer(SUB, ATTACHMENT)(kind):
        raise Broken(f"option: type {kind}")
    known: dict[str, Check] = {
        "type!": anything, "name!": slash_name, "description!": text(1, 100),
        "name_localizations": _localised(slash_name), "description_localizations": _localised(text(1, 100)),
    }  # fmt: skip
    if kind in (SUB, GROUP):
        known["options"] = items(anything, 25)
    else:
        known["required"] = flag
    if kind in (STRING, INTEGER, NUMBER):
        known |= {"choices": nullable(items(_choice(kind), 25)), "autocomplete": flag}
    if kind == STRING:
        known |= {"min_length": nullable(integer(0, 6000)), "max_length": nullable(integer(1, 6000))}
    if kind in (INTEGER, NUMBER):
        bound = nullable(integer(-(2**53), 2**53) if kind == INTEGER else number)
        known |= {"min_value": bound, "max_value": bound}
    if kind == CHANNEL:
        known["channel_types"] = items(integer(0, 16))
    check(f"option {value.get('name')}", value, known)
    if value.get("autocomplete") and value.get("choices"):
        raise Broken(f"option {value['name']}: autocomplete beside choices")
    if (kind == GROUP and depth > 0) or (kind == SUB and depth > 1):
        raise Broken(f"option {value['name']}: nested too deep")
    if kind == GROUP and any(one.get("type") != SUB for one in value.get("options", ())):
        raise Broken(f"option {value['name']}: a group holds subcommands")
    if kind in (SUB, GROUP):
        _options(value.get("options", ()), depth + 1)


def characters(value: dict[str, Any]) -> int:
    own = len(value["name"]) + len(value.get("description") or "")
    own += sum(len(str(one["value"])) + len(one["name"]) for one in value.get("choices") or ())
    return own + sum(map(characters, value.get("options") or ()))


def command(value: Any) -> None:
    """One definition, as it is registered."""
    kind = value.get("type", CHAT) if isinstance(value, dict) else None
    if not integer(CHAT, MESSAGE)(kind):
        raise Broken(f"command: type {kind}")
    chat = kind == CHAT
    name: Check = slash_name if chat else text(1, 32)
    known: dict[str, Check] = {
        "type": anything, "name!": name, "name_localizations": _localised(name),
        "default_member_permissions": nullable(permissions), "dm_permission": nullable(flag), "nsfw": flag,
        "integration_types": nullable(items(exactly(0, 1), 2)), "contexts": nullable(items(exactly(0, 1, 2), 3)),
    }  # fmt: skip
    if chat:
        known |= {
            "description!": text(1, 100), "description_localizations": _localised(text(1, 100)),
            "options": items(anything, 25),
        }  # fmt: skip
    else:
        known["description"] = either(exactly(""), exactly(None))
    check(f"command {value.get('name')}", value, known)
    if chat:
        _options(value.get("options", ()), 0)
    if (total := characters(value)) > CHARACTERS:
        raise Broken(f"command {value['name']}: {total} characters")


def every(value: Any) -> bool:
    """All definitions of one place, in a bulk overwrite."""
    if not isinstance(value, list):
        raise Broken("commands: no list")
    for one in value:
        command(one)
    keys = [(one.get("type", CHAT), one["name"]) for one in value]
    if len(set(keys)) != len(keys):
        raise Broken("commands: a name twice")
    for kind, most in MOST.items():
        if sum(found == kind for found, _ in keys) > most:
            raise Broken(f"commands: more than {most} of type {kind}")
    return True
