"""What traces are looked for, as one line of text or by keys; and traces as rows of a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from control_plane.api.traced import TraceSummary
from tui import words
from tui.rows import Cell, Column, Row

DURATIONS = ("", "100ms", "250ms", "1s", "5s")
"""What the key for the least duration goes through."""

_DURATION = re.compile(r">=?([0-9]{1,9})(ms|s|m)?")

SHORT_ID = 12
"""Digits of an id in the list: no two of some thousand traces share them."""

COLUMNS = (
    Column("", 1),
    Column("began", 8),
    Column("ms", 6, right=True),
    Column("request", 24, grow=True),
    Column("failed", 6, right=True, rank=1),
    Column("spans", 5, right=True, rank=2),
    Column("at", 12, rank=3),
    Column("trace", SHORT_ID, rank=4),
    Column("services", 20, grow=True, rank=5),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: the API finds all but `texts`, which a trace's line must hold."""

    service: str = ""
    operation: str = ""
    min_duration: str = ""
    errors: bool = False
    texts: tuple[str, ...] = ()

    def said(self) -> str:
        """What is looked for, in words."""
        parts = [
            f"of {self.service}" if self.service else "of all services",
            f"operation {self.operation}" if self.operation else "",
            f"at least {self.min_duration}" if self.min_duration else "",
            "failed only" if self.errors else "",
            f"with {' '.join(self.texts)}" if self.texts else "",
        ]
        return " · ".join(part for part in parts if part)


NOTHING = Wanted()


def parse(text: str, services: Collection[str], under: Wanted = NOTHING) -> Wanted:
    """A search line: a service's name, `op=NAME`, `>250ms`, `errors`, and any other words.

    What it does not name is as in `under`. An operation's name may hold spaces: `op=` takes the rest.
    """
    head, told, operation = text.partition("op=")
    found = replace(under, operation=operation.strip()) if told else under
    texts: list[str] = []
    for word in head.split():
        least = _DURATION.fullmatch(word)
        if least:
            found = replace(found, min_duration=f"{least[1]}{least[2] or 'ms'}")
        elif word.lower() in {"errors", "error", "failed"}:
            found = replace(found, errors=True)
        elif word in services:
            found = replace(found, service=word)
        elif word not in {">", ">="}:
            texts.append(word)
    return replace(found, texts=tuple(texts))


def longer(duration: str) -> str:
    """The next least duration."""
    at = DURATIONS.index(duration) if duration in DURATIONS else -1
    return DURATIONS[(at + 1) % len(DURATIONS)]


def holding(traces: Iterable[TraceSummary], texts: Collection[str]) -> list[TraceSummary]:
    """The traces whose line holds every text, the one that began last first."""
    wanted = [text.lower() for text in texts]
    found = [one for one in traces if all(text in _line(one) for text in wanted)]
    return sorted(found, key=lambda one: -one.start)


def _line(trace: TraceSummary) -> str:
    names = " ".join(share.service for share in trace.services)
    return f"{trace.id} {trace.request} {trace.operation} {trace.service} {names}".lower()


def row(trace: TraceSummary) -> Row:
    """A trace as a row; a failed one begins with its sign."""
    bad = trace.errors > 0
    failed = [share.service for share in trace.services if share.errors]
    others = [share.service for share in trace.services if not share.errors]
    services = ", ".join([f"✖ {name}" for name in failed] + others)
    return Row(
        trace.id,
        (
            Cell("✖", "bad") if bad else Cell("●", "good"),
            Cell(words.clock(trace.start), "dim"),
            Cell(words.three(trace.duration)),
            Cell(words.clean(trace.request or trace.operation), "strong" if bad else "plain"),
            Cell(str(trace.errors) if bad else words.NOTHING, "bad" if bad else "dim"),
            Cell(str(trace.spans)),
            Cell(words.clean(trace.service)),
            Cell(trace.id[:SHORT_ID], "dim"),
            Cell(words.clean(services), "dim"),
        ),
    )
