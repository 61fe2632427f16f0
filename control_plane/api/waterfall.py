"""A trace as the rows of a waterfall: operation, attempt, bar, and why it failed.

Pure and without pydantic, for the command line and the dashboard: a trace is the plain JSON of
`control_plane.api.models.traces.Trace`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from meshwright.control_plane.api.cluster_names import displayed, is_app_cluster

Span = Mapping[str, Any]

STATUS_ATTRIBUTES = ("http.status_code", "http.response.status_code")
"""Attributes with a response's HTTP status: Envoy's, and that of current OpenTelemetry conventions."""

GRPC_STATUS_ATTRIBUTE = "grpc.status_code"
"""Envoy's attribute with a response's gRPC status; 0 is OK."""

ORPHAN_MESSAGE = "its parent span was not received"

PARTIAL_BLOCKS = "▏▎▍▌▋▊▉█"
"""A cell filled from the left by one to eight eighths."""


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One span of a trace.

    A visit is a stretch of the trace within one service: adjacent spans of that service. `visit` is the id of
    its first span, `head` whether this is that span, `level` the number of enclosing visits. `attempt` counts
    from 1; 0: nothing was retried. `cause`: the span failed and says why, or nothing below it failed;
    otherwise it passed a failure on. `start` and `length` are shares (0..1) of the trace's duration, `offset`
    and `duration` milliseconds.
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
        """Whether the status blames the caller: 4xx, or a gRPC status that is neither OK nor a failure."""
        return not self.error and (self.status.startswith("grpc") or self.status[:1] == "4")

    @property
    def label(self) -> str:
        """The span in a few words: who reported it, status, response flags, attempt, operation."""
        reporter = "proxy" if self.proxy else "app"
        attempt = f"try {self.attempt}" if self.attempt else ""
        parts = (f"{reporter:<5}", self.status, self.flags, attempt, self.operation)
        return " ".join(part for part in parts if part)


def build_rows(trace: Mapping[str, Any]) -> tuple[WaterfallRow, ...]:
    """A row per span, in the order of the trace's tree."""
    spans: Sequence[Span] = trace["tree"]
    services = {"": "", **{span["id"]: span["service"] for span in spans}}
    retried = {span["parent"] for span in spans if span["attempt"]}
    failed_below = {span["parent"] for span in spans if span["error"]}
    visits: dict[str, tuple[str, int]] = {}
    rows = []
    for span in spans:
        parent = span["parent"]
        parent_visit, level = visits.get(parent, ("", -1))
        head = services.get(parent) != span["service"] or parent not in visits
        visit = (span["id"], level + 1) if head else (parent_visit, level)
        visits[span["id"]] = visit
        is_attempt = parent in retried and span["kind"] == "client"
        cause = span["error"] and (span["id"] not in failed_below or bool(span["flags"] or span["message"]))
        orphan = parent not in services
        rows.append(_row(trace, span, visit, is_attempt=is_attempt, cause=cause, orphan=orphan))
    return tuple(rows)


def _row(
    trace: Mapping[str, Any],
    span: Span,
    visit: tuple[str, int],
    *,
    is_attempt: bool,
    cause: bool,
    orphan: bool,
) -> WaterfallRow:
    total: float = trace["duration"] or 1.0
    offset: float = max(0.0, (span["start"] - trace["start"]) * 1000)
    start = min(1.0, offset / total)
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
        attempt=span["attempt"] + 1 if is_attempt else 0,
        error=span["error"],
        cause=cause,
        start=start,
        length=min(1.0 - start, span["duration"] / total),
        offset=offset,
        duration=span["duration"],
        flags=",".join(flag["flag"] for flag in span["flags"]),
        reasons=tuple(_reasons(span, orphan=orphan)),
    )


def status(attributes: Mapping[str, str]) -> str:
    """A response's status: gRPC's if it is not OK, else HTTP's; empty if there is none."""
    grpc_status = attributes.get(GRPC_STATUS_ATTRIBUTE, "")
    if grpc_status not in {"", "0", "-"}:
        return f"grpc {grpc_status}"
    return next((str(attributes[name]) for name in STATUS_ATTRIBUTES if attributes.get(name)), "")


def _operation(span: Span) -> str:
    """For Envoy: the request received, or the cluster it was forwarded to; for a service: the span's name."""
    attributes = span["attributes"]
    if not span["proxy"]:
        return str(span["operation"])
    if span["kind"] == "client":
        cluster = str(attributes.get("upstream_cluster.name", attributes.get("upstream_cluster", "?")))
        return "→ app" if is_app_cluster(cluster) else f"→ {displayed(cluster)}"
    try:
        path = str(urlsplit(attributes.get("http.url", "")).path)
    except ValueError:
        path = ""
    return f"{attributes.get('http.method', '')} {path}".strip() or str(span["operation"])


def _reasons(span: Span, *, orphan: bool) -> Iterator[str]:
    """Explanations of a span: Envoy's response flags, the service's error message, a missing parent."""
    for flag in span["flags"]:
        kinds = f" ({', '.join(flag['kinds'])})" if flag["kinds"] else ""
        yield f"{flag['flag']}: {flag['meaning']}{kinds}"
    if span["message"]:
        yield str(span["message"])
    if orphan:
        yield ORPHAN_MESSAGE


# --- collapsing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CollapsedRow:
    """A visible row. `hidden` rows of its visit are collapsed into it, `failed` of them failed."""

    row: WaterfallRow
    hidden: int = 0
    failed: int = 0


def collapse(rows: Sequence[WaterfallRow], visits: Collection[str]) -> tuple[CollapsedRow, ...]:
    """The rows without the inner spans of `visits`; what those spans called stays visible."""
    hidden_rows = [row for row in rows if row.visit in visits and not row.head]
    hidden = Counter(row.visit for row in hidden_rows)
    failed = Counter(row.visit for row in hidden_rows if row.error)
    return tuple(
        CollapsedRow(row, hidden[row.id], failed[row.id]) if row.head else CollapsedRow(row)
        for row in rows
        if row.head or row.visit not in visits
    )


# --- bars -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaterfallBar:
    """A bar in character cells: `blank` cells, then `text`.

    `reversed`: the first cell of `text` is to be drawn in reverse video, because the bar begins inside the
    cell and block characters fill cells only from the left.
    """

    blank: int
    text: str
    reversed: bool = False


def bar(row: WaterfallRow, width: int) -> WaterfallBar:
    """A row's bar in `width` cells, exact to an eighth of a cell, at least an eighth long."""
    begin = min(width * 8 - 1, int(row.start * width * 8))
    end = max(begin + 1, min(width * 8, round((row.start + row.length) * width * 8)))
    first, offset = divmod(begin, 8)
    last, rest = divmod(end, 8)
    tail = PARTIAL_BLOCKS[rest - 1] if rest else ""
    if not offset:
        return WaterfallBar(first, "█" * (last - first) + tail)
    head = PARTIAL_BLOCKS[offset - 1]
    if last == first:
        return WaterfallBar(first, head, reversed=True)
    return WaterfallBar(first, head + "█" * (last - first - 1) + tail, reversed=True)


def text_bar(row: WaterfallRow, width: int) -> str:
    """A row's bar in whole cells of one character, at least one long."""
    first = min(width - 1, int(row.start * width))
    return " " * first + "━" * min(max(1, round(row.length * width)), width - first)
