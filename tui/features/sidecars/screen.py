"""The sidecars tab: every Envoy of the mesh, the worst state first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType

from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.tui import keys
from meshwright.tui.features.sidecars import table
from meshwright.tui.keys import bind
from meshwright.tui.list_screen import ListScreen
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import (
    EventsLocation,
    LiveRequestsLocation,
    Location,
    LogsLocation,
    ProxyLocation,
    ServiceLocation,
)
from meshwright.tui.widgets.table_model import LazyRows


class SidecarsScreen(ListScreen[ProxyDetail]):
    """The table of sidecars and gateways."""

    COLUMNS = table.COLUMNS
    SORT_ORDERS = table.SORT_ORDERS
    EMPTY = "no sidecar has connected yet: `mesh run` starts a process with one"
    NO_MATCH = "no sidecar, service or state matches: Esc shows all"
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"proxies"})
    SEARCH_HINT: ClassVar[str] = "a name, a service, a state"
    HELP: ClassVar[str] = (
        "Every Envoy: its configuration state (rev: the newest revision it has accepted), the time until its "
        "certificate expires (it is renewed at half of its lifetime), and Envoy's message about a rejection."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.LOGS, "logs"),
        bind(keys.LIVE_REQUESTS, "live_requests"),
        bind(keys.SERVICE, "service"),
        bind(keys.HISTORY, "events"),
    ]

    def items(self, state: DashboardState) -> Iterable[ProxyDetail] | None:
        """All proxies."""
        return state.proxies

    def search_text(self, item: ProxyDetail) -> str:
        """Name, service, state, version of Envoy."""
        return f"{item.name} {item.service} {item.state} {item.version}"

    def search_labels(self, item: ProxyDetail) -> str:
        """The labels of its instance."""
        return self.labels_of(table.proxy_key(item))

    def build_rows(self, items: Iterable[ProxyDetail], state: DashboardState) -> LazyRows[ProxyDetail]:
        """The rows."""
        newest = state.status.revision if state.status else 0
        return table.build_rows(items, newest, self.session.now(), self.labels_of)

    def location_of(self, key: str) -> Location:
        """The sidecar in detail."""
        service, _, name = key.partition("/")
        return ProxyLocation(name, service)

    def action_service(self) -> None:
        """The service of the selected sidecar."""
        if self.selected_key:
            self.session.go(ServiceLocation(self.selected_key.partition("/")[0]))

    def action_logs(self) -> None:
        """The logs of the selected sidecar and its app."""
        if self.selected_key:
            self.session.go(LogsLocation(*self._selected_proxy()))

    def action_live_requests(self) -> None:
        """The live requests of the selected sidecar."""
        if self.selected_key:
            self.session.go(LiveRequestsLocation(*self._selected_proxy()))

    def _selected_proxy(self) -> tuple[str, str]:
        """Service and name of the selected sidecar."""
        service, _, name = self.selected_key.partition("/")
        return service, name

    def action_events(self) -> None:
        """Events of the selected sidecar."""
        if self.selected_key:
            self.session.go(EventsLocation(subject=self.selected_key.partition("/")[2]))
