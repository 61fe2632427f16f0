"""The services tab: all services and gateways, the worst first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType

from meshwright.control_plane.api.models.topology import HealthThresholds, ServiceSummary
from meshwright.tui import keys
from meshwright.tui.features.change.screen import ChangesTraffic
from meshwright.tui.features.services import table
from meshwright.tui.keys import bind
from meshwright.tui.list_screen import ListScreen
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import (
    ExplainLocation,
    LiveRequestsLocation,
    Location,
    LogsLocation,
    NodeLocation,
    ServiceLocation,
    TracesLocation,
)
from meshwright.tui.refusal_text import refused_per_second
from meshwright.tui.widgets.table_model import LazyRows


class ServicesScreen(ChangesTraffic, ListScreen[ServiceSummary]):
    """The table of services. Its sort order is kept while the dashboard runs."""

    COLUMNS = table.COLUMNS
    SORT_ORDERS = table.SORT_ORDERS
    EMPTY = "no service has joined yet: start one with `mesh run`, or `mesh demo` for an example"
    NO_MATCH = "no service has such a name: Esc shows all"
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"services", "refusals"})
    HAS_PAST: ClassVar[bool] = True
    SEARCH_HINT: ClassVar[str] = "a name, a state"
    HELP: ClassVar[str] = (
        "All services and gateways with the traffic to them (for a gateway: from it) over the last 10 s, the "
        "worst first. Latencies are in ms and include retries. refu/s: requests per second that policies "
        "refuse there, or on the way there. Click a column head to sort by it. a also shows services whose "
        "instances have all left as planned."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.LOGS, "logs"),
        bind(keys.LIVE_REQUESTS, "live_requests"),
        bind(keys.EXPLAIN, "explain"),
        bind(keys.TRACES, "traces"),
        bind(keys.TOPOLOGY, "topology"),
        bind(keys.SHOW_ALL, "idle_services"),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._shows_idle = False

    def items(self, state: DashboardState) -> Iterable[ServiceSummary] | None:
        """All services and gateways, with what policies refuse: edges have only what callers refuse."""
        if state.services is None:
            return None
        rates = refused_per_second(state.refusals.refusals if state.refusals else ())
        return [
            service.model_copy(update={"refused_per_s": rates.get(service.name, 0.0)})
            if service.name in rates or service.refused_per_s
            else service
            for service in state.services.services
            if self._shows_idle or service.health != "idle"
        ]

    def search_text(self, item: ServiceSummary) -> str:
        """Name, role and health."""
        return f"{item.name} {item.role} {item.health}"

    def search_labels(self, item: ServiceSummary) -> str:
        """The labels of its instances."""
        return self.labels_of(item.name)

    def build_rows(self, items: Iterable[ServiceSummary], state: DashboardState) -> LazyRows[ServiceSummary]:
        """The rows."""
        thresholds = state.topology.thresholds if state.topology else HealthThresholds()
        return table.build_rows(items, thresholds, self.labels_of)

    def location_of(self, key: str) -> Location:
        """The service in detail."""
        return ServiceLocation(key)

    def selected_traffic(self) -> tuple[str, str]:
        """What `c` changes."""
        return self.selected_key, ""

    def action_explain(self) -> None:
        """What becomes of a request to the selected service."""
        if self.selected_key:
            self.session.go(ExplainLocation(self.selected_key))

    def action_traces(self) -> None:
        """Traces of the selected service."""
        if self.selected_key:
            self.session.go(TracesLocation(self.selected_key))

    def action_logs(self) -> None:
        """The logs of the selected service."""
        if self.selected_key:
            self.session.go(LogsLocation(self.selected_key))

    def action_live_requests(self) -> None:
        """The live requests of the selected service."""
        if self.selected_key:
            self.session.go(LiveRequestsLocation(self.selected_key))

    def action_idle_services(self) -> None:
        """Show or hide services whose instances have left as planned."""
        self._shows_idle = not self._shows_idle
        self.notify(f"idle services are {'shown' if self._shows_idle else 'hidden'}", timeout=2)
        self.refresh_data(self.mesh_state)

    def action_topology(self) -> None:
        """The selected service in the topology."""
        if self.selected_key:
            self.session.go(NodeLocation(self.selected_key))
