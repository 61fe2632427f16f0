"""TCP: connections, bytes and failures between callers and upstreams that do not speak HTTP."""

from __future__ import annotations

from meshwright.dashboards.board import RESILIENCE, TCP, Board, Section, dashboard_url, query_variable
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    PanelColumn,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import EDGE, edges_now

_NAME = "{{service}} → {{callee}}"
_CONNECTIONS = f"mesh:edge_connections:rate1m{{{EDGE}}}"
_FAILURES = f"mesh:edge_connection_failures:rate1m{{{EDGE}}}"
_SENT = f"mesh:edge_sent_bytes:rate1m{{{EDGE}}}"
_RECEIVED = f"mesh:edge_received_bytes:rate1m{{{EDGE}}}"


def _of_tcp(expr: str) -> str:
    return f"{expr} and on (service, callee) {_CONNECTIONS}"


CONNECTIONS = Section(
    "Connections",
    (
        TablePanel(
            "Edges",
            "Connections to upstreams that speak TCP in the last minute, as the callers' sidecars saw them.",
            {"service": "Caller", "callee": "Callee"},
            (
                PanelColumn("New connections", _CONNECTIONS, "cps"),
                PanelColumn("Open", _of_tcp(edges_now("upstream_cx_active"))),
                PanelColumn("Failed attempts", _FAILURES, "cps", ANY_RATE_IS_BAD),
                PanelColumn("Sent", _SENT, "Bps"),
                PanelColumn("Received", _RECEIVED, "Bps"),
                PanelColumn("Healthy hosts", _of_tcp(edges_now("membership_healthy"))),
            ),
            links=(("Resilience", dashboard_url(RESILIENCE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Bytes sent",
            "Bytes per second from callers to upstreams.",
            "Bps",
            ((_SENT, _NAME),),
            stacked=True,
        ),
        TimeSeriesPanel(
            "Bytes received",
            "Bytes per second from upstreams to callers.",
            "Bps",
            ((_RECEIVED, _NAME),),
            stacked=True,
        ),
        TimeSeriesPanel(
            "New connections", "Connections per second that callers opened.", "cps", ((_CONNECTIONS, _NAME),)
        ),
        TimeSeriesPanel(
            "Open connections",
            "Connections between the callers' sidecars and instances.",
            "short",
            ((_of_tcp(edges_now("upstream_cx_active")), _NAME),),
        ),
        TimeSeriesPanel(
            "Failed attempts",
            "Attempts per second that led to no instance: refused, timed out, or none was healthy.",
            "cps",
            ((_FAILURES, _NAME),),
            ANY_RATE_IS_BAD,
        ),
    ),
)

BOARD = Board(
    TCP,
    "TCP",
    "Connections, bytes and failures between callers and upstreams that do not speak HTTP.",
    (CONNECTIONS,),
    (
        query_variable("service", "Caller", "label_values(mesh:edge_connections:rate1m, service)"),
        query_variable("callee", "Callee", "label_values(mesh:edge_connections:rate1m, callee)"),
    ),
)
