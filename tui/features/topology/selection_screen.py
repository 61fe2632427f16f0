"""The selected node or edge of the service graph, and the keys that lead from it to other screens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import work
from textual.binding import BindingType

from meshwright.control_plane.api.models.topology import TopologyEdge
from meshwright.tui import keys, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.change.screen import ChangesTraffic
from meshwright.tui.features.topology.selection_details import policies_in_force
from meshwright.tui.features.traces.newest_failure import newest_failure
from meshwright.tui.features.traces.why_dialog import why_trace
from meshwright.tui.format import sanitize
from meshwright.tui.graph.graph import Link
from meshwright.tui.graph.versions import service_of
from meshwright.tui.keys import bind
from meshwright.tui.widgets.graph_view import GraphView


class SelectionScreen(ChangesTraffic):
    """A screen with a graph. Its keys are about the service or the edge that is selected there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.WHY, "why"),
        bind(keys.EXPLAIN, "explain"),
        bind(keys.TRACES, "traces"),
        bind(keys.POLICIES, "policies"),
        bind(keys.LOGS, "logs"),
        bind(keys.LIVE_REQUESTS, "live_requests"),
        bind(keys.HISTORY, "events"),
    ]

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self.groups: Mapping[str, str] = {}
        """For each node that stands for several services, the group."""

    @property
    def graph(self) -> GraphView:
        """The graph."""
        return self.query_one(GraphView)

    @property
    def selected_edge(self) -> TopologyEdge | None:
        """The selected edge, if it has traffic."""
        link = self.graph.selected.link
        return self.graph.index.edges.get(link) if link else None

    @property
    def selected_service(self) -> str:
        """The selected service: of an edge the callee, of a version its service; empty: it is a group."""
        selected = self.graph.selected
        name = selected.link[1] if selected.link else selected.node
        return "" if name in self.groups else service_of(name)

    @property
    def selected_link(self) -> Link | None:
        """The services at both ends of the selected edge."""
        link = self.graph.selected.link
        return (link[0], service_of(link[1])) if link and self.groups.keys().isdisjoint(link) else None

    def selected_traffic(self) -> tuple[str, str]:
        """What `c` changes."""
        return self.selected_service, self.selected_link[0] if self.selected_link else ""

    def action_logs(self) -> None:
        """Logs of the selected service."""
        if self.selected_service:
            self.session.go(navigation.LogsLocation(self.selected_service))

    def action_live_requests(self) -> None:
        """Live requests of the selected service."""
        if self.selected_service:
            self.session.go(navigation.LiveRequestsLocation(self.selected_service))

    def action_explain(self) -> None:
        """What becomes of a request to the selected service, or on the selected edge."""
        if self.selected_service:
            link = self.selected_link
            self.session.go(navigation.ExplainLocation(self.selected_service, link[0] if link else ""))

    def action_traces(self) -> None:
        """Traces of the selected service."""
        if self.selected_service:
            self.session.go(navigation.TracesLocation(service=self.selected_service))

    def action_events(self) -> None:
        """Events of the selected service."""
        if self.selected_service:
            self.session.go(navigation.EventsLocation(subject=self.selected_service))

    @work(exclusive=True, group="policies")
    async def action_policies(self) -> None:
        """Choose one of the policies in force for the selection, and open it."""
        link, name = self.selected_link, self.selected_service
        if not name:
            return
        policies = await policies_in_force(self.session, name, link[0] if link else "")
        if policies is None:
            return
        if not policies:
            self.notify(f"no policy is in force for {sanitize(name)}", markup=False)
            return
        choices = [f"{policy.kind} {policy.name}  ({policy.level})" for policy in policies]
        chosen = await self.app.push_screen_wait(ChooseOne(f"policies of {sanitize(name)}", choices))
        if chosen is not None:
            self.session.go(navigation.PolicyLocation(policies[chosen].kind, policies[chosen].name))

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """Explain the newest failed request of the selection."""
        name, link = self.selected_service, self.selected_link
        if not name:
            return
        failure = await newest_failure(self.session, name, link)
        if failure is not None:
            trace, span = failure
            self.session.go(navigation.TraceLocation(trace.id))
            location = await self.app.push_screen_wait(why_trace(trace, span))
            if location:
                self.session.go(location)
            return
        where = f"{link[0]} → {link[1]}" if link else name
        self.notify(f"no failed request of {sanitize(where)} is stored", markup=False)
