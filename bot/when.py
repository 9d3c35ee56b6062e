"""What people type after `/summarize`, read into an :class:`Ask`, or told why it cannot be read.

    2h, 3d, since monday 9:00, yesterday, 50, new, links, #channel, about TOPIC, brief, detailed, actions, help

Nothing is guessed: what is no such word, and what contradicts itself, raises :class:`NotUnderstood`. Times of day mean
those of whoever asks, so that they are settled later (:func:`since`), once their time zone is known. How a platform
writes channels and links is its own business: it hands in a reader of single words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import cast

from bot import texts
from engine.requests import Style
from storage.errors import InputError

#: Longest stretch that can be asked for, and most messages and links.
LONGEST = timedelta(days=366)
MOST_MESSAGES = 100_000
MOST_LINKS = 5
LONGEST_FOCUS = 200

_STYLES = ("brief", "detailed", "actions")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
}
_SPAN = re.compile(r"(\d{1,6})([a-z]+)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?(am|pm)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "'": "'", "‘": "’"}


class NotUnderstood(InputError):
    """What was typed cannot be read, or contradicts itself; ``message`` says what, ``hint`` gives examples."""


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """A channel that was named, by its id."""

    id: str


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message that was linked to; ``thread`` is the message that it answers, or empty."""

    channel: str
    id: str
    thread: str = ""
    workspace: str = ""


Reference = ChannelRef | MessageRef


@dataclass(frozen=True, slots=True)
class When:
    """Where a stretch begins: a span before now, or a day and a time of day of whoever asks.

    Attributes:
        day: ``today``, ``yesterday``, a weekday's English name, an ISO date, or empty.
        clock: the time of day, or None for the day's beginning.
    """

    span: timedelta | None = None
    day: str = ""
    clock: time | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants summarised.

    Attributes:
        when: where it begins; None where that was not said.
        count: so many of the newest messages; 0 where that was not said.
        new: since they last used Redraft there.
        links: the threads of these messages.
        channel: the channel's id; empty for where they stand.
    """

    when: When | None = None
    count: int = 0
    new: bool = False
    links: tuple[MessageRef, ...] = ()
    channel: str = ""
    focus: str = ""
    style: Style = "standard"
    help: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing was said of how far it reaches."""
        return self.when is None and not self.count and not self.new and not self.links


ReadWord = Callable[[str], Reference | None]


def parse(text: str, read_word: ReadWord = lambda _word: None) -> Ask:
    """Read what was typed.

    Args:
        text: all of it.
        read_word: the channel or message that a single word names on the platform, or None.

    Raises:
        NotUnderstood: it cannot be read as such.
    """
    words, focus = _focus(text)
    reader = _Reader(words, read_word)
    if [word.lower() for word in words] in (["help"], ["?"]) and not focus:
        return Ask(help=True)
    while reader.left:
        reader.one()
    return consistent(replace(reader.ask, focus=focus))


def consistent(ask: Ask) -> Ask:
    """The same, where it does not contradict itself.

    Raises:
        NotUnderstood: it does.
    """
    if ask.links and (ask.when or ask.count or ask.new or ask.channel):
        raise NotUnderstood(texts.LINK_AND_MORE, texts.EXAMPLES)
    if sum((ask.when is not None, ask.count > 0, ask.new)) > 1:
        raise NotUnderstood(texts.SEVERAL_STRETCHES, texts.EXAMPLES)
    return ask


def parse_since(text: str) -> When:
    """Read a moment alone, as an option of a command has it: ``2h``, ``yesterday``, ``monday 9:00``, ``2026-05-12``.

    Raises:
        NotUnderstood: it is none.
    """
    words = text.split()
    if words and words[0].lower() in ("since", "last", "past"):
        words = words[1:]
    reader = _Reader(words, lambda _word: None)
    when = reader.moment()
    if when is None or reader.left:
        raise NotUnderstood(texts.no_such_time(text), texts.EXAMPLES)
    return when


def since(when: When, now: datetime) -> datetime:
    """The moment that is meant.

    Args:
        now: the present time in the time zone of whoever asks (aware).

    Raises:
        NotUnderstood: it lies in the future or too far back.
    """
    if when.span is not None:
        return now - when.span
    start = when.clock or time()
    today = now.date()
    if when.day in _DAYS:
        day = today - timedelta(days=(today.weekday() - _DAYS.index(when.day)) % 7)
    elif when.day == "yesterday":
        day = today - timedelta(days=1)
    elif when.day and when.day != "today":
        day = date.fromisoformat(when.day)
    else:
        day = today
    moment = datetime.combine(day, start, now.tzinfo)
    if moment > now and when.day in _DAYS:
        moment = datetime.combine(day - timedelta(days=7), start, now.tzinfo)
    elif moment > now and not when.day:
        moment = datetime.combine(day - timedelta(days=1), start, now.tzinfo)
    if moment > now:
        raise NotUnderstood(texts.IN_THE_FUTURE, texts.EXAMPLES)
    if now - moment > LONGEST:
        raise NotUnderstood(texts.TOO_FAR_BACK, texts.EXAMPLES)
    return moment


def _focus(text: str) -> tuple[list[str], str]:
    """The words before ``about`` and after its topic, and the topic: what is in quotes, else all that follows."""
    found = re.search(r"(?:^|\s)about(?=\s|$)", text, re.IGNORECASE)
    if found is None:
        return text.split(), ""
    before, rest = text[: found.start()], text[found.end() :].strip()
    after = ""
    if rest and rest[0] in _QUOTES and (end := rest.find(_QUOTES[rest[0]], 1)) > 0:
        rest, after = rest[1:end], rest[end + 1 :]
    topic = " ".join(rest.split())
    if not any(character.isalnum() for character in topic):
        raise NotUnderstood(texts.ABOUT_WHAT, texts.EXAMPLES)
    if len(topic) > LONGEST_FOCUS:
        raise NotUnderstood(texts.topic_too_long(LONGEST_FOCUS), texts.EXAMPLES)
    return before.split() + after.split(), topic


@dataclass(slots=True)
class _Reader:
    """Reads words from the left, one expression after the other."""

    words: list[str]
    read_word: ReadWord
    ask: Ask = field(default_factory=Ask)

    @property
    def left(self) -> bool:
        return bool(self.words)

    def one(self) -> None:
        """Read the next expression into :attr:`ask`."""
        word = self.words[0]
        lower = word.lower()
        if (found := self.read_word(word)) is not None:
            self.words.pop(0)
            self._reference(found)
        elif lower in _STYLES:
            self.words.pop(0)
            style = cast("Style", lower)
            if self.ask.style not in ("standard", style):
                raise NotUnderstood(texts.two_styles(self.ask.style, style), texts.EXAMPLES)
            self.ask = replace(self.ask, style=style)
        elif lower == "new":
            self.words.pop(0)
            self.ask = replace(self.ask, new=True)
        elif lower in ("since", "last", "past"):
            self.words.pop(0)
            when = self.moment()
            if when is None or (lower != "since" and when.span is None):
                raise NotUnderstood(texts.no_such_time(" ".join((word, *self.words[:2]))), texts.EXAMPLES)
            self._stretch(when)
        elif lower.isascii() and lower.isdigit() and not self._is_span():
            self._count()
        elif (when := self._span_or_day()) is not None:
            self._stretch(when)
        else:
            raise NotUnderstood(texts.no_such_word(word), texts.EXAMPLES)

    def moment(self) -> When | None:
        """What may follow ``since``; None where the next word is none."""
        when = self._span_or_day()
        if when is not None:
            return when
        clock = self._clock(alone=True)
        return When(clock=clock) if clock is not None else None

    def _reference(self, found: Reference) -> None:
        if isinstance(found, MessageRef):
            links = tuple(dict.fromkeys((*self.ask.links, found)))
            if len(links) > MOST_LINKS:
                raise NotUnderstood(texts.too_many_links(MOST_LINKS), texts.EXAMPLES)
            self.ask = replace(self.ask, links=links)
        elif self.ask.channel not in ("", found.id):
            raise NotUnderstood(texts.TWO_CHANNELS, texts.EXAMPLES)
        else:
            self.ask = replace(self.ask, channel=found.id)

    def _stretch(self, when: When) -> None:
        if self.ask.when is not None:
            raise NotUnderstood(texts.SEVERAL_STRETCHES, texts.EXAMPLES)
        self.ask = replace(self.ask, when=when)

    def _count(self) -> None:
        number = self.words.pop(0)
        if self.words and self.words[0].lower() in ("messages", "message"):
            self.words.pop(0)
        count = int(number) if len(number) < 10 else MOST_MESSAGES + 1
        if not 1 <= count <= MOST_MESSAGES:
            raise NotUnderstood(texts.no_such_count(number[:12], MOST_MESSAGES), texts.EXAMPLES)
        if self.ask.count:
            raise NotUnderstood(texts.SEVERAL_STRETCHES, texts.EXAMPLES)
        self.ask = replace(self.ask, count=count)

    def _is_span(self) -> bool:
        """Whether a number and a unit stand apart: ``2 hours``."""
        return len(self.words) > 1 and self.words[1].lower() in _UNITS

    def _span_or_day(self) -> When | None:
        if not self.words:
            return None
        lower = self.words[0].lower()
        if lower.isascii() and lower.isdigit() and self._is_span():
            number, unit = self.words.pop(0), self.words.pop(0).lower()
            return When(span=_span(number, unit))
        found = _SPAN.fullmatch(lower)
        if found is not None and found[2] in _UNITS:
            self.words.pop(0)
            return When(span=_span(found[1], found[2]))
        if lower in ("today", "yesterday", *_DAYS):
            self.words.pop(0)
            return When(day=lower, clock=self._clock())
        if _DATE.fullmatch(lower):
            try:
                date.fromisoformat(lower)
            except ValueError:
                raise NotUnderstood(texts.no_such_time(lower), texts.EXAMPLES) from None
            self.words.pop(0)
            return When(day=lower, clock=self._clock())
        return None

    def _clock(self, *, alone: bool = False) -> time | None:
        """A time of day that stands next: ``9:00``, ``9am``; a bare ``9`` only after ``at``, or after ``since``."""
        at = bool(self.words) and self.words[0].lower() == "at"
        place = 1 if at else 0
        if len(self.words) <= place:
            if at:
                raise NotUnderstood(texts.no_such_time("at"), texts.EXAMPLES)
            return None
        word = self.words[place].lower()
        found = _CLOCK.fullmatch(word)
        bare = found is not None and found[2] is None and found[3] is None
        if found is None or (bare and not at and not alone):
            if at:
                raise NotUnderstood(texts.no_such_time(f"at {word}"), texts.EXAMPLES)
            return None
        if bare and alone and not at:
            # `since 9` may be nine o'clock or nine messages.
            raise NotUnderstood(texts.no_such_time(f"since {word}"), texts.EXAMPLES)
        hour, minute = int(found[1]), int(found[2] or 0)
        if found[3] is not None:
            if not 1 <= hour <= 12:
                raise NotUnderstood(texts.no_such_time(word), texts.EXAMPLES)
            hour = hour % 12 + (12 if found[3] == "pm" else 0)
        if hour > 23 or minute > 59:
            raise NotUnderstood(texts.no_such_time(word), texts.EXAMPLES)
        del self.words[: place + 1]
        return time(hour, minute)


def _span(number: str, unit: str) -> timedelta:
    count = int(number) if len(number) < 9 else 10**9
    if count < 1:
        raise NotUnderstood(texts.no_such_time(f"{number}{unit}"), texts.EXAMPLES)
    if count > LONGEST / _UNITS[unit]:
        raise NotUnderstood(texts.TOO_FAR_BACK, texts.EXAMPLES)
    return count * _UNITS[unit]
