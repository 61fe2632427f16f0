"""One line about the visible part of the graph: how much of the mesh it is, and where it continues."""

from __future__ import annotations

from meshwright.tui.format import sanitize
from meshwright.tui.graph.viewport import GraphFilter
from meshwright.tui.widgets.graph_view import GraphView

NO_TRAFFIC = "no traffic yet: try `mesh demo --traffic 5`"
IDLE = "no requests come in: try `mesh demo --traffic 5`"


def view_summary(graph: GraphView, home: GraphFilter, grouped_by: str = "") -> str:
    """The summary; `home`: the part of the graph to which Esc returns. `grouped_by`: empty: it is not."""
    if graph.index.nodes and not graph.index.edges:
        return NO_TRAFFIC
    view, parts = graph.graph_filter, []
    if view.hops:
        distance = "neighbours" if view.hops == 1 else f"{view.hops} hops around"
        count = f"{len(graph.graph.nodes)} of {len(graph.index.nodes)} services"
        back = "back" if view == home else "all"
        parts.append(f"{distance} of {sanitize(view.focus)}: {count}, z wider, Esc {back}")
    if grouped_by:
        parts.append(f"by {sanitize(grouped_by)}, Enter expands a group")
    if graph.current_layout.density.unitless and graph.current_layout.routes:
        parts.append("on edges: requests/s")
    if not graph.draws_all_edges:
        parts.append("edges of the selection and those in trouble, a all")
    if arrows := graph.scroll_arrows():
        parts.append(f"more {arrows}")
    if graph.index.is_idle:
        parts.append(IDLE)
    return " · ".join(parts)
