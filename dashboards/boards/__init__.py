"""The dashboards, one module each, and all of them in the order of docs/grafana.md."""

from __future__ import annotations

from meshwright.dashboards.board import Board
from meshwright.dashboards.boards import (
    apps,
    control_plane,
    exchange,
    overview,
    resilience,
    routes,
    security,
    service,
    sidecars,
    tcp,
    versions,
)

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    service.BOARD,
    routes.BOARD,
    versions.BOARD,
    resilience.BOARD,
    tcp.BOARD,
    sidecars.BOARD,
    control_plane.BOARD,
    security.BOARD,
    apps.BOARD,
    exchange.BOARD,
)
