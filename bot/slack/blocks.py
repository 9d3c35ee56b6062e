"""Answers as Slack's blocks, within every limit: sections of 3,000 characters, messages of 50 blocks and about 11,300.

Everything that comes from people or the model is escaped and shown verbatim, so that no mention in it pings and no
channel name becomes a link; only addresses of messages that we made ourselves are links. What is shown is
:class:`bot.answers.Shown`; nothing is asked of Slack or the database here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot import texts
from bot.answers import Shown
from engine.text.escape import escape_slack, split_text

Block = dict[str, Any]

#: Characters in one section, in one message, and blocks in one message or view; each with room below Slack's limit.
SECTION, MESSAGE, BLOCKS, VIEW_BLOCKS = 2_900, 9_000, 46, 96
#: Longest text of a message beside its blocks, which notifications show.
_FALLBACK = 2_000

SHARE, CORRECT, OWN, UP, DOWN, SOURCES = (
    "redraft_share",
    "redraft_correct",
    "redraft_own",
    "redraft_up",
    "redraft_down",
    "redraft_sources",
)
SHOW, OPT_OUT, OPT_IN = "redraft_show", "redraft_optout", "redraft_optin"
APPROVE, REJECT, EDIT = "redraft_approve", "redraft_reject", "redraft_edit"


def escape(text: str) -> str:
    """Text for mrkdwn that shows as it is, but for Slack's own marks of bold, italics and code."""
    return escape_slack(text)


def escaped_pieces(text: str, limit: int = SECTION) -> list[str]:
    """A text in escaped pieces of at most ``limit`` characters; escaping makes it longer."""
    pieces = []
    for piece in split_text(text, limit):
        escaped = escape(piece)
        if len(escaped) <= limit:
            pieces.append(escaped)
        else:
            # `&` takes five characters, so that a fifth always fits.
            pieces += [escape(part) for part in split_text(piece, limit // 5)]
    return pieces


def section(markup: str) -> Block:
    """One section of markup that is already escaped; Slack makes nothing of what stands in it."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": markup, "verbatim": True}}


def context(markup: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": markup, "verbatim": True}]}


def header(text: str) -> Block:
    """A headline, at most 150 characters."""
    return {"type": "header", "text": _plain(text[:150])}


def button(label: str, action: str, value: str, style: str = "") -> Block:
    """A button; ``value`` comes back with the click."""
    made: Block = {"type": "button", "action_id": action, "text": _plain(label), "value": value}
    return made | ({"style": style} if style else {})


def actions(*buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(buttons)}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": True}


def answer(shown: Shown, *, public: bool, shared_by: str = "", private_note: bool = False) -> list[list[Block]]:
    """A summary as the blocks of one or several messages; the last one has the small print and the buttons.

    Args:
        public: whether it stands where everybody in the channel sees it; then there is nothing to share.
        shared_by: who shared it, or empty.
        private_note: say that only the asker sees it.
    """
    pages: list[list[Block]] = [[section(f"*{escape(_title(shown))}*")]]
    length = len(_title(shown))
    for piece in escaped_pieces(shown.text):
        if length + len(piece) > MESSAGE or len(pages[-1]) >= BLOCKS - 4:
            pages.append([])
            length = 0
        pages[-1].append(section(piece))
        length += len(piece)
    pages[-1] += small_print(shown, shared_by=shared_by, private_note=private_note)
    pages[-1].append(buttons(shown, public=public))
    return pages


def _title(shown: Shown) -> str:
    return texts.title(shown.title, shown.focus, shown.style, thread=bool(shown.place.thread))


def small_print(shown: Shown, *, shared_by: str = "", private_note: bool = False) -> list[Block]:
    """What a summary covers, who corrected it, what wrote it."""
    first, last = moment(shown.first), moment(shown.last)
    lines = [escape(texts.covers(shown.messages, shown.people, "%1", "%2" if last else ""))]
    lines = [lines[0].replace("%1", first).replace("%2", last)]
    if left := texts.left_out(shown.older, shown.left_out, more=shown.older_more):
        lines.append(escape(left))
    if shown.corrected_by:
        lines.append(f"*{escape(texts.corrected_by(shown.corrected_by))}*")
    if shared_by:
        lines.append(escape(texts.shared_by(shared_by)))
    lines.append(escape(texts.written_by(shown.adapter)))
    if shown.demonstration:
        lines.append(escape(texts.DEMONSTRATION))
    if private_note:
        lines.append(escape(texts.ASKED_PRIVATELY))
    blocks = [context(" · ".join(lines)[:SECTION])]
    if shown.notes:
        blocks.append(context(escape(" ".join(shown.notes))[:SECTION]))
    return blocks


def buttons(shown: Shown, *, public: bool) -> Block:
    """What can be done with a summary."""
    share = [] if public else [button(texts.SHARE, SHARE, shown.id)]
    return actions(
        *share,
        button(texts.CORRECT, CORRECT, shown.id),
        button(texts.OWN, OWN, shown.id),
        button(texts.UP, UP, shown.id),
        button(texts.DOWN, DOWN, shown.id),
        button(texts.SOURCES, SOURCES, shown.id),
    )


def moment(at: datetime | None) -> str:
    """A time that Slack shows to each reader by their own clock."""
    if at is None:
        return ""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{escape(texts.moment(at))} UTC>"


def fallback(shown: Shown) -> str:
    """The text of a message beside its blocks: for notifications, and for those who see none."""
    return escape(f"{_title(shown)}: {shown.text}"[:_FALLBACK])


def sources(shown: Shown) -> list[Block]:
    """Each sentence of what the engine wrote, with links to the messages that it rests on."""
    blocks: list[Block] = []
    for sentence in shown.sentences[: VIEW_BLOCKS // 2]:
        blocks.append(section(escaped_pieces(sentence.text, 2_000)[0] if sentence.text.strip() else "…"))
        links = [
            f"<{link}|{_label(author)}>" if link else f"{_label(author)} ({texts.NO_LINK})"
            for author, link in sentence.sources[:10]
        ]
        blocks.append(context(" · ".join(links) if links else f"_{escape(texts.NO_SOURCE)}_"))
    return blocks or [section(escape(texts.NO_SOURCE))]


def _label(author: str) -> str:
    return escape(author.replace("|", " ").replace("\n", " ")[:40]) or "…"


def difference(diff: Sequence[Sequence[str]], limit: int = SECTION) -> str:
    """A word difference as markup: what went struck through, what came bold."""
    parts = []
    for kind, old, new in diff:
        if kind == "equal":
            parts.append(escape(new))
            continue
        parts += [_marked(old, "~")] * bool(old.strip()) + [_marked(new, "*")] * bool(new.strip())
    text = "".join(parts)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _marked(text: str, mark: str) -> str:
    inner = escape(text.strip()).replace(mark, "").replace("\n", " ")
    return f" {mark}{inner}{mark} " if inner else " "
