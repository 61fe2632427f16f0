"""Services: every one of them in a line, what is bad first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui import service_table
from tui.picture import Part, Picture
from tui.places import Node, Place, Service, Traces
from tui.screens.base import MeshScreen
from tui.widgets.table import Table

EMPTY = "no service has joined yet: start one with `mesh run`, or `mesh demo` for an example"
NOT_FOUND = "no service has such a name: Esc shows all"
LOADING = "asking the control plane …"


class ServicesScreen(MeshScreen):
    """The table of services. Which order it has is kept while the dashboard runs."""

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
        self._wanted = ""

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(service_table.COLUMNS, empty=LOADING)

    def show_picture(self, picture: Picture) -> None:
        """Every row anew."""
        if picture.services is None:
            return
        order = service_table.ORDERS[self._order]
        found = [row for row in picture.services.services if self._wanted in row.name]
        table = self.query_one(Table)
        table.empty = NOT_FOUND if self._wanted else EMPTY
        rows = service_table.ordered(found, order, backwards=self._backwards)
        table.show(service_table.lines(rows), marked=service_table.marked(order))

    def find(self, text: str) -> None:
        """Only services with such a name."""
        self._wanted = text.strip().lower()
        self.show_picture(self.picture)

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter: the service in detail."""
        self.dash.go(Service(message.key))

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
        if chosen := self.query_one(Table).chosen:
            self.dash.go(Traces(chosen))

    def action_map(self) -> None:
        """The chosen service in the topology."""
        if chosen := self.query_one(Table).chosen:
            self.dash.go(Node(chosen))
