"""Times of the past as a person writes them: `14:32`, `10m` or `-10m` (ago), a date with a time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from meshwright.cli.durations import parse_seconds

_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")

FORMS = "14:32, 14:32:10, 10m (ago), 2026-12-02 14:32 or 2026-12-02T14:32:10Z"
"""Examples for messages."""


def parse_past_time(text: str, now: float) -> float:
    """The time in epoch seconds; raises ValueError.

    Without a zone it is local. A time of day is the last one that has passed: 23:50, at half past midnight,
    is yesterday's.
    """
    if clock := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        local = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=second, microsecond=0)
        if local.timestamp() > now:
            local -= timedelta(days=1)
        return local.timestamp()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return now - parse_seconds(text.removeprefix("-"))
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write {FORMS}") from None


def format_ago(seconds: float) -> str:
    """How long ago something was: `40 s ago`, `12 min ago`, `3 h 5 min ago`."""
    age = max(0, round(seconds))
    if age < 60:
        return f"{age} s ago"
    minutes = age // 60
    if minutes < 60:
        return f"{minutes} min ago"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min ago" if rest else f"{hours} h ago"
