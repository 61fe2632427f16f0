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

from control_plane.api.seen import Edge as Seen
from control_plane.api.traced import Trace
from tui import failing, places, topology_panel, words
from tui.attached import attached
from tui.graph.shape import Link
from tui.graph.versions import apart, has_versions, service_of
from tui.graph.view import View
from tui.picture import Part, Picture
from tui.screens.base import LOADING, MeshScreen
from tui.sheets.choose import Choose
from tui.sheets.why import WhySheet
from tui.theme import paint
from tui.topology_panel import Known, Past
from tui.widgets.fixed import Fixed
from tui.widgets.graph import GraphView, Picked

AGAIN = 3.0
"""Seconds between two askings for the past of what is selected."""

ASKED, TRIED = 50, 10
"""Failed requests that are asked for, and how many traces of them are looked at for one that failed here."""

LOW = 18
"""Rows of the terminal below which the panel has one line."""

NO_TRAFFIC = "no traffic yet: try `mesh demo --traffic 20`"


class TopologyScreen(MeshScreen):
    """The graph. A place that names a node or an edge begins there."""

    NEEDS: ClassVar[frozenset[Part]] = frozenset({"policies", "revisions"})
    SEARCH: ClassVar[str] = "part of a service's name"
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

    def __init__(self, place: places.Place) -> None:
        super().__init__(place)
        self._past: tuple[Picked, Past] = (Picked(), Past())
        self._begun = False
        self._apart = False
        self._home = (View(), Picked())

    def body(self) -> ComposeResult:
        """Graph and panel."""
        yield GraphView()
        yield Fixed(id="panel")

    @property
    def graph(self) -> GraphView:
        """The graph."""
        return self.query_one(GraphView)

    def on_mount(self) -> None:
        """The past is asked for at a pace of its own."""
        super().on_mount()
        self.graph.focus()
        self.set_interval(AGAIN, self.load)

    def on_resize(self, event: Resize) -> None:
        """One line is enough where there is little room."""
        self.set_class(event.size.height < LOW, "-low")
        self._tell()

    def show_picture(self, picture: Picture) -> None:
        """Figures anew; boxes move only for new ones."""
        if picture.topology is None:
            return
        self.graph.show(apart(picture.topology) if self._apart else picture.topology)
        if not self._begun:
            self._begin()
        self._tell()

    def _begin(self) -> None:
        """Select what this place names."""
        graph = self.graph
        match self.place:
            case places.Node(name) if name in graph.index.nodes:
                self._begun = True
                self._go_to(Picked(name))
            case places.Edge(caller, callee) if callee in graph.index.nodes:
                self._begun = True
                self._go_to(Picked(callee, (caller, callee)))
            case places.Tab():
                self._begun = True

    def _go_to(self, picked: Picked) -> None:
        if picked.node not in self.graph.shape.nodes:
            self.graph.see(View(focus=picked.node, reach=1))
        self.graph.pick(picked)
        self._home = (self.graph.view, picked)

    # --- what is selected ---------------------------------------------------------------------------

    @property
    def edge(self) -> Seen | None:
        """The edge that is selected and has traffic."""
        link = self.graph.picked.link
        return self.graph.index.edges.get(link) if link else None

    @property
    def subject(self) -> str:
        """The service that is selected: of an edge the callee, of a version its service."""
        picked = self.graph.picked
        return service_of(picked.link[1] if picked.link else picked.node)

    @property
    def link(self) -> Link | None:
        """The services at both ends of the edge that is selected."""
        link = self.graph.picked.link
        return (link[0], service_of(link[1])) if link else None

    def on_graph_view_moved(self, _message: GraphView.Moved) -> None:
        """Something else is selected."""
        self._tell()
        if self._past[0] != self.graph.picked:
            self.load()

    def _known(self) -> Known:
        about, past = self._past
        return Known.of(self.picture, self.dash.now(), past if about == self.graph.picked else Past())

    def _tell(self) -> None:
        if not self.query("#panel"):  # not yet, or not any more
            return
        panel, graph = self.query_one("#panel", Fixed), self.graph
        width = max(20, self.size.width - 2)
        panel.say(Content("\n").join(line.truncate(width, ellipsis=True) for line in self._lines(width)))
        panel.border_title = Content(self._whereabouts())
        if graph.index.nodes and not graph.index.edges:
            panel.border_title = Content(NO_TRAFFIC)

    def _lines(self, width: int) -> list[Content]:
        graph = self.graph
        link, node = graph.picked.link, graph.index.nodes.get(graph.picked.node)
        if self.edge is not None:
            return topology_panel.of_edge(self.edge, self._known(), width)
        if link:
            gone = f"{words.clean(link[0])} → {words.clean(link[1])}: no calls within the last minute"
            return [paint(gone, "dim")]
        if node is not None:
            return topology_panel.of_node(node, graph.index, self._known(), width)
        return [paint("" if self.picture.topology else LOADING, "dim")]

    def _whereabouts(self) -> str:
        """What part of the mesh is seen, and where it goes on."""
        graph = self.graph
        parts = []
        if graph.view.reach:
            near = "neighbours" if graph.view.reach == 1 else f"{graph.view.reach} calls around"
            of = f"{len(graph.shape.nodes)} of {len(graph.index.nodes)} services"
            back = "back" if graph.view == self._home[0] else "all"
            parts.append(f"{near} of {words.clean(graph.view.focus)}: {of}, f wider, Esc {back}")
        if graph.layout_now.look.terse and graph.layout_now.routes:
            parts.append("on lines: calls/s")
        if more := graph.more():
            parts.append(f"more {more}")
        return " · ".join(parts)

    @work(exclusive=True, group="past")
    async def load(self) -> None:
        """The last quarter of an hour of what is selected."""
        picked = self.graph.picked
        if not self.is_current or not picked.node:
            return
        link = self.link
        if link:
            edge = await self.dash.ask(lambda client: client.edge_history(*link), quiet=True)
            past = Past(edge.step, edge.points) if edge else Past()
        else:
            node = await self.dash.ask(
                lambda client: client.service_history(service_of(picked.node)), quiet=True
            )
            past = Past(node.step, node.points) if node else Past()
        self._past = (picked, past)
        self._tell()

    # --- keys ---------------------------------------------------------------------------------------

    def find(self, text: str) -> None:
        """Only names that hold the text, and their neighbours."""
        self.graph.see(replace(self.graph.view, text=text.strip().lower()))

    def undo(self) -> bool:
        """From an edge back to its node, from a part back to all, or to what this place began with."""
        graph, (view, picked) = self.graph, self._home
        if graph.picked.link and graph.picked != picked:
            graph.pick(Picked(graph.picked.node))
        elif graph.view.reach and graph.view != view:
            graph.see(view)
            self._tell()
        else:
            return False
        return True

    def action_near(self) -> None:
        """Only what is near the selected node; again: one call further."""
        graph = self.graph
        name = graph.picked.node
        if name:
            reach = graph.view.reach + 1 if graph.view.focus == name else 1
            graph.see(View(focus=name, reach=reach))
            self._tell()

    def action_versions(self) -> None:
        """Versions of services as nodes of their own, or all in one."""
        topology = self.picture.topology
        if topology is None or not (self._apart or has_versions(topology)):
            self.notify("no calls are sent to a version: name Subsets in a route's backendRefs", markup=False)
            return
        self._apart = not self._apart
        if self.graph.picked.link:
            self.graph.picked = Picked(self.graph.picked.node)
        self.show_picture(self.picture)

    def on_graph_view_opened(self, message: GraphView.Opened) -> None:
        """Enter: the service in detail; of an edge the service that is called."""
        link = message.picked.link
        self.dash.go(places.Service(service_of(link[1] if link else message.picked.node)))

    def action_traces(self) -> None:
        """Traces of what is selected."""
        if self.subject:
            self.dash.go(places.Traces(service=self.subject))

    def action_events(self) -> None:
        """Events of what is selected."""
        if self.subject:
            self.dash.go(places.Happenings(subject=self.subject))

    @work(exclusive=True, group="policies")
    async def action_policies(self) -> None:
        """One of the policies that are in force for what is selected."""
        documents = self._known().documents
        edge = self.edge
        found = topology_panel.edge_policies(documents, edge) if edge else attached(documents, self.subject)
        if not found:
            self.notify(f"no policy is in force for {words.clean(self.subject)}", markup=False)
            return
        lines = [f"{one.kind} {one.name}  ({one.by})" for one in found]
        chosen = await self.app.push_screen_wait(Choose(f"policies of {words.clean(self.subject)}", lines))
        if chosen is not None:
            self.dash.go(places.Policy(found[chosen].kind, found[chosen].name))

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """The newest request that failed here, with what explains it."""
        name, link = self.subject, self.link
        if not name:
            return
        async for trace in self._failed(name, link):
            span = failing.step(trace, name, link)
            if span is None:
                continue
            self.dash.go(places.Trace(trace.id))
            place = await self.app.push_screen_wait(WhySheet(trace, span))
            if place:
                self.dash.go(place)
            return
        where = f"{link[0]} → {link[1]}" if link else name
        self.notify(f"no request of {words.clean(where)} that failed is kept", markup=False)

    async def _failed(self, name: str, link: Link | None) -> AsyncIterator[Trace]:
        """Traces of requests that failed there, newest first: those that proxies told of, then by spans."""
        teller = link[0] if link else name
        told = await self.dash.ask(
            lambda client: client.requests(service=teller, errors=True, limit=ASKED), quiet=True
        )
        ids = [one.trace for one in failing.failed(told or (), name, link)]
        spans = await self.dash.ask(
            lambda client: client.traces(service=teller, errors=True, limit=ASKED), quiet=True
        )
        for id in list(dict.fromkeys([*ids, *(one.id for one in spans or ())]))[:TRIED]:
            found = await self.dash.ask(methodcaller("trace", id), quiet=True)
            if found is not None:
                yield found
