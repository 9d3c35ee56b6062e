"""What Discord documents of components: in messages, in messages of components v2, and in modals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.discord_server.values import (
    EMOJI,
    Broken,
    Check,
    anything,
    check,
    exactly,
    flag,
    integer,
    items,
    nothing,
    nullable,
    shaped,
    snowflake,
    text,
    web_url,
)  # fmt: skip

ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL = (
    1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 17, 18,
)  # fmt: skip
SELECTS = (3, 5, 6, 7, 8)
FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 19, 21, 22, 23
#: Of a message of components v2: components, nested ones included, and characters of its text displays.
COMPONENTS, CHARACTERS = 40, 4000

_BASE: dict[str, Check] = {"type!": anything, "id": integer(0)}
CUSTOM_ID = text(1, 100)


def _option(value: Any) -> bool:
    check("option", value, {
        "label!": text(1, 100), "value!": text(1, 100), "description": nullable(text(1, 100)), "emoji": EMOJI,
        "default": flag,
    })  # fmt: skip
    return True


def _button(value: Any) -> None:
    check("button", value, {
        **_BASE, "style!": integer(1, 6), "label": text(1, 80), "emoji": EMOJI, "custom_id": CUSTOM_ID,
        "sku_id": snowflake, "url": web_url("https", "http", "discord"), "disabled": flag,
    })  # fmt: skip
    style = value["style"]
    if style == 5:
        wrong = "url" not in value or "custom_id" in value or len(value["url"]) > 512
    elif style == 6:
        wrong = "sku_id" not in value or bool(set(value) & {"custom_id", "label", "url", "emoji"})
    else:
        wrong = "custom_id" not in value or bool(set(value) & {"url", "sku_id"})
    if wrong or (style != 6 and not value.get("label") and "emoji" not in value):
        raise Broken(f"button: style {style} with {sorted(value)}")


def _select(value: Any, *, modal: bool = False) -> None:
    known: dict[str, Check] = {
        **_BASE, "custom_id!": CUSTOM_ID, "placeholder": text(0, 150), "min_values": integer(0, 25),
        "max_values": integer(1, 25), "disabled": flag, "required": flag,
    }  # fmt: skip
    if value["type"] == STRING_SELECT:
        known["options!"] = items(_option, 25, 1)
    else:
        kinds = {5: ("user",), 6: ("role",), 7: ("user", "role"), 8: ("channel",)}[value["type"]]
        known["default_values"] = items(shaped("default", {"id!": snowflake, "type!": exactly(*kinds)}), 25)
        if value["type"] == 8:
            known["channel_types"] = items(integer(0, 16))
    check("select", value, known)
    least, most = value.get("min_values", 1), value.get("max_values", 1)
    options = value.get("options")
    if least > most or (options is not None and most > len(options)):
        raise Broken(f"select: {least} to {most} values")
    if options is not None:
        _unique("option value", [one["value"] for one in options])
        if sum(one.get("default", False) for one in options) > most:
            raise Broken("select: more defaults than values")
    if modal and value.get("disabled"):
        raise Broken("select: disabled in a modal")


def _unique(what: str, values: list[Any]) -> None:
    if len(set(values)) != len(values):
        raise Broken(f"{what} is there twice")


def _kind(value: Any) -> int:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise Broken("a component without a type")
    return kind


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every component, from the outside in."""
    for one in value:
        yield one
        yield from walk(one.get("components") or ())
        for name in ("accessory", "component"):
            if one.get(name):
                yield from walk([one[name]])


def _row(value: Any) -> None:
    check("action row", value, {**_BASE, "components!": items(anything, 5, 1)})
    kinds = [_kind(one) for one in value["components"]]
    if all(kind == BUTTON for kind in kinds):
        for one in value["components"]:
            _button(one)
    elif len(kinds) == 1 and kinds[0] in SELECTS:
        _select(value["components"][0])
    else:
        raise Broken(f"action row: of {kinds}")


_ITEM = shaped("media", {"url!": web_url("https", "http", "attachment")})


def _section(value: Any) -> None:
    check("section", value, {**_BASE, "components!": items(anything, 3, 1), "accessory!": anything})
    for one in value["components"]:
        if _kind(one) != TEXT:
            raise Broken("section: takes text displays")
        _content(one)
    if (kind := _kind(value["accessory"])) == BUTTON:
        _button(value["accessory"])
    elif kind == THUMBNAIL:
        check("thumbnail", value["accessory"], {
            **_BASE, "media!": _ITEM, "description": nullable(text(0, 1024)), "spoiler": flag,
        })  # fmt: skip
    else:
        raise Broken(f"section: accessory {kind}")


def _content(value: Any) -> None:
    kind = _kind(value)
    if kind == TEXT:
        check("text display", value, {**_BASE, "content!": text(1, CHARACTERS)})
    elif kind == GALLERY:
        entry = shaped("gallery item", {"media!": _ITEM, "description": nullable(text(0, 1024)), "spoiler": flag})
        check("media gallery", value, {**_BASE, "items!": items(entry, 10, 1)})
    elif kind == FILE:
        check("file", value, {
            **_BASE, "file!": shaped("file", {"url!": web_url("attachment")}), "spoiler": flag,
        })  # fmt: skip
    elif kind == SEPARATOR:
        check("separator", value, {**_BASE, "divider": flag, "spacing": integer(1, 2)})
    else:
        raise Broken(f"component {kind} is not known here")


def _layout(value: Any, *, contained: bool = False) -> None:
    kind = _kind(value)
    if kind == ROW:
        _row(value)
    elif kind == SECTION:
        _section(value)
    elif kind == CONTAINER and not contained:
        check("container", value, {
            **_BASE, "components!": items(anything, COMPONENTS, 1), "accent_color": nullable(integer(0, 0xFFFFFF)),
            "spoiler": flag,
        })  # fmt: skip
        for one in value["components"]:
            _layout(one, contained=True)
    else:
        _content(value)


def message(value: list[Any], *, v2: bool) -> None:
    """The components of a message."""
    for one in value:
        if v2:
            _layout(one)
        elif _kind(one) == ROW:
            _row(one)
        else:
            raise Broken(f"component {_kind(one)} without IS_COMPONENTS_V2")
    every = list(walk(value))
    _unique("custom_id", [one["custom_id"] for one in every if "custom_id" in one])
    _unique("component id", [one["id"] for one in every if one.get("id")])
    if v2:
        characters = sum(len(one["content"]) for one in every if one["type"] == TEXT)
        if len(every) > COMPONENTS or characters > CHARACTERS:
            raise Broken(f"components v2: {len(every)} components, {characters} characters")
    elif len(value) > 5:
        raise Broken(f"components: {len(value)} action rows")


def _text_input(value: Any, *, labelled: bool) -> None:
    check("text input", value, {
        **_BASE, "custom_id!": CUSTOM_ID, "style!": integer(1, 2),
        **({"label": nothing} if labelled else {"label!": text(1, 45)}),
        "min_length": integer(0, 4000), "max_length": integer(1, 4000), "required": flag, "value": text(0, 4000),
        "placeholder": text(0, 100),
    })  # fmt: skip
    least, most = value.get("min_length", 0), value.get("max_length", 4000)
    if least > most or ("value" in value and not least <= len(value["value"]) <= most):
        raise Broken(f"text input: {len(value.get('value', ''))} characters of {least} to {most}")


_GROUP: dict[str, Check] = {
    **_BASE, "custom_id!": CUSTOM_ID, "options!": items(_option, 10, 1), "required": flag,
    "min_values": integer(0, 10), "max_values": integer(1, 10),
}  # fmt: skip


def _field(value: Any) -> None:
    kind = _kind(value)
    if kind == TEXT_INPUT:
        _text_input(value, labelled=True)
    elif kind in SELECTS:
        _select(value, modal=True)
    elif kind == FILE_UPLOAD:
        check("file upload", value, {
            **_BASE, "custom_id!": CUSTOM_ID, "min_values": integer(0, 10), "max_values": integer(1, 10),
            "required": flag,
        })  # fmt: skip
    elif kind in (RADIO_GROUP, CHECKBOX_GROUP):
        check("group", value, _GROUP)
        if kind == RADIO_GROUP and len(value["options"]) < 2:
            raise Broken("radio group: one option is no choice")
    elif kind == CHECKBOX:
        check("checkbox", value, {**_BASE, "custom_id!": CUSTOM_ID, "default": flag})
    else:
        raise Broken(f"label: component {kind}")


def modal(value: Any) -> None:
    """A modal: what an interaction may be answered with to have something typed."""
    check("modal", value, {"custom_id!": CUSTOM_ID, "title!": text(1, 45), "components!": items(anything, 5, 1)})
    for one in value["components"]:
        if (kind := _kind(one)) == ROW:
            check("action row", one, {**_BASE, "components!": items(anything, 1, 1)})
            if _kind(one["components"][0]) != TEXT_INPUT:
                raise Broken("modal: an action row takes one text input")
            _text_input(one["components"][0], labelled=False)
        elif kind == LABEL:
            check("label", one, {
                **_BASE, "label!": text(1, 45), "description": nullable(text(1, 100)), "component!": anything,
            })  # fmt: skip
            _field(one["component"])
        elif kind == TEXT:
            _content(one)
        else:
            raise Broken(f"modal: component {kind}")
    _unique("custom_id", [one["custom_id"] for one in walk(value["components"]) if "custom_id" in one])
