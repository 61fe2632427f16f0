"""Lines of many logs as one list by time. Pure.

Apps write times as they like, so a line's time is the first date and time in it. A line without one, such as
a line of a stack trace, has the time of the line before it in its log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from meshwright.control_plane.api.models.commands import LogPart

HEAD = 2000
"""Characters of a line in which a time is looked for."""

_ISO = re.compile(
    r"(?<!\d)(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
"""RFC 3339, and what Envoy (without a zone) and Python's logging (with a comma) write."""

_COMMON_LOG = re.compile(r"\[(\d\d/[A-Z][a-z]{2}/\d{4}[: ]\d\d:\d\d:\d\d)(?: ([+-]\d{4}))?\]", re.ASCII)
"""The time of a line in Common Log Format, as web servers write it."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """The log of one proxy: `source` is `app` or `proxy`, that of Envoy."""

    service: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; `time` in seconds since the epoch, 0 before the first time in its log."""

    time: float
    log: LogSource
    text: str


@dataclass(slots=True)
class LogCursors:
    """How far the logs of each proxy have been read, so that each line is read once."""

    _offsets: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    _times: dict[LogSource, float] = field(default_factory=dict)

    def offsets(self, service: str, name: str) -> Mapping[str, int] | None:
        """The offset of each log of a proxy, as the API takes it; None: nothing has been read."""
        return self._offsets.get((service, name))

    def advance(self, service: str, name: str, parts: Iterable[LogPart]) -> list[LogLine]:
        """The lines of what was read from a proxy's logs; what follows them is read next."""
        lines = []
        offsets = self._offsets[service, name] = {}
        for part in parts:
            offsets[part.source] = part.end
            log = LogSource(service, name, part.source)
            read = parse_lines(log, part.text, self._times.get(log, 0.0))
            if read:
                self._times[log] = read[-1].time
            lines += read
        return lines


def parse_lines(log: LogSource, text: str, time: float = 0.0) -> list[LogLine]:
    """The lines of a log. `time` is that of the line before the first."""
    lines = []
    for line in text.splitlines():
        time = line_time(line) or time
        lines.append(LogLine(time, log, line))
    return lines


def merge_lines(lines: Iterable[LogLine]) -> list[LogLine]:
    """Lines by time. Those of one log keep their order."""
    latest: dict[LogSource, float] = {}
    keyed = []
    for line in lines:
        latest[line.log] = max(line.time, latest.get(line.log, 0.0))
        keyed.append((latest[line.log], line))
    return [line for _, line in sorted(keyed, key=lambda item: item[0])]


def line_time(text: str) -> float | None:
    """When a line was written; None without a time in it. One without a zone is local."""
    head = text[:HEAD]
    try:
        if match := _ISO.search(head):
            day, clock, fraction, zone = match.groups()
            return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0'):0<6.6}{zone or ''}").timestamp()
        if match := _COMMON_LOG.search(head):
            stamp, zone = match[1].replace(" ", ":"), match[2]
            form = "%d/%b/%Y:%H:%M:%S" + (" %z" if zone else "")
            return datetime.strptime(f"{stamp} {zone}" if zone else stamp, form).timestamp()
    except (ValueError, OverflowError):
        pass
    return None
