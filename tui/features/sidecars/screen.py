"""Sidecars: every Envoy of the mesh in a line, what is bad first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from meshwright.control_plane.api.models.base import ProxyDetail
from meshwright.tui.features.sidecars import table
from meshwright.tui.list_screen import ListScreen
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import EventsLocation, Location, ProxyLocation, ServiceLocation
from meshwright.tui.widgets.table_model import LazyRows


class SidecarsScreen(ListScreen[ProxyDetail]):
    """The table of sidecars and gateways."""

    COLUMNS = table.COLUMNS
    EMPTY = "no sidecar has connected yet: `mesh run` starts a process with one"
    NO_MATCH = "no sidecar, service or state has such a name: Esc shows all"
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"proxies"})
    SEARCH_HINT: ClassVar[str] = "part of a sidecar's or service's name, or a state"
    HELP: ClassVar[str] = (
        "Every Envoy: how far its configuration is (rev: the newest revision that it has taken), when its "
        "certificate ends (it is renewed at half of its life), what it refused in its own words."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "service", "its service"),
        Binding("e", "events", "events"),
    ]

    def items(self, picture: DashboardState) -> Iterable[ProxyDetail] | None:
        """Every proxy."""
        return picture.proxies

    def search_text(self, item: ProxyDetail) -> str:
        """Its name, its service and its state."""
        return f"{item.name} {item.service} {item.state}"

    def build_rows(self, found: Iterable[ProxyDetail], picture: DashboardState) -> LazyRows[ProxyDetail]:
        """What is bad first."""
        newest = picture.status.revision if picture.status else 0
        return table.build_rows(table.sort_proxies(found), newest, self.session.now())

    def location_of(self, key: str) -> Location:
        """The sidecar in detail."""
        return ProxyLocation(key)

    def action_service(self) -> None:
        """The service of the chosen sidecar."""
        chosen = self.selected_key
        for each in self.mesh_state.proxies or ():
            if each.name == chosen:
                self.session.go(ServiceLocation(each.service))

    def action_events(self) -> None:
        """What happened to it."""
        if self.selected_key:
            self.session.go(EventsLocation(subject=self.selected_key))
