"""Every text that people see in a chat, Slack's and Discord's, in one place: plain text, in English.

Platform code escapes it for its platform and puts it into buttons, modals and messages; nothing else in :mod:`bot`
holds a sentence that a person in a chat reads. Functions take what goes into a sentence, so that a translation can
order it. Errors of the engine and the learning loop bring sentences of their own, which are shown only where they say
something to somebody who is no administrator (:func:`of_error`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from storage.errors import (
    CorrectionRefused,
    EngineBusy,
    EngineUnavailable,
    InputError,
    NotPermitted,
    OptionNotHonoured,
    PairRefused,
    RedraftError,
)

# What can be asked, and what cannot be read -------------------------------------------------------------------------

EXAMPLES = (
    "For example: 2h · 3d · since monday 9:00 · yesterday · 50 · new · a message's link · about invoices · brief. "
    "Say help for all of it."
)
LINK_AND_MORE = "A link names its own thread, so it goes with neither a time, a number nor a channel."
SEVERAL_STRETCHES = "That names more than one stretch; say one time, one number, or new."
TWO_CHANNELS = "That names two channels; ask for one at a time."
IN_THE_FUTURE = "That time lies in the future."
TOO_FAR_BACK = "That is more than a year back."
ABOUT_WHAT = "Say what it should be about: about invoices."
CHOOSE_CHANNEL = "Choose the channel from the list that appears while you type its name."
OTHER_WORKSPACE = "That link leads to another workspace, which I cannot read."

HELP = (
    ("nothing more", "the last 24 hours here, or the last messages where there were few"),
    ("2h, 3d, 1w", "so far back"),
    ("since monday 9:00, yesterday, since 2026-05-12", "since then, by your own clock"),
    ("50", "the last 50 messages"),
    ("new", "since you last asked here"),
    ("a message's link, or several", "the threads of those messages"),
    ("#channel 1d", "another channel that you are in"),
    ("about invoices", "only what concerns that; put it in quotes if more follows"),
    ("brief, detailed, actions", "shorter, longer, or who is to do what"),
)
HELP_TITLE = "What you can say after the command:"
HELP_PARTS = "These go together: 3d about invoices, #support 50 brief."


def no_such_word(word: str) -> str:
    """What was typed holds a word that means nothing here."""
    return f"I don't know what “{_short(word)}” means here."


def no_such_time(words: str) -> str:
    """What should be a time is none."""
    return f"“{_short(words)}” is no time that I can read."


def no_such_count(number: str, most: int) -> str:
    """A number of messages out of bounds."""
    return f"{_short(number)} is no number of messages; say one from 1 to {most:,}."


def two_styles(one: str, other: str) -> str:
    """Two styles at once."""
    return f"A summary is {one} or {other}, not both."


def too_many_links(most: int) -> str:
    """Too many links at once."""
    return f"I take at most {most} links at a time."


def topic_too_long(most: int) -> str:
    """A topic that is no topic any more."""
    return f"Say the topic in at most {most} characters."


# Being asked --------------------------------------------------------------------------------------------------------

READING = "Reading the messages …"
TRY_AGAIN = "That did not work. Please try again."
CLICK_AGAIN = "That took too long. Please press it again."
MENTION_HELP = (
    "Mention me with summarize, and I summarise the thread: @Redraft summarize. "
    "In a channel, /summarize help says more."
)
NOT_STORED = "I could not take that at the moment. Please try again in a minute."
THREAD_GONE = "There is nothing at that link any more, or I cannot see it."
CHANNEL_GONE = "There is no such channel, or I cannot see it."
NOTHING_THERE = "There are no messages from people in that stretch."
NOT_YOURS = "You can only have summarised what you can read yourself, and you are not in that channel."
NOT_YOURS_ANY_MORE = "You are not in that channel any more, so I cannot show this to you."
GONE = "That summary is no longer stored. Ask for a new one."
ENGINE_STARTS = "The model is just starting; your answer comes as soon as it is up."
ENGINE_AWAY = "The model did not come up, so I could not write this. Tell an administrator, and ask again later."
FAILED = (
    "Something went wrong while I was at this, and trying again did not help. An administrator can see it in the log."
)
DIRECT_ONLY = "I read no direct messages; name a channel or link to a message."
THE_CHANNEL, PRIVATE_CHANNEL = "that channel", "private-channel"


def waiting(ahead: int) -> str:
    """Accepted, with so many before it."""
    return f"Taken. {_count(ahead, 'request is', 'requests are')} before yours; you are number {ahead + 1}."


def in_line(ahead: int, why: str) -> str:
    """Accepted before, and waiting in the engine's line now; ``why`` is the engine's own sentence, or empty."""
    line = f"{_count(ahead, 'request is', 'requests are')} before yours; you are number {ahead + 1}." if ahead else ""
    return " ".join(filter(None, ("Your summary waits.", line, why)))


def not_in_channel(channel: str, app: str) -> str:
    """The app is no member of a channel."""
    return f"I am not in {channel}. Type /invite @{app} there, and ask again."


def archived(channel: str) -> str:
    """A channel that nothing can be posted to."""
    return f"{channel} is archived, so nothing can be posted there."


CANNOT_POST_ARCHIVED = "That channel is archived, so nothing can be posted there."
NOT_IN_CHANNEL = "I am not in that channel. Type /invite with my name there, and ask again."
CANNOT_POST = "I may not post in that channel."

NOT_YOURS_TO_WRITE = "You may not write in that channel yourself, so I do not either."
GUILD_LEFT = "I am not in that server any more."
OTHER_SERVER = "That link leads to another server; I only read in the one where you ask."
NO_LINK_THERE = "That is no link to a message; copy one from a message's menu."
CHOOSE_POST = "That is a forum; choose one of its posts."
NO_MESSAGES_THERE = "There are no messages in that kind of channel."
NO_THREAD = "There is no thread on that message. Choose Summarize from here instead."
NO_ACCESS = "I do not see that channel. Give me the permission View Channel there, and ask again."
NOT_YOURS_HERE = "You can only have summarised what you can read yourself, with its history."
NO_CONTENT = (
    "I may not read what messages say: an administrator has to switch on Message Content Intent for me on the Bot page "
    "of Discord's developer portal."
)
PERMISSIONS = {
    "view_channel": "View Channel",
    "read_message_history": "Read Message History",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "embed_links": "Embed Links",
    "connect": "Connect",
}


def permissions_missing(channel: str, names: Sequence[str]) -> str:
    """The app may not do there what it is asked for; names are those of :data:`PERMISSIONS`."""
    wanted = listed([PERMISSIONS.get(name, name) for name in names])
    return f"In {channel or THE_CHANNEL} I lack the permission {wanted}. Give it to me there, and ask again."


def of_error(error: RedraftError | None) -> str:
    """What a person in a chat is told of an error; never an exception's text, nor a library's."""
    shown = InputError | NotPermitted | OptionNotHonoured | CorrectionRefused | PairRefused
    if isinstance(error, shown):
        return str(error)
    if isinstance(error, EngineUnavailable | EngineBusy):
        return ENGINE_AWAY
    return FAILED


# An answer ----------------------------------------------------------------------------------------------------------

SHARE, CORRECT, OWN, UP, DOWN, SOURCES = "Share", "Correct", "Write my own", "👍", "👎", "Sources"
DEMONSTRATION = "Written by the small demonstration model."
NO_SOURCE = "no message supports this"
SOURCES_TITLE = "Sources"
HIDDEN_WHILE_WRITING = "The draft is hidden while you write your own."
ASKED_PRIVATELY = "Only you can see this."
SHARED = "Shared."
SHARED_ALREADY = "It is shared already."
BEING_SHARED = "Somebody is sharing it just now."
THANKS_UP = "Thank you. 👍 noted."
THANKS_DOWN = "Thank you. 👎 noted."
NO_LINK = "no link"


def title(where: str, focus: str, style: str, *, thread: bool = False) -> str:
    """The line above a summary."""
    if thread:
        where = f"Thread in {where}" if where else "Thread"
    about = f" about {focus}" if focus else ""
    named = {"brief": " (brief)", "detailed": " (detailed)", "actions": " (actions)"}.get(style, "")
    return f"{where or 'Summary'}{about}{named}"


def covers(messages: int, people: int, first: str, last: str) -> str:
    """What a summary covers; times as the platform shows them, or empty."""
    stretch = f", {first} to {last}" if first and last else ""
    return f"{_count(messages, 'message', 'messages')} by {_count(people, 'person', 'people')}{stretch}"


def moment(at: datetime) -> str:
    """A time as people read it."""
    return f"{at:%a} {at.day} {at:%b} {at:%H:%M}"


def left_out(older: int, others: int, *, more: bool = False) -> str:
    """What a summary leaves out; empty where it leaves out nothing."""
    parts = []
    if older:
        parts.append(f"the oldest {older:,}{' or more' if more else ''} were left out")
    if others:
        parts.append(f"{_count(others, 'message', 'messages')} from apps or off the topic not read")
    return "; ".join(parts)


def written_by(adapter: str) -> str:
    """Which adapter wrote it."""
    return "base model" if adapter == "base" else f"adapter {adapter}"


def corrected_by(name: str) -> str:
    """The mark of a corrected summary."""
    return f"Corrected by {name}"


def shared_by(name: str) -> str:
    """The mark of a shared summary."""
    return f"Shared by {name}"


def progress(done: int, total: int) -> str:
    """Parts of a long conversation that have been read."""
    return f"Reading: part {done} of {total} …"


# Corrections --------------------------------------------------------------------------------------------------------

CORRECT_TITLE = "Correct the summary"
OWN_TITLE = "Write your own"
SUMMARY_LABEL = "Summary"
OWN_LABEL = "What the summary should say"
ABOUT_LABEL = "What was wrong?"
ABOUT_CHOICES = {
    "missing": "Something is missing",
    "wrong": "Something is wrong",
    "too long": "Too long",
    "tone": "Tone",
}
SAVE, CANCEL, CLOSE = "Save", "Cancel", "Close"
LOADING = "One moment …"
REASON_TITLE = "What was wrong?"
REASON_LABEL = "In a few words, if you like"
CORRECTED_ALREADY = "Thank you. That correction is there already."
OWN_CORRECTION = "You wrote this one, so somebody else has to decide on it."
EMPTY_TEXT = "Write what the summary should say."


def part_label(number: int, total: int) -> str:
    """The label of one of several inputs that hold a long summary."""
    return SUMMARY_LABEL if total == 1 else f"{SUMMARY_LABEL}, part {number} of {total}"


# The home of the app ------------------------------------------------------------------------------------------------

HOME_WHAT = (
    "I summarise conversations with a language model on your team's own machine. What I write can be corrected by "
    "whoever knows better, and the corrections teach the model."
)
HOME_SUMMARIES, HOME_CORRECTIONS, HOME_REVIEWS, HOME_DATA = (
    "Summaries you asked for",
    "Your corrections",
    "Corrections waiting for your review",
    "What is stored about you",
)
HOME_NONE = "None yet."
OPT_OUT, OPT_IN, SHOW = "Opt out", "Take part again", "Show"
OPT_OUT_EXPLAINED = (
    "After opting out, your messages leave what is stored and are read for no summary from then on. What was learnt "
    "before stays; an administrator can erase that too."
)
OPTED_OUT = "You have opted out: your messages are not stored and not read for summaries."
OPTED_OUT_NOW = (
    "Done. Your messages have left what is stored, and no summary reads them from now on. Say optin to take part again."
)
OPTED_IN_NOW = "Welcome back. From now on your messages are read for summaries again."
WAS_OPTED_IN = "You had not opted out."
MORE_REVIEWS = "There are more; they appear here when these are decided."
APPROVE, REJECT, EDIT = "Approve", "Reject", "Edit"
REJECT_TITLE, REJECT_LABEL = "Reject the correction", "Why?"
EDIT_TITLE = "Edit the correction"
NO_REVIEWER = "Only the reviewers named for that channel decide there."
APPROVED, REJECTED = "Approved.", "Rejected."
EDITED_PAIR = "Taken as your version of it. It waits for approval now."
REDRAFT_HELP = "Say mydata, optout, optin, recent or help."
SENT_TO_HOME = "You find it in my App Home."


def state_of_correction(state: str, *, used: bool) -> str:
    """What became of a correction."""
    if used:
        return "a fine-tune has learnt from it"
    return {
        "pending": "waiting for approval",
        "approved": "approved; the next fine-tune can learn from it",
        "rejected": "not used",
        "": "kept as feedback",
    }.get(state, state)


def my_data(counts: Mapping[str, int]) -> str:
    """What is stored about a person, by what it is."""
    told = [f"{number:,} {what}" for what, number in counts.items() if number]
    if not told:
        return "Nothing is stored about you."
    return f"Stored about you, or resting on what you wrote: {', '.join(told)}."


# Discord's commands -------------------------------------------------------------------------------------------------

COMMANDS = {
    "summarize": "Summarise this thread or channel",
    "since": "How far back: 2h, yesterday, monday 9:00, 2026-05-12, or new (since you last asked)",
    "messages": "How many of the newest messages",
    "channel": "Another channel or thread",
    "link": "A message's link: its thread, or from that message on",
    "about": "Only what concerns this topic",
    "style": "How long, or who is to do what",
    "share": "Answer where everybody here sees it; otherwise only you do",
    "redraft": "What Redraft has for you",
    "recent": "The summaries that you asked for",
    "mydata": "What is stored about you",
    "optout": "Have your messages left out from now on",
    "optin": "Take part again",
    "review": "Corrections that wait for your decision",
    "help": "What can be asked",
}
STYLES = {"standard": "standard", "brief": "brief", "detailed": "detailed", "actions": "actions"}
MENU_THREAD, MENU_FROM = "Summarize thread", "Summarize from here"
SINCE_CHOICES = {
    "1h": "1h: the last hour",
    "2h": "2h",
    "8h": "8h",
    "1d": "1d: the last 24 hours",
    "3d": "3d",
    "1w": "1w: the last week",
    "today": "today",
    "yesterday": "yesterday",
    "monday": "monday",
    "new": "new: since you last asked here",
}
SINCE_UNREADABLE = "no time that I can read"
HELP_DISCORD = (
    "/summarize alone: this thread or post, or the last 24 hours of this channel. With since, messages, channel, link, "
    "about and style you say what and how; with share everybody here sees the answer. A message's menu has Apps > "
    "Summarize thread and Summarize from here. /redraft recent brings your answers back."
)
UNHIDE = "Show the draft"
NEXT_PART = "Correct the next part"
MORE_REVIEWS_DISCORD = "There are more; ask again when these are decided."
NO_REVIEWS = "Nothing waits for your review."
NOT_REVIEWER = "Nobody named you a reviewer of a channel here."


# Alerts -------------------------------------------------------------------------------------------------------------


def alert(sentence: str, command: str) -> tuple[str, str]:
    """An alert for administrators: what is the matter, and what to type."""
    return f"⚠️ {sentence}", command


def listed(items: Sequence[str]) -> str:
    """Several names in a row."""
    return ", ".join(items)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _short(text: str) -> str:
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= 40 else line[:39] + "…"
