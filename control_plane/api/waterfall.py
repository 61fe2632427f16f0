"""A trace as the rows of a waterfall: who did what, which try, when as a share of the whole, and why so.

Pure and without pydantic, for the command line and the dashboard alike: a trace is the plain JSON of
`meshwright.control_plane.api.models.traces.Trace`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Span = Mapping[str, Any]

APP_CLUSTER_PREFIX = "/app/"
"""How the clusters begin by which an Envoy reaches its own service."""

STATUS_ATTRIBUTES = ("http.status_code", "http.response.status_code")
"""Where Envoy and where today's instrumentations say which status an answer had."""

GRPC_STATUS_ATTRIBUTE = "grpc.status_code"
"""Where Envoy says which gRPC status an answer had; 0 is OK (gRPC's status codes)."""

ORPHAN_MESSAGE = "its parent is not among the spans that were taken in"

PARTIAL_BLOCKS = "▏▎▍▌▋▊▉█"
"""A cell filled from the left by one to eight eighths."""


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One step of a trace.

    A visit is a stay of the trace in one service: steps that hang together and are of that service. `visit`
    is the id of its first step, `head` whether this is that, `level` how many visits it is within.
    `attempt`: which try it is (1: the first), 0 where nothing was tried again. `cause`: it failed and tells
    why, or nothing below it failed; else a failure only went through it. `start` and `length` are
    shares (0..1) of the trace's duration, `offset` and `duration` milliseconds.
    """

    id: str
    visit: str
    head: bool
    level: int
    depth: int
    service: str
    proxy: bool
    operation: str
    status: str
    attempt: int
    error: bool
    cause: bool
    start: float
    length: float
    offset: float
    duration: float
    flags: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def is_client_error(self) -> bool:
        """Whether it was answered that the caller did something wrong: 4xx, or a gRPC status but OK."""
        return not self.error and (self.status.startswith("grpc") or self.status[:1] == "4")

    @property
    def label(self) -> str:
        """The step in few words: who told it, how it ended, Envoy's flags, which try, what was done."""
        who = "proxy" if self.proxy else "app"
        attempt = f"try {self.attempt}" if self.attempt else ""
        return " ".join(
            word for word in (f"{who:<5}", self.status, self.flags, attempt, self.operation) if word
        )


def build_rows(trace: Mapping[str, Any]) -> tuple[WaterfallRow, ...]:
    """Every step of a trace (a Trace of the API as plain JSON) in its order."""
    spans: Sequence[Span] = trace["tree"]
    known = {"": "", **{span["id"]: span["service"] for span in spans}}
    retried = {span["parent"] for span in spans if span["attempt"]}
    passed_on = {span["parent"] for span in spans if span["error"]}
    visits: dict[str, tuple[str, int]] = {}
    found = []
    for span in spans:
        parent = span["parent"]
        above, level = visits.get(parent, ("", -1))
        head = known.get(parent) != span["service"] or parent not in visits
        visit = (span["id"], level + 1) if head else (above, level)
        visits[span["id"]] = visit
        tried = parent in retried and span["kind"] == "client"
        cause = span["error"] and (span["id"] not in passed_on or bool(span["flags"] or span["message"]))
        found.append(_row(trace, span, visit, tried=tried, cause=cause, orphan=parent not in known))
    return tuple(found)


def _row(
    trace: Mapping[str, Any], span: Span, visit: tuple[str, int], *, tried: bool, cause: bool, orphan: bool
) -> WaterfallRow:
    whole: float = trace["duration"] or 1.0
    offset: float = max(0.0, (span["start"] - trace["start"]) * 1000)
    start = min(1.0, offset / whole)
    return WaterfallRow(
        id=span["id"],
        visit=visit[0],
        head=visit[0] == span["id"],
        level=visit[1],
        depth=span["depth"],
        service=span["service"],
        proxy=span["proxy"],
        operation=_operation(span),
        status=status(span["attributes"]),
        attempt=span["attempt"] + 1 if tried else 0,
        error=span["error"],
        cause=cause,
        start=start,
        length=min(1.0 - start, span["duration"] / whole),
        offset=offset,
        duration=span["duration"],
        flags=",".join(flag["flag"] for flag in span["flags"]),
        reasons=tuple(_reasons(span, orphan=orphan)),
    )


def status(attributes: Mapping[str, str]) -> str:
    """The status of an answer: HTTP's, or gRPC's where that tells of a failure; empty where there is none."""
    told = attributes.get(GRPC_STATUS_ATTRIBUTE, "")
    if told not in {"", "0", "-"}:
        return f"grpc {told}"
    return next((str(attributes[name]) for name in STATUS_ATTRIBUTES if attributes.get(name)), "")


def _operation(span: Span) -> str:
    """What a step did: for Envoy, a request taken in or sent on; for a service, in its own words."""
    attributes = span["attributes"]
    if not span["proxy"]:
        return str(span["operation"])
    if span["kind"] == "client":
        cluster = str(attributes.get("upstream_cluster.name", attributes.get("upstream_cluster", "?")))
        return "→ app" if cluster.startswith(APP) else f"→ {cluster}"
    try:
        path = str(urlsplit(attributes.get("http.url", "")).path)
    except ValueError:
        path = ""
    return f"{attributes.get('http.method', '')} {path}".strip() or str(span["operation"])


def _reasons(span: Span, *, orphan: bool) -> Iterator[str]:
    """Why a step went as it did: Envoy's flags in words, what the service said, a parent that is missing."""
    for flag in span["flags"]:
        kinds = f" ({', '.join(flag['kinds'])})" if flag["kinds"] else ""
        yield f"{flag['flag']}: {flag['meaning']}{kinds}"
    if span["message"]:
        yield str(span["message"])
    if orphan:
        yield ORPHAN_MESSAGE


# --- folding --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CollapsedRow:
    """A row that is shown. `hidden` steps of its visit are folded into it, `failed` of those failed."""

    row: WaterfallRow
    hidden: int = 0
    failed: int = 0


def collapse(found: Sequence[WaterfallRow], visits: Collection[str]) -> tuple[CollapsedRow, ...]:
    """The rows without the inner steps of some `visits`; what they called stays."""
    away = [row for row in found if row.visit in visits and not row.head]
    hidden = Counter(row.visit for row in away)
    failed = Counter(row.visit for row in away if row.error)
    return tuple(
        CollapsedRow(row, hidden[row.id], failed[row.id]) if row.head else CollapsedRow(row)
        for row in found
        if row.head or row.visit not in visits
    )


# --- bars -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaterfallBar:
    """A bar in character cells: `blank` cells, then `text`.

    `first` of its cells begins inside of the cell: it is to be drawn in reverse, so that what the block
    leaves free is the bar.
    """

    blank: int
    text: str
    reversed: bool = False


def bar(row: WaterfallRow, width: int) -> WaterfallBar:
    """When a step was, exact to an eighth of a cell, in `width` cells; an eighth at least."""
    begin = min(width * 8 - 1, int(row.start * width * 8))
    end = max(begin + 1, min(width * 8, round((row.start + row.length) * width * 8)))
    first, inside = divmod(begin, 8)
    last, rest = divmod(end, 8)
    if not inside:
        return WaterfallBar(first, "█" * (last - first) + (EIGHTHS[rest - 1] if rest else ""))
    head = PARTIAL_BLOCKS[inside - 1]
    if last == first:
        return WaterfallBar(first, head, reversed=True)
    return WaterfallBar(
        first, head + "█" * (last - first - 1) + (EIGHTHS[rest - 1] if rest else ""), reversed=True
    )


def text_bar(row: WaterfallRow, width: int) -> str:
    """When a step was, in whole cells of one character; one at least."""
    first = min(width - 1, int(row.start * width))
    return " " * first + "━" * min(max(1, round(row.length * width)), width - first)
