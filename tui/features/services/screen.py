"""Services: every one of them in a line, what is bad first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from meshwright.control_plane.api.models.topology import ServiceSummary
from meshwright.tui.features.services import table
from meshwright.tui.list_screen import ListScreen
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import Location, NodeLocation, ServiceLocation, TracesLocation
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import LazyRows


class ServicesScreen(ListScreen[ServiceSummary]):
    """The table of services. Which order it has is kept while the dashboard runs."""

    COLUMNS = table.COLUMNS
    EMPTY = "no service has joined yet: start one with `mesh run`, or `mesh demo` for an example"
    NO_MATCH = "no service has such a name: Esc shows all"
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"services"})
    SEARCH_HINT: ClassVar[str] = "part of a service's name"
    HELP: ClassVar[str] = (
        "All services and gateways by the calls to them (a gateway: by those it makes) over the last 10 s; "
        "what is bad comes first. Latencies are in ms with their retries. A click on a head sorts by it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort(1)", "sort by next"),
        Binding("S", "sort(-1)", "sort by previous", show=False),
        Binding("r", "reverse", "reverse"),
        Binding("t", "traces", "traces"),
        Binding("m", "map", "on the map"),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._order = 0
        self._reverse = False

    def items(self, picture: DashboardState) -> Iterable[ServiceSummary] | None:
        """Every service and gateway."""
        return picture.services.services if picture.services else None

    def search_text(self, item: ServiceSummary) -> str:
        """Its name."""
        return item.name

    def build_rows(
        self, found: Iterable[ServiceSummary], picture: DashboardState
    ) -> LazyRows[ServiceSummary]:  # noqa: ARG002
        """In the order that was chosen."""
        order = table.SORT_ORDERS[self._order]
        return table.build_rows(table.sort_services(found, order, reverse=self._reverse))

    def location_of(self, key: str) -> Location:
        """The service in detail."""
        return ServiceLocation(key)

    @property
    def sort_column(self) -> int:
        """The column of the order."""
        return table.sort_column(table.SORT_ORDERS[self._order])

    def on_table_header_clicked(self, message: Table.Sorted) -> None:
        """A click on a head; again: the other way round."""
        title = table.COLUMNS[message.column].title
        for at, order in enumerate(table.SORT_ORDERS):
            if order.title == title:
                self._reverse = not self._reverse if at == self._order else False
                self._order = at
        self.refresh_data(self.mesh_state)

    def action_sort(self, step: int) -> None:
        """By another column."""
        self._order = (self._order + step) % len(table.SORT_ORDERS)
        self._reverse = False
        self.notify(f"sorted by {table.SORT_ORDERS[self._order].name}", timeout=2)
        self.refresh_data(self.mesh_state)

    def action_reverse(self) -> None:
        """The other way round."""
        self._reverse = not self._reverse
        self.refresh_data(self.mesh_state)

    def action_traces(self) -> None:
        """Traces that touch the chosen service."""
        if self.selected_key:
            self.session.go(TracesLocation(self.selected_key))

    def action_map(self) -> None:
        """The chosen service in the topology."""
        if self.selected_key:
            self.session.go(NodeLocation(self.selected_key))
