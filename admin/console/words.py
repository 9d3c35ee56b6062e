"""How times, counts and states are written on the console's screens. Values in, short text out.

A state is always a word, with a sign in front of it: colour only helps.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from rich.text import Text

#: Sign and colour of a state; colours are the sixteen of every terminal.
STATES = {
    "active": ("●", "green"),
    "candidate": ("◆", "cyan"),
    "retired": ("○", ""),
    "rejected": ("✕", "red"),
    "pending": ("·", "yellow"),
    "approved": ("✓", "green"),
    "queued": ("·", "yellow"),
    "running": ("▶", "cyan"),
    "stopped": ("◼", "yellow"),
    "finished": ("✓", "green"),
    "failed": ("✕", "red"),
    "refused": ("✕", "red"),
    "up": ("●", "green"),
    "loading": ("◐", "yellow"),
    "draining": ("◐", "yellow"),
    "degraded": ("◐", "yellow"),
    "down": ("○", "red"),
    "ok": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✕", "red"),
    "better": ("▲", "green"),
    "worse": ("▼", "red"),
    "inconclusive": ("≈", "yellow"),
}


def state(name: str, said: str = "") -> Text:
    """A state as a sign and a word."""
    sign, colour = STATES.get(name, ("·", ""))
    return Text(f"{sign} {said or name}", style=colour, no_wrap=True, end="")


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: ``5 s``, ``12 min``, ``3 h``, ``9 d``; ``in 3 h`` of what is to come."""
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    return f"in {_span(-seconds)}" if seconds < -1 else _span(max(0.0, seconds))


def _span(seconds: float) -> str:
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h"), (60_480_000, 86_400, "d")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 31_557_600:.0f} y"


def when(at: datetime | None, zone: tzinfo | None, *, seconds: bool = False) -> str:
    """Local date and time."""
    if at is None:
        return ""
    return f"{at.astimezone(zone):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def lately(at: datetime, now: datetime, zone: tzinfo | None) -> str:
    """The time of today, with the date where it was another day."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"


def date_spelled(at: datetime) -> str:
    """``Tuesday, 5 May 2026, 02:30 CEST``."""
    return f"{at:%A}, {at.day} {at:%B %Y, %H:%M} {at:%Z}".rstrip()


def short(name: str) -> str:
    """The beginning of an id, which the commands take for the whole of it."""
    return name if len(name) <= 15 else name[:10]


def many(count: int, one: str, more: str = "") -> str:
    """``1 pair``, ``1,204 pairs``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def share(part: int, whole: int) -> str:
    """A share in whole per cent, empty of nothing."""
    return f"{part / whole:.0%}" if whole else ""


def duration(span: timedelta) -> str:
    """``1:02:03``, ``4:05``."""
    seconds = int(span.total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def size(count: float) -> str:
    """Bytes as ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def line_of(text: str, limit: int = 200) -> str:
    """People's text on one line, without what a terminal would obey."""
    from engine.text.safety import visible

    # Cut before it is looked at: a list has hundreds, and a message may be a page.
    flat = " ".join(visible(text[: 4 * limit], keep_newlines=False).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
