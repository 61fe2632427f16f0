"""Topology: the live graph of services, and below it what is selected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from operator import methodcaller
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize

from meshwright.control_plane.api.models.topology import TopologyEdge as Seen
from meshwright.control_plane.api.models.traces import Trace
from meshwright.tui import format, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.policies.effective_policies import effective_policies
from meshwright.tui.features.topology import detail_panel
from meshwright.tui.features.topology.detail_panel import PanelData, RateHistory
from meshwright.tui.features.traces import failed_request
from meshwright.tui.features.traces.why_dialog import WhyDialog
from meshwright.tui.graph.graph import Link
from meshwright.tui.graph.versions import has_versions, service_of, split_versions
from meshwright.tui.graph.viewport import GraphFilter
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.graph_view import GraphSelection, GraphView
from meshwright.tui.widgets.stable_static import StableStatic

HISTORY_SECONDS = 3.0
"""Seconds between two askings for the past of what is selected."""

FAILED_REQUEST_LIMIT, TRACE_ATTEMPTS = 50, 10
"""Failed requests that are asked for, and how many traces of them are looked at for one that failed here."""

LOW_HEIGHT = 18
"""Rows of the terminal below which the panel has one line."""

NO_TRAFFIC = "no traffic yet: try `mesh demo --traffic 20`"


class TopologyScreen(MeshScreen):
    """The graph. A place that names a node or an edge begins there."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"policies", "revisions"})
    SEARCH_HINT: ClassVar[str] = "part of a service's name"
    HELP: ClassVar[str] = (
        "Services and gateways, calls from left to right, over the last 10 s. ● healthy ◐ degraded ✖ failing "
        "○ no traffic ⏻ breaker open ◑ partly ↻ calls itself. On a line: calls in a second, failures, p99. "
        "Where lines cross without a corner or a branch they have nothing to do with each other. "
        "Tab goes through the calls of a service; f shows only what is near it, again: wider, Esc: all; "
        "v takes versions apart."
    )
    DEFAULT_CSS = """
    TopologyScreen #panel {
        height: 4; padding: 0 1; border-top: solid $mesh-line; text-wrap: nowrap;
        border-title-color: $mesh-muted; border-subtitle-color: $mesh-muted; border-title-align: right;
    }
    TopologyScreen.-low #panel { height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "near", "focus"),
        Binding("w", "why", "why"),
        Binding("t", "traces", "traces"),
        Binding("p", "policies", "policies"),
        Binding("v", "versions", "versions"),
        Binding("e", "events", "events", show=False),
    ]

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._history: tuple[GraphSelection, RateHistory] = (GraphSelection(), RateHistory())
        self._started = False
        self._split = False
        self._home = (GraphFilter(), GraphSelection())

    def compose_body(self) -> ComposeResult:
        """Graph and panel."""
        yield GraphView()
        yield StableStatic(id="panel")

    @property
    def graph(self) -> GraphView:
        """The graph."""
        return self.query_one(GraphView)

    def on_mount(self) -> None:
        """The past is asked for at a pace of its own."""
        super().on_mount()
        self.graph.focus()
        self.set_interval(HISTORY_SECONDS, self.load)

    def on_resize(self, event: Resize) -> None:
        """One line is enough where there is little room."""
        self.set_class(event.size.height < LOW_HEIGHT, "-low")
        self._draw_panel()

    def refresh_data(self, picture: DashboardState) -> None:
        """Figures anew; boxes move only for new ones."""
        if picture.topology is None:
            return
        self.graph.set_topology(split_versions(picture.topology) if self._split else picture.topology)
        if not self._started:
            self._select_initial()
        self._draw_panel()

    def _select_initial(self) -> None:
        """Select what this place names."""
        graph = self.graph
        match self.location:
            case navigation.NodeLocation(name) if name in graph.index.nodes:
                self._started = True
                self._show_selection(GraphSelection(name))
            case navigation.EdgeLocation(caller, callee) if callee in graph.index.nodes:
                self._started = True
                self._show_selection(GraphSelection(callee, (caller, callee)))
            case navigation.TabLocation():
                self._started = True

    def _show_selection(self, picked: GraphSelection) -> None:
        if picked.node not in self.graph.graph.nodes:
            self.graph.set_filter(GraphFilter(focus=picked.node, hops=1))
        self.graph.select(picked)
        self._home = (self.graph.graph_filter, picked)

    # --- what is selected ---------------------------------------------------------------------------

    @property
    def selected_edge(self) -> Seen | None:
        """The edge that is selected and has traffic."""
        link = self.graph.selected.link
        return self.graph.index.edges.get(link) if link else None

    @property
    def selected_service(self) -> str:
        """The service that is selected: of an edge the callee, of a version its service."""
        picked = self.graph.selected
        return service_of(picked.link[1] if picked.link else picked.node)

    @property
    def selected_link(self) -> Link | None:
        """The services at both ends of the edge that is selected."""
        link = self.graph.selected.link
        return (link[0], service_of(link[1])) if link else None

    def on_graph_view_selection_changed(self, _message: GraphView.Moved) -> None:
        """Something else is selected."""
        self._draw_panel()
        if self._history[0] != self.graph.selected:
            self.load()

    def _panel_data(self) -> PanelData:
        about, past = self._history
        return PanelData.from_state(
            self.mesh_state, self.session.now(), past if about == self.graph.selected else RateHistory()
        )

    def _draw_panel(self) -> None:
        if not self.query("#panel"):  # not yet, or not any more
            return
        panel, graph = self.query_one("#panel", StableStatic), self.graph
        width = max(20, self.size.width - 2)
        panel.set_text(
            Content("\n").join(line.truncate(width, ellipsis=True) for line in self._panel_lines(width))
        )
        panel.border_title = Content(self._view_summary())
        if graph.index.nodes and not graph.index.edges:
            panel.border_title = Content(NO_TRAFFIC)

    def _panel_lines(self, width: int) -> list[Content]:
        graph = self.graph
        link, node = graph.selected.link, graph.index.nodes.get(graph.selected.node)
        if self.selected_edge is not None:
            return detail_panel.edge_lines(self.selected_edge, self._panel_data(), width)
        if link:
            gone = f"{format.sanitize(link[0])} → {format.sanitize(link[1])}: no calls within the last minute"
            return [paint(gone, "dim")]
        if node is not None:
            return detail_panel.node_lines(node, graph.index, self._panel_data(), width)
        return [paint("" if self.mesh_state.topology else LOADING, "dim")]

    def _view_summary(self) -> str:
        """What part of the mesh is seen, and where it goes on."""
        graph = self.graph
        parts = []
        if graph.graph_filter.hops:
            near = "neighbours" if graph.graph_filter.hops == 1 else f"{graph.graph_filter.hops} calls around"
            of = f"{len(graph.graph.nodes)} of {len(graph.index.nodes)} services"
            back = "back" if graph.graph_filter == self._home[0] else "all"
            parts.append(f"{near} of {format.sanitize(graph.graph_filter.focus)}: {of}, f wider, Esc {back}")
        if graph.current_layout.density.unitless and graph.current_layout.routes:
            parts.append("on lines: calls/s")
        if more := graph.scroll_arrows():
            parts.append(f"more {more}")
        return " · ".join(parts)

    @work(exclusive=True, group="past")
    async def load(self) -> None:
        """The last quarter of an hour of what is selected."""
        picked = self.graph.selected
        if not self.is_current or not picked.node:
            return
        link = self.selected_link
        if link:
            edge = await self.session.call(lambda client: client.edge_history(*link), quiet=True)
            past = RateHistory(edge.step, edge.points) if edge else RateHistory()
        else:
            node = await self.session.call(
                lambda client: client.service_history(service_of(picked.node)), quiet=True
            )
            past = RateHistory(node.step, node.points) if node else RateHistory()
        self._history = (picked, past)
        self._draw_panel()

    # --- keys ---------------------------------------------------------------------------------------

    def apply_search(self, text: str) -> None:
        """Only names that hold the text, and their neighbours."""
        self.graph.set_filter(replace(self.graph.graph_filter, text=text.strip().lower()))

    def back_one_step(self) -> bool:
        """From an edge back to its node, from a part back to all, or to what this place began with."""
        graph, (view, picked) = self.graph, self._home
        if graph.selected.link and graph.selected != picked:
            graph.select(GraphSelection(graph.selected.node))
        elif graph.graph_filter.hops and graph.graph_filter != view:
            graph.set_filter(view)
            self._draw_panel()
        else:
            return False
        return True

    def action_near(self) -> None:
        """Only what is near the selected node; again: one call further."""
        graph = self.graph
        name = graph.selected.node
        if name:
            reach = graph.graph_filter.hops + 1 if graph.graph_filter.focus == name else 1
            graph.set_filter(GraphFilter(focus=name, hops=reach))
            self._draw_panel()

    def action_versions(self) -> None:
        """Versions of services as nodes of their own, or all in one."""
        topology = self.mesh_state.topology
        if topology is None or not (self._split or has_versions(topology)):
            self.notify("no calls are sent to a version: name Subsets in a route's backendRefs", markup=False)
            return
        self._split = not self._split
        if self.graph.selected.link:
            self.graph.selected = GraphSelection(self.graph.selected.node)
        self.refresh_data(self.mesh_state)

    def on_graph_view_opened(self, message: GraphView.Opened) -> None:
        """Enter: the service in detail; of an edge the service that is called."""
        link = message.picked.link
        self.session.go(navigation.ServiceLocation(service_of(link[1] if link else message.picked.node)))

    def action_traces(self) -> None:
        """Traces of what is selected."""
        if self.selected_service:
            self.session.go(navigation.TracesLocation(service=self.selected_service))

    def action_events(self) -> None:
        """Events of what is selected."""
        if self.selected_service:
            self.session.go(navigation.EventsLocation(subject=self.selected_service))

    @work(exclusive=True, group="policies")
    async def action_policies(self) -> None:
        """One of the policies that are in force for what is selected."""
        documents = self._panel_data().documents
        edge = self.selected_edge
        found = (
            detail_panel.edge_policies(documents, edge)
            if edge
            else effective_policies(documents, self.selected_service)
        )
        if not found:
            self.notify(f"no policy is in force for {format.sanitize(self.selected_service)}", markup=False)
            return
        lines = [f"{one.kind} {one.name}  ({one.attached_to})" for one in found]
        chosen = await self.app.push_screen_wait(
            ChooseOne(f"policies of {format.sanitize(self.selected_service)}", lines)
        )
        if chosen is not None:
            self.session.go(navigation.PolicyLocation(found[chosen].kind, found[chosen].name))

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """The newest request that failed here, with what explains it."""
        name, link = self.selected_service, self.selected_link
        if not name:
            return
        async for trace in self._failed_traces(name, link):
            span = failed_request.failed_span(trace, name, link)
            if span is None:
                continue
            self.session.go(navigation.TraceLocation(trace.id))
            place = await self.app.push_screen_wait(WhyDialog(trace, span))
            if place:
                self.session.go(place)
            return
        where = f"{link[0]} → {link[1]}" if link else name
        self.notify(f"no request of {format.sanitize(where)} that failed is kept", markup=False)

    async def _failed_traces(self, name: str, link: Link | None) -> AsyncIterator[Trace]:
        """Traces of requests that failed there, newest first: those that proxies told of, then by spans."""
        teller = link[0] if link else name
        told = await self.session.call(
            lambda client: client.requests(service=teller, errors=True, limit=FAILED_REQUEST_LIMIT),
            quiet=True,
        )
        ids = [one.trace for one in failed_request.failed_requests(told or (), name, link)]
        spans = await self.session.call(
            lambda client: client.traces(service=teller, errors=True, limit=FAILED_REQUEST_LIMIT), quiet=True
        )
        for id in list(dict.fromkeys([*ids, *(one.id for one in spans or ())]))[:TRACE_ATTEMPTS]:
            found = await self.session.call(methodcaller("trace", id), quiet=True)
            if found is not None:
                yield found
