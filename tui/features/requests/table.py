"""Live requests as table rows. Pure."""

from __future__ import annotations

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.requests import Request
from meshwright.tui.format import NO_VALUE, Tone, format_number, format_time, sanitize
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("time", 8),
    TableColumn("caller", 10, drop_rank=1),
    TableColumn("request", 20, grow=True),
    TableColumn("status", 6, right=True),
    TableColumn("ms", 6, right=True),
    TableColumn("tries", 5, right=True, drop_rank=4),
    TableColumn("proxy", 12, drop_rank=3),
    TableColumn("why", 12, grow=True, drop_rank=2),
)

OUTSIDE = "outside"
"""The caller of a gateway's requests, and of a request without a client certificate."""


def caller_of(request: Request) -> str:
    """Who sent a request."""
    return request.caller if request.caller and request.direction != "ingress" else OUTSIDE


def request_line(request: Request) -> str:
    """Method and path."""
    return f"{request.method} {request.path}".strip()


def why_of(request: Request) -> str:
    """The policies that refused the request, or Envoy's response flags, explained in brief."""
    if request.refused_by:
        return f"refused by {', '.join(request.refused_by)}"
    return "; ".join(f"{flag.flag} {flag.meaning.partition(',')[0]}" for flag in request.flags)


ORDERS: tuple[SortOrder[Request], ...] = (
    SortOrder("arrival", "time", lambda _: 0),
    SortOrder("caller", "caller", caller_of),
    SortOrder("request", "request", request_line),
    SortOrder(
        "status", "status", lambda request: (not request.failed, request.grpc_status, -request.status), True
    ),
    SortOrder("duration", "ms", lambda request: -request.duration, descending=True),
    SortOrder("attempts", "tries", lambda request: -request.attempts, descending=True),
    SortOrder("proxy", "proxy", lambda request: request.proxy),
    SortOrder("reason", "why", lambda request: (not why_of(request), why_of(request))),
)
"""Those that are equal stay in the order of arrival."""


def request_row(key: str, request: Request) -> TableRow:
    """The row of a request."""
    tone: Tone = "bad" if request.failed else "partial" if request.status >= 400 else "good"
    sign = {"bad": signs.BAD, "partial": signs.PARTIAL, "good": signs.GOOD}[tone]
    status = request.grpc_status or str(request.status or NO_VALUE)
    return TableRow(
        key,
        (
            TableCell(sign, tone),
            TableCell(format_time(request.time), "dim"),
            TableCell(sanitize(caller_of(request)), "accent"),
            TableCell(sanitize(request_line(request)), "strong" if request.failed else "plain"),
            TableCell(sanitize(status), tone),
            TableCell(format_number(request.duration)),
            TableCell(str(request.attempts or NO_VALUE), "partial" if request.attempts > 1 else "dim"),
            TableCell(sanitize(request.proxy), "dim"),
            TableCell(sanitize(why_of(request)), "dim" if tone == "good" else tone),
        ),
    )


def search_text(request: Request) -> str:
    """The text of a request that search looks at."""
    failed = "failed error" if request.failed else ""
    return (
        f"{caller_of(request)} {request_line(request)} {request.status or ''} {request.grpc_status} "
        f"{request.proxy} {request.callee} {request.host} {why_of(request)} {request.id} {request.trace} "
        f"{failed}"
    )
