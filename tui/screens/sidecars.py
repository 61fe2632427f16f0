"""Sidecars: every Envoy of the mesh in a line, what is bad first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui import sidecar_table
from tui.picture import Part, Picture
from tui.places import Happenings, Place, Proxy, Service
from tui.screens.base import MeshScreen
from tui.widgets.table import Table

EMPTY = "no sidecar has connected yet: `mesh run` starts a process with one"
NOT_FOUND = "no sidecar, service or state has such a name: Esc shows all"
LOADING = "asking the control plane …"


class SidecarsScreen(MeshScreen):
    """The table of sidecars and gateways."""

    NEEDS: ClassVar[frozenset[Part]] = frozenset({"proxies"})
    SEARCH: ClassVar[str] = "part of a sidecar's or service's name, or a state"
    HELP: ClassVar[str] = (
        "Every Envoy: how far its configuration is (rev: the newest revision that it has taken), when its "
        "certificate ends (it is renewed at half of its life), what it refused in its own words."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "service", "its service"),
        Binding("e", "events", "events"),
    ]

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._wanted = ""

    def body(self) -> ComposeResult:
        """One table."""
        yield Table(sidecar_table.COLUMNS, empty=LOADING)

    def show_picture(self, picture: Picture) -> None:
        """Every row anew."""
        if picture.proxies is None:
            return
        newest = picture.status.revision if picture.status else 0
        found = [
            each
            for each in sidecar_table.ordered(picture.proxies)
            if self._wanted in f"{each.name} {each.service} {each.state}"
        ]
        table = self.query_one(Table)
        table.empty = NOT_FOUND if self._wanted else EMPTY
        table.show(sidecar_table.lines(found, newest, self.dash.now()))

    def find(self, text: str) -> None:
        """Only those with such a name or state."""
        self._wanted = text.strip().lower()
        self.show_picture(self.picture)

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter: the sidecar in detail."""
        self.dash.go(Proxy(message.key))

    def action_service(self) -> None:
        """The service of the chosen sidecar."""
        chosen = self.query_one(Table).chosen
        for each in self.picture.proxies or ():
            if each.name == chosen:
                self.dash.go(Service(each.service))

    def action_events(self) -> None:
        """What happened to it."""
        if chosen := self.query_one(Table).chosen:
            self.dash.go(Happenings(subject=chosen))
