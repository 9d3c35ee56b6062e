"""Answers as Discord's embeds and buttons, within every limit: descriptions of 4,096 characters, messages of 6,000.

Everything that comes from people or the model is escaped, so that no Markdown, mention or time in it works; embeds show
no previews of links and ping nobody. What is shown is :class:`bot.answers.Shown`; nothing is asked of Discord or the
database here. What a button is about stands in its ``custom_id`` (100 characters), and no process needs to remember.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import discord

from bot import texts
from bot.answers import Shown
from engine.text.escape import escape_discord, split_text, units

#: Characters of text in one embed, and of the small print under the last; together within a description's 4,096.
BODY, SMALL = 3_000, 1_000
_TITLE, _CONTENT = 256, 2_000
#: Embeds in one message.
EMBEDS = 10

SHARE, CORRECT, OWN, UP, DOWN, SOURCES, SHOW = "share", "correct", "own", "up", "down", "sources", "show"
WRITE, UNHIDE, APPROVE, REJECT, EDIT = "write", "unhide", "approve", "reject", "edit"
ACTIONS = (SHARE, CORRECT, OWN, UP, DOWN, SOURCES, SHOW, WRITE, UNHIDE, APPROVE, REJECT, EDIT)
#: Of a button: what it does, and what it is about.
CUSTOM_ID = re.compile(rf"redraft:(?P<action>{'|'.join(ACTIONS)}):(?P<value>[\w.-]{{1,80}})")

_GREY, _GREEN, _RED = discord.ButtonStyle.secondary, discord.ButtonStyle.success, discord.ButtonStyle.danger


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says: a text or embeds, and rows of buttons. Made to be turned into JSON by :func:`payload`."""

    text: str = ""
    embeds: Sequence[discord.Embed] = ()
    buttons: Sequence[discord.ui.Item[Any]] = field(default_factory=tuple)


class Press(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CUSTOM_ID):
    """A button whose ``custom_id`` says everything; who hears of it is set by whoever listens."""

    def __init__(self, label: str, action: str, value: str, style: discord.ButtonStyle = _GREY, row: int | None = None):
        button: discord.ui.Button[Any] = discord.ui.Button(
            label=label, style=style, custom_id=f"redraft:{action}:{value}", row=row
        )
        super().__init__(button)
        self.action, self.value = action, value


def payload(content: Content, *, ephemeral: bool = False, edit: bool = False) -> dict[str, Any]:
    """A message as Discord takes it: nobody is pinged, no link is unfolded.

    Args:
        edit: of a message that is there: what it said before goes.
    """
    body: dict[str, Any] = {"allowed_mentions": {"parse": []}}
    flags = discord.MessageFlags()
    if content.text:
        body["content"] = content.text
        flags.suppress_embeds = True
    if content.embeds:
        body["embeds"] = [_embed(embed) for embed in content.embeds]
    if content.buttons:
        view = discord.ui.View(timeout=None)
        for button in content.buttons:
            view.add_item(button)
        body["components"] = view.to_components()
        view.stop()
    if edit:
        body = {"content": None, "embeds": [], "components": []} | body
    else:
        flags.ephemeral = ephemeral
    if flags.value or edit:
        body["flags"] = flags.value
    return body


def _embed(embed: discord.Embed) -> dict[str, Any]:
    """What Discord documents of an embed that is sent; the library adds what it may only be read with."""
    return {name: value for name, value in embed.to_dict().items() if name in ("title", "description", "type")}


def escape(text: str) -> str:
    """Text that shows as it is."""
    return escape_discord(text)


def escaped_pieces(text: str, limit: int = BODY) -> list[str]:
    """A text in escaped pieces of at most ``limit`` UTF-16 units; escaping makes it longer."""
    pieces = []
    for piece in split_text(text, limit):
        escaped = escape(piece)
        if units(escaped) <= limit:
            pieces.append(escaped)
        else:
            # Every character may need a backslash.
            pieces += [escape(part) for part in split_text(piece, limit // 2)]
    return pieces


def short(text: str, limit: int) -> str:
    """Escaped text of one line, cut where it is longer."""
    line = " ".join(text.split())
    cut = split_text(line, limit // 2)
    if not cut:
        return "…"
    return escape(cut[0] if cut[0] == line else f"{cut[0]} …")


def notice(text: str) -> Content:
    """A sentence or two of ours."""
    return Content(text=escape(text)[:_CONTENT].strip() or "…")


def alert(sentence: str, command: str) -> Content:
    """An alert for administrators, with what to type."""
    said = short(sentence, BODY)
    return Content(embeds=[discord.Embed(description=said + (f"\n```\n{_code(command)}\n```" if command else ""))])


def _code(command: str) -> str:
    return command.replace("`", "'")[:_TITLE]


def titled(title: str, description: str) -> Content:
    """Something of ours to read; the description is escaped already."""
    return Content(embeds=[discord.Embed(title=title, description=description)])


def writing(text: str) -> Content:
    """What has been written so far, or how far it is."""
    pieces = escaped_pieces(text)
    if not pieces:
        return notice(texts.READING)
    return Content(embeds=[discord.Embed(description=pieces[0] + (" …" if len(pieces) > 1 else ""))])


def answer(shown: Shown, *, public: bool, shared_by: str = "", private_note: bool = False) -> list[Content]:
    """A summary as one or several messages; the last one has the small print and the buttons.

    Args:
        public: whether it stands where everybody in the channel sees it; then there is nothing to share.
        shared_by: who shared it, or empty.
        private_note: say that only the asker sees it.
    """
    pieces = escaped_pieces(shown.text) or ["…"]
    pieces[-1] += "\n\n" + small_print(shown, shared_by=shared_by, private_note=private_note)
    pages = [Content(embeds=[discord.Embed(description=piece)]) for piece in pieces]
    pages[0].embeds[0].title = title(shown)
    pages[-1] = Content(embeds=pages[-1].embeds, buttons=buttons(shown, public=public))
    return pages


def title(shown: Shown) -> str:
    """The line above a summary."""
    return short(texts.title(shown.title, shown.focus, shown.style), _TITLE)


def small_print(shown: Shown, *, shared_by: str = "", private_note: bool = False) -> str:
    """What a summary covers, who corrected it, what wrote it."""
    first, last = moment(shown.first), moment(shown.last)
    covers = escape(texts.covers(shown.messages, shown.people, "%1", "%2" if last else ""))
    lines = [covers.replace("%1", first).replace("%2", last)]
    if left := texts.left_out(shown.older, shown.left_out, more=shown.older_more):
        lines.append(escape(left))
    if shown.corrected_by:
        lines.append(f"**{short(texts.corrected_by(shown.corrected_by), 200)}**")
    if shared_by:
        lines.append(short(texts.shared_by(shared_by), 200))
    lines.append(escape(texts.written_by(shown.adapter)))
    if shown.demonstration:
        lines.append(escape(texts.DEMONSTRATION))
    if private_note:
        lines.append(escape(texts.ASKED_PRIVATELY))
    found = [" · ".join(lines)]
    if shown.notes:
        found.append(short(" ".join(shown.notes), 400))
    return "\n".join(f"-# {line}" for line in found)


def buttons(shown: Shown, *, public: bool) -> list[Press]:
    """What can be done with a summary."""
    share = [] if public else [Press(texts.SHARE, SHARE, shown.id, row=0)]
    return [
        *share,
        Press(texts.CORRECT, CORRECT, shown.id, row=0),
        Press(texts.OWN, OWN, shown.id, row=0),
        Press(texts.SOURCES, SOURCES, shown.id, row=0),
        Press(texts.UP, UP, shown.id, row=1),
        Press(texts.DOWN, DOWN, shown.id, row=1),
    ]


def hidden(summary_id: str) -> Content:
    """What stands in place of a draft while its reader writes without it."""
    return Content(
        text=escape(texts.HIDDEN_WHILE_WRITING),
        buttons=[
            Press(texts.OWN, WRITE, summary_id, discord.ButtonStyle.primary),
            Press(texts.UNHIDE, UNHIDE, summary_id),
        ],
    )


def moment(at: datetime | None) -> str:
    """A time that Discord shows to each reader by their own clock."""
    return f"<t:{int(at.timestamp())}:f>" if at is not None else ""


def sources(shown: Shown) -> Content:
    """Each sentence of what the engine wrote, with links to the messages that it rests on."""
    said: list[str] = []
    length = 0
    for sentence in shown.sentences:
        links = [
            f"[{short(author, 40)}]({link})" if link else f"{short(author, 40)} ({texts.NO_LINK})"
            for author, link in sentence.sources[:5]
        ]
        under = " · ".join(links) if links else f"*{escape(texts.NO_SOURCE)}*"
        part = f"{short(sentence.text, 600)}\n-# {under}"
        if length + units(part) > BODY:
            said.append("…")
            break
        said.append(part)
        length += units(part) + 2
    body = "\n\n".join(said) or escape(texts.NO_SOURCE)
    return Content(embeds=[discord.Embed(title=texts.SOURCES_TITLE, description=body)])


def recent(found: Sequence[Shown | None]) -> Content:
    """Summaries that somebody asked for, each with its number; None is one that they may not see any more."""
    embeds, row = [], []
    for number, one in enumerate(found[:EMBEDS], start=1):
        if one is None:
            embeds.append(discord.Embed(description=f"**{number}** · {escape(texts.NOT_YOURS_ANY_MORE)}"))
            continue
        head = f"**{number} · {short(texts.title(one.title, one.focus, one.style), 120)}** · {moment(one.created_at)}"
        embeds.append(discord.Embed(description=f"{head}\n{short(one.text, 280)}"))
        row.append(Press(f"{texts.SHOW} {number}", SHOW, one.id))
    return Content(embeds=embeds, buttons=row)


def review(pair_id: str, mark: str, where: str, author: str, at: datetime, diff: Sequence[Sequence[str]]) -> Content:
    """A correction that waits for a decision."""
    value = f"{pair_id}.{mark}"
    head = f"-# {short(where, 100)} · {short(author, 80)} · {moment(at)}"
    return Content(
        embeds=[discord.Embed(title=texts.HOME_REVIEWS, description=f"{head}\n\n{difference(diff)}")],
        buttons=[
            Press(texts.APPROVE, APPROVE, value, _GREEN),
            Press(texts.REJECT, REJECT, value, _RED),
            Press(texts.EDIT, EDIT, value),
        ],
    )


def difference(diff: Sequence[Sequence[str]], limit: int = BODY) -> str:
    """A word difference as markup: what went struck through, what came bold; cut between two parts where it is long."""
    said = ""
    for kind, old, new in diff:
        if kind == "equal":
            parts = [escape(new)]
        else:
            parts = [_marked(old, "~~")] * bool(old.strip()) + [_marked(new, "**")] * bool(new.strip())
        for part in parts:
            if units(said) + units(part) > limit:
                return said + escaped_pieces(part, max(limit - units(said), 20))[0].strip("*~ ") + " …"
            said += part
    return said


def _marked(text: str, mark: str) -> str:
    return f" {mark}{escape(' '.join(text.split()))}{mark} "
