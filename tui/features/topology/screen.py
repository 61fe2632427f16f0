"""The topology tab: the live service graph, and a panel with details of the selected node or edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.events import Resize

from meshwright.control_plane.api import signs
from meshwright.tui import keys, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.topology.card_data import card_data
from meshwright.tui.features.topology.detail_panel import PanelData, edge_lines, node_lines
from meshwright.tui.features.topology.grouping import NO_GROUPS, Grouping, choices
from meshwright.tui.features.topology.selection_details import (
    SelectionDetails,
    fetch_history,
    policies_in_force,
)
from meshwright.tui.features.topology.selection_screen import SelectionScreen
from meshwright.tui.features.topology.view_summary import view_summary
from meshwright.tui.format import sanitize
from meshwright.tui.graph.versions import has_versions, service_of, split_versions
from meshwright.tui.graph.viewport import GraphFilter
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.screen import LOADING
from meshwright.tui.theme import paint
from meshwright.tui.widgets.graph_view import GraphSelection, GraphView
from meshwright.tui.widgets.stable_static import StableStatic

RELOAD_SECONDS = 3.0
"""Seconds between two requests for the history and policies of the selection."""

CARD_FIELDS: frozenset[StateField] = frozenset({"services", "policies", "rollouts"})
"""Fields that are polled only while the nodes are drawn as cards."""

LOW_HEIGHT = 18
"""Rows of the terminal below which the panel has one line."""


class TopologyScreen(SelectionScreen):
    """The graph. A location that names a node or an edge selects it."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"revisions"})
    HAS_PAST: ClassVar[bool] = True
    SEARCH_HINT: ClassVar[str] = "a service's name"
    HELP: ClassVar[str] = (
        f"Services and gateways, callers left of callees, over the last 10 s. {signs.GOOD} healthy "
        f"{signs.PARTIAL} degraded {signs.BAD} unhealthy {signs.OFF} unknown {signs.BLOCKED} breaker open "
        f"{signs.PARTLY_BLOCKED} partly open ∞ calls itself. On an edge: requests/s, failures, p99. "
        "Lines that cross without a corner or branch are unrelated. Tab cycles through the edges of a "
        "service; of many edges a draws all; z shows only its neighbours, again: one hop more, Esc: all; v "
        "splits services by version; b groups them by a label or the beginning of their names, Enter expands "
        "a group, Esc collapses all."
    )
    DEFAULT_CSS = """
    TopologyScreen #panel {
        height: 4; padding: 0 1; border-top: solid $mesh-line; text-wrap: nowrap;
        border-title-color: $mesh-muted; border-subtitle-color: $mesh-muted; border-title-align: right;
    }
    TopologyScreen.-low #panel { height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.FOCUS, "focus_neighbours"),
        bind(keys.VERSIONS, "versions"),
        bind(keys.GROUP, "group"),
        bind(keys.SHOW_ALL, "all_edges"),
    ]

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._details = SelectionDetails()
        self._started = False
        self._split = False
        self._grouping = Grouping()
        self._members: Mapping[str, tuple[str, ...]] = {}
        self._home = (GraphFilter(), GraphSelection())

    def compose_body(self) -> ComposeResult:
        """Graph and panel."""
        yield GraphView()
        yield StableStatic(id="panel")

    @property
    def state_fields(self) -> frozenset[StateField]:
        """The fields to poll: more of them while the nodes are drawn as cards, or grouped."""
        cards = any(graph.has_cards for graph in self.query(GraphView))
        fields = self.STATE_FIELDS | CARD_FIELDS if cards else self.STATE_FIELDS
        return fields | {"instances"} if self._grouping.by else fields

    def on_mount(self) -> None:
        """Fetch details of the selection at an interval of their own."""
        super().on_mount()
        self.graph.focus()
        self.set_interval(RELOAD_SECONDS, self.load)

    def on_resize(self, event: Resize) -> None:
        """Shrink the panel to one line in a low terminal."""
        self.set_class(event.size.height < LOW_HEIGHT, "-low")
        self._draw_panel()

    def refresh_data(self, state: DashboardState) -> None:
        """Update the figures; boxes move only for new nodes or edges."""
        if state.topology is None:
            return
        topology = split_versions(state.topology) if self._split else state.topology
        self._grouping = self._grouping.updated(topology, state.instances)
        grouped = self._grouping.apply(topology)
        self.groups, self._members = grouped.groups, grouped.members
        self.graph.set_topology(grouped.topology, card_data(state, self._members))
        if not self._started:
            self._select_initial()
        self._draw_panel()

    def _select_initial(self) -> None:
        """Select what the location names."""
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

    def _show_selection(self, selection: GraphSelection) -> None:
        if selection.node not in self.graph.graph.nodes:
            self.graph.set_filter(GraphFilter(focus=selection.node, hops=1))
        self.graph.select(selection)
        self._home = (self.graph.graph_filter, selection)

    # --- the panel ----------------------------------------------------------------------------------

    def on_graph_view_selection_changed(self, _message: GraphView.SelectionChanged) -> None:
        """Show another selection and fetch its details, and those of cards if there are any now."""
        if self.is_current:
            self.resubscribe()
        self._draw_panel()
        if self._details.selection != self.graph.selected:
            self.load()

    def _panel_data(self) -> PanelData:
        state, details = self.mesh_state, self._details
        if details.selection != self.graph.selected or state.past:
            details = SelectionDetails()
        data = PanelData(
            policies=details.policies,
            revisions=state.revisions or (),
            now=state.past.moment.time if state.past else self.session.now(),
            history=details.history,
        )
        return replace(data, thresholds=state.topology.thresholds) if state.topology else data

    def _draw_panel(self) -> None:
        if not self.query("#panel"):  # not mounted yet, or already removed
            return
        panel, graph = self.query_one("#panel", StableStatic), self.graph
        width = max(20, self.size.width - 2)
        lines = (line.truncate(width, ellipsis=True) for line in self._panel_lines(width))
        panel.set_text(Content("\n").join(lines))
        panel.border_title = Content(view_summary(graph, self._home[0], self._grouping.by))

    def _panel_lines(self, width: int) -> list[Content]:
        graph = self.graph
        link, node = graph.selected.link, graph.index.nodes.get(graph.selected.node)
        if self.selected_edge is not None:
            return edge_lines(self.selected_edge, self._panel_data(), width)
        if link:
            text = f"{sanitize(link[0])} → {sanitize(link[1])}: no requests in the last minute"
            return [paint(text, "dim")]
        if node is not None:
            return node_lines(node, graph.index, self._panel_data(), width)
        return [paint("" if self.mesh_state.topology else LOADING, "dim")]

    @work(exclusive=True, group="details")
    async def load(self) -> None:
        """Fetch the history and the policies of the selection."""
        selection, link = self.graph.selected, self.selected_link
        if not self.is_current or not self.selected_service or self.mesh_state.past:
            return
        service, caller = self.selected_service, link[0] if link else ""
        history = await fetch_history(self.session, service, link)
        if not self._is_selected(selection):
            return
        previous = self._details.policies if self._details.selection == selection else None
        self._details = SelectionDetails(selection, history, previous)
        self._draw_panel()
        policies = await policies_in_force(self.session, service, caller, quiet=True)
        if policies is not None and self._is_selected(selection):
            self._details = SelectionDetails(selection, history, policies)
            self._draw_panel()

    def _is_selected(self, selection: GraphSelection) -> bool:
        """Whether this is still the selection; False once the screen is being removed."""
        return any(graph.selected == selection for graph in self.query(GraphView))

    # --- keys ---------------------------------------------------------------------------------------

    def apply_search(self, text: str) -> None:
        """Show only services that match the text, and their neighbours."""
        labels = {name: self._search_labels(name) for name in self.graph.index.nodes} if text.strip() else {}
        self.graph.set_filter(replace(self.graph.graph_filter, text=text.strip().lower(), labels=labels))

    def _search_labels(self, name: str) -> str:
        """What search looks at besides the name of a node: labels, and of a group its services."""
        members = self._members.get(name, ())
        return " ".join((*members, self.labels_of(name, *members)))

    def back_one_step(self) -> bool:
        """From an edge to its node, from a part of the graph to all, or to the initial view."""
        graph, (view, selection) = self.graph, self._home
        if graph.selected.link and graph.selected != selection:
            graph.select(GraphSelection(graph.selected.node))
        elif graph.graph_filter.hops and graph.graph_filter != view:
            graph.set_filter(view)
            self._draw_panel()
        elif self._grouping.expanded:
            self._show_grouping(replace(self._grouping, expanded=frozenset()))
        else:
            return False
        return True

    def action_focus_neighbours(self) -> None:
        """Show only the neighbours of the selected node; again: one hop more."""
        graph = self.graph
        name = graph.selected.node
        if name:
            hops = graph.graph_filter.hops + 1 if graph.graph_filter.focus == name else 1
            graph.set_filter(GraphFilter(focus=name, hops=hops))
            self._draw_panel()

    def action_all_edges(self) -> None:
        """In a crowded graph draw all edges, or only those of the selection and those in trouble."""
        self.graph.toggle_all_edges()
        self._draw_panel()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is a choice of edges only in a crowded graph."""
        if action == "all_edges" and not any(graph.is_crowded for graph in self.query(GraphView)):
            return False
        return super().check_action(action, parameters)

    def action_versions(self) -> None:
        """Show versions of services as separate nodes, or merge them."""
        topology = self.mesh_state.topology
        if topology is None or not (self._split or has_versions(topology)):
            message = "no requests are routed to a version: name Subsets in a route's backendRefs"
            self.notify(message, markup=False)
            return
        self._split = not self._split
        if self.graph.selected.link:
            self.graph.selected = GraphSelection(self.graph.selected.node)
        self.refresh_data(self.mesh_state)

    @work(exclusive=True, group="group")
    async def action_group(self) -> None:
        """Choose by what services are grouped."""
        topology = self.mesh_state.topology
        instances = await self.session.call(lambda client: client.instances())
        if topology is None or instances is None:
            return
        options = choices(topology, instances)
        if not options:
            self.notify("no label, and no beginning of a name, is common to some services", markup=False)
            return
        names = [*options, NO_GROUPS]
        chosen = await self.app.push_screen_wait(ChooseOne("group services by", names))
        if chosen is not None:
            by = names[chosen]
            self.graph.set_filter(GraphFilter())
            self._show_grouping(Grouping(by, options[by]) if by in options else Grouping())

    def _show_grouping(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self.graph.selected = GraphSelection(self.graph.selected.node)
        self.refresh_data(self.mesh_state)
        self.resubscribe()

    def on_graph_view_opened(self, message: GraphView.Opened) -> None:
        """Enter: open the service, or expand the group; for an edge the callee."""
        link = message.selection.link
        name = link[1] if link else message.selection.node
        if name in self.groups:
            expanded = self._grouping.expanded | {self.groups[name]}
            self._show_grouping(replace(self._grouping, expanded=expanded))
        else:
            self.session.go(navigation.ServiceLocation(service_of(name)))
