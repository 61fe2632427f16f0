"""Services: every one of them in a line, what is bad first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from control_plane.api.seen import ServiceRow
from tui import service_table
from tui.picture import Part, Picture
from tui.places import Node, Place, Service, Traces
from tui.rows import Lines
from tui.screens.listing import ListScreen
from tui.widgets.table import Table


class ServicesScreen(ListScreen[ServiceRow]):
    """The table of services. Which order it has is kept while the dashboard runs."""

    COLUMNS = service_table.COLUMNS
    EMPTY = "no service has joined yet: start one with `mesh run`, or `mesh demo` for an example"
    NOT_FOUND = "no service has such a name: Esc shows all"
    NEEDS: ClassVar[frozenset[Part]] = frozenset({"services"})
    SEARCH: ClassVar[str] = "part of a service's name"
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

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._order = 0
        self._backwards = False

    def known(self, picture: Picture) -> Iterable[ServiceRow] | None:
        """Every service and gateway."""
        return picture.services.services if picture.services else None

    def words_of(self, item: ServiceRow) -> str:
        """Its name."""
        return item.name

    def lines(self, found: Iterable[ServiceRow], picture: Picture) -> Lines[ServiceRow]:  # noqa: ARG002
        """In the order that was chosen."""
        order = service_table.ORDERS[self._order]
        return service_table.lines(service_table.ordered(found, order, backwards=self._backwards))

    def open(self, key: str) -> Place:
        """The service in detail."""
        return Service(key)

    @property
    def marked(self) -> int:
        """The column of the order."""
        return service_table.marked(service_table.ORDERS[self._order])

    def on_table_sorted(self, message: Table.Sorted) -> None:
        """A click on a head; again: the other way round."""
        title = service_table.COLUMNS[message.column].title
        for at, order in enumerate(service_table.ORDERS):
            if order.title == title:
                self._backwards = not self._backwards if at == self._order else False
                self._order = at
        self.show_picture(self.picture)

    def action_sort(self, step: int) -> None:
        """By another column."""
        self._order = (self._order + step) % len(service_table.ORDERS)
        self._backwards = False
        self.notify(f"sorted by {service_table.ORDERS[self._order].name}", timeout=2)
        self.show_picture(self.picture)

    def action_reverse(self) -> None:
        """The other way round."""
        self._backwards = not self._backwards
        self.show_picture(self.picture)

    def action_traces(self) -> None:
        """Traces that touch the chosen service."""
        if self.chosen:
            self.dash.go(Traces(self.chosen))

    def action_map(self) -> None:
        """The chosen service in the topology."""
        if self.chosen:
            self.dash.go(Node(self.chosen))
