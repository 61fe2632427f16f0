"""Durations as options take them: `500ms`, `30s`, `1m30s`, `24h`, `30d`; a bare number means seconds.

Times of day as tables show them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import typer

_BARE_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_WITH_DAYS = re.compile(r"([0-9]{1,5})d(.*)")
_DAY = 86_400.0


def parse_seconds(text: str) -> float:
    """Convert a duration to seconds; raises ValueError."""
    if _BARE_NUMBER.fullmatch(text):
        return float(text)
    from meshwright.control_plane.policies.duration import parse

    days = _WITH_DAYS.fullmatch(text)
    rest = days[2] if days else text
    seconds: float = parse(rest).total_seconds() if rest or not days else 0.0
    return seconds + (int(days[1]) * _DAY if days else 0.0)


def format_clock(seconds: float) -> str:
    """Seconds since the epoch as local time: `08:02`, with the date if it is not today's."""
    local = time.localtime(seconds)
    is_today = local[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", local)


def format_duration(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two, as options take it: `90s`, `12m`, `3d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def duration_parser(minimum: float, maximum: float) -> Callable[[str | float], float]:
    """An option's parser. It accepts durations from `minimum` to `maximum` seconds and returns seconds.

    Typer passes the default through the parser too, as the float that it is.
    """

    def parse_option(value: str | float) -> float:
        if not isinstance(value, str):
            return value
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            raise typer.BadParameter(f"{value!r} is {error}") from None
        if not minimum <= seconds <= maximum:
            raise typer.BadParameter(f"must be from {_format(minimum)} to {_format(maximum)}")
        return seconds

    return parse_option


def _format(seconds: float) -> str:
    from datetime import timedelta

    from meshwright.control_plane.policies.duration import render

    return render(timedelta(seconds=seconds))
