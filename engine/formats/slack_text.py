"""Slack's ways of writing text, made readable: mrkdwn, blocks, attachments, files.

Mentions become ``@name`` and ``#channel``, links ``label (address)``, entities the characters they stand for; code is
kept as it is. Names come from a :class:`Names`; it knows nothing of exports, threads or who wrote what.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.formats.values import as_dict, as_list, clean, clean_name, dicts, file_note, unix_time

# One pass over references and entities, so that nothing is unescaped twice.
_TOKEN = re.compile(r"<([^<>\n]+)>|&(amp|lt|gt);")
_ENTITY = re.compile(r"&(amp|lt|gt);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">"}
_ADDRESS = re.compile(r"(?:mailto:|tel:)")
_ID_SPLIT = "|"
#: Blocks within blocks; Slack itself nests a handful.
_MAX_DEPTH = 12


@dataclass(slots=True)
class Names:
    """Display names by Slack id; an id without one stands for itself."""

    users: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def user(self, user_id: str) -> str:
        """Display name of a user."""
        return self.users.get(user_id) or user_id

    def channel(self, channel_id: str) -> str:
        """Name of a channel, without its ``#``."""
        return self.channels.get(channel_id) or channel_id

    def group(self, group_id: str) -> str:
        """Handle of a user group, without its ``@``."""
        return self.groups.get(group_id) or group_id


def readable(text: object, names: Names) -> str:
    """A mrkdwn text as a person would read it."""
    source = clean(text)
    if "<" not in source and "&" not in source:
        return source

    def replace(found: re.Match[str]) -> str:
        return _reference(found[1], names) if found[1] is not None else _ENTITIES[found[2]]

    return _TOKEN.sub(replace, source)


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text)


def _reference(inner: str, names: Names) -> str:
    """What stands for one ``<...>``."""
    target, _, label = inner.partition(_ID_SPLIT)
    label = _unescape(label).strip()
    match target[:1]:
        case "@":
            known = names.users.get(target[1:])
            return "@" + (known or label.lstrip("@") or target[1:])
        case "#":
            return "#" + (label.lstrip("#") or names.channel(target[1:]))
        case "!":
            return _special(target[1:], label, names)
    address = _unescape(target)
    bare = _ADDRESS.sub("", address, count=1) if address.startswith(("mailto:", "tel:")) else address
    if "://" not in address and bare == address:
        return f"<{_unescape(inner)}>"  # no reference at all
    if not label or label in (address, bare, bare.partition("://")[2], bare.partition("://")[2].rstrip("/")):
        return bare
    return f"{label} ({bare})"


def _special(target: str, label: str, names: Names) -> str:
    """What stands for ``<!here>``, ``<!subteam^S1|@ops>``, ``<!date^...|fallback>``."""
    kind, *parts = target.split("^")
    if kind == "subteam":
        group = parts[0] if parts else ""
        return "@" + (names.groups.get(group) or label.lstrip("@") or group)
    if kind == "date":
        time = unix_time(parts[0]) if parts else None
        return label or (f"{time:%Y-%m-%d %H:%M} UTC" if time else "")
    return label or f"@{kind}"


def blocks_text(blocks: object, names: Names) -> str:
    """The text of a message's blocks, one after the other; what holds no text (dividers, buttons) leaves none."""
    return "\n".join(filter(None, (_block(block, names) for block in dicts(blocks)))).strip()


def _block(block: dict[str, Any], names: Names) -> str:
    match block.get("type"):
        case "rich_text":
            return _rich_text(block.get("elements"), names, 0).strip("\n")
        case "section":
            texts = [block.get("text"), *as_list(block.get("fields"))]
            return "\n".join(filter(None, (_text_object(text, names) for text in texts)))
        case "header" | "markdown":
            return _text_object(block.get("text"), names)
        case "context":
            return " ".join(filter(None, (_text_object(element, names) for element in dicts(block.get("elements")))))
        case "image":
            return file_note(as_dict(block.get("title")).get("text") or block.get("alt_text"), "image/")
        case "video":
            return file_note(as_dict(block.get("title")).get("text") or block.get("alt_text"), "video/")
        case _:
            return ""


def _text_object(value: object, names: Names) -> str:
    """A Block Kit text object, or the bare string that a ``markdown`` block has."""
    if isinstance(value, str):
        return clean(value).strip()
    given = as_dict(value)
    if given.get("type") == "plain_text":
        return clean(given.get("text")).strip()
    return readable(given.get("text"), names).strip()


def _rich_text(elements: object, names: Names, depth: int) -> str:
    """Rich text parts as lines: sections, lists (numbered or with bullets), quotes and preformatted text."""
    if depth > _MAX_DEPTH:
        return ""
    parts: list[str] = []
    counters: dict[int, int] = {}
    for element in dicts(elements):
        kind = element.get("type")
        if kind == "rich_text_list":
            parts.append(_rich_list(element, names, depth, counters))
            continue
        counters.clear()
        if kind == "rich_text_preformatted":
            code = _inline(element.get("elements"), names, plain=True).strip("\n")
            parts.append(f"```\n{code}\n```")
        elif kind == "rich_text_quote":
            # A quote holds inline parts, or sections and lists of its own.
            quoted = _inline(element.get("elements"), names) or _rich_text(element.get("elements"), names, depth + 1)
            parts.append("\n".join(f"> {line}".rstrip() for line in quoted.strip("\n").split("\n")))
        else:
            parts.append(_inline(element.get("elements"), names).strip("\n"))
    return "\n".join(part for part in parts if part)


def _rich_list(element: dict[str, Any], names: Names, depth: int, counters: dict[int, int]) -> str:
    """One list; Slack writes a nested one as a sibling with a larger ``indent``, and where it goes on as ``offset``."""
    indent = _small(element.get("indent"))
    for deeper in [level for level in counters if level > indent]:
        del counters[deeper]
    ordered = element.get("style") == "ordered"
    number = _small(element.get("offset"), 100_000) or counters.get(indent, 0)
    lines = []
    for item in dicts(element.get("elements")):
        number += 1
        mark = f"{number}." if ordered else "•"
        text = _inline(item.get("elements"), names) or _rich_text(item.get("elements"), names, depth + 1)
        lines.append(f"{'  ' * indent}{mark} {text.strip()}")
    counters[indent] = number if ordered else 0
    return "\n".join(lines)


def _small(value: object, limit: int = 10) -> int:
    return min(value, limit) if isinstance(value, int) and value > 0 else 0


def _inline(elements: object, names: Names, *, plain: bool = False) -> str:
    """A run of inline parts; ``plain`` is preformatted text, in which a link is its address alone."""
    return "".join(_inline_part(part, names, plain) for part in dicts(elements))


def _inline_part(part: dict[str, Any], names: Names, plain: bool) -> str:
    match part.get("type"):
        case "text":
            text = clean(part.get("text"))
            return f"`{text}`" if as_dict(part.get("style")).get("code") is True and text.strip() else text
        case "link":
            url, label = clean(part.get("url")), clean(part.get("text")).strip()
            bare = _ADDRESS.sub("", url, count=1) if url.startswith(("mailto:", "tel:")) else url
            return bare if plain or not label or label in (url, bare, bare.partition("://")[2]) else f"{label} ({bare})"
        case "user":
            return "@" + names.user(clean_name(part.get("user_id")) or "unknown")
        case "channel":
            return "#" + names.channel(clean_name(part.get("channel_id")) or "unknown")
        case "usergroup":
            return "@" + names.group(clean_name(part.get("usergroup_id")) or "unknown")
        case "broadcast":
            return "@" + (clean_name(part.get("range")) or "here")
        case "emoji":
            return _emoji(part)
        case "date":
            time = unix_time(part.get("timestamp"))
            return clean(part.get("fallback")) or (f"{time:%Y-%m-%d %H:%M} UTC" if time else "")
        case "color":
            return clean(part.get("value"))
        case _:
            return ""


def _emoji(part: dict[str, Any]) -> str:
    """The character itself where Slack names its code points (``1f44d-1f3fd``), else ``:name:``."""
    try:
        return clean("".join(chr(int(code, 16)) for code in clean(part.get("unicode")).split("-") if code)) or _name(
            part
        )
    except (ValueError, OverflowError):
        return _name(part)


def _name(part: dict[str, Any]) -> str:
    name = clean_name(part.get("name"))
    return f":{name}:" if name else ""


def attachments_text(attachments: object, names: Names) -> str:
    """Attachments: what a bot reports in full, a shared message as a quote, the preview of a link as its title."""
    return "\n".join(filter(None, (_attachment(attachment, names) for attachment in dicts(attachments))))


def _attachment(given: dict[str, Any], names: Names) -> str:
    title = readable(given.get("title"), names).strip()
    if given.get("is_msg_unfurl") is True or given.get("is_share") is True:
        author = clean_name(given.get("author_name")) or names.user(clean_name(given.get("author_id")) or "someone")
        text = _attachment_body(given, names) or readable(given.get("text") or given.get("fallback"), names)
        return "\n".join((shared_from(author), *(f"> {line}" for line in text.strip().split("\n"))))
    if given.get("from_url") or given.get("original_url"):
        label = title or clean_name(given.get("service_name"))
        return f"[link: {label}]" if label else ""
    link = clean(given.get("title_link"))
    lines = [
        readable(given.get("pretext"), names),
        f"{title} ({link})" if title and link else title,
        _attachment_body(given, names),
    ]
    body = "\n".join(line.strip() for line in lines if line.strip())
    image = file_note(title, "image/") if given.get("image_url") and not body else ""
    return body or image or readable(given.get("fallback"), names).strip()


def shared_from(author: str) -> str:
    """The line above a shared message, which follows in lines that begin with ``>``."""
    return f"[shared message from {author}]"


def without_shared(text: str, authors: Collection[str]) -> str:
    """A readable text without the messages of some people that are shared in it."""
    heads = {shared_from(author) for author in authors}
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        inside = line in heads or (inside and line.startswith(">"))
        if not inside:
            kept.append(line)
    return "\n".join(kept).strip("\n") if len(kept) != text.count("\n") + 1 else text


def _attachment_body(given: dict[str, Any], names: Names) -> str:
    """Blocks if there are any, else the legacy text and fields; a shared message keeps its blocks one level down."""
    shared = "\n".join(
        blocks_text(as_dict(inner.get("message")).get("blocks"), names) for inner in dicts(given.get("message_blocks"))
    )
    found = blocks_text(given.get("blocks"), names) or shared.strip()
    if found:
        return found
    fields = (
        f"{clean_name(entry.get('title'))}: {readable(entry.get('value'), names).strip()}".strip(": ")
        for entry in dicts(given.get("fields"))
    )
    return "\n".join(filter(None, (readable(given.get("text"), names).strip(), *fields)))


def files_text(files: object) -> str:
    """One note a file; a snippet, which is text of the conversation, also with the lines that Slack previews."""
    return "\n".join(_notes(dicts(files)))


def _notes(files: Iterable[dict[str, Any]]) -> Iterable[str]:
    for given in files:
        mode = given.get("mode")
        if mode == "tombstone":
            yield "[file: deleted]"
            continue
        if mode == "hidden_by_limit":
            yield "[file: no longer available]"
            continue
        yield file_note(given.get("name") or given.get("title"), given.get("mimetype"))
        preview = clean(given.get("preview")).strip("\n")
        if mode == "snippet" and preview.strip():
            yield f"```\n{preview}\n```"
