"""Sidecars: every Envoy of the mesh in a line, what is bad first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from control_plane.api.types import ProxyDetail
from tui import sidecar_table
from tui.picture import Part, Picture
from tui.places import Happenings, Place, Proxy, Service
from tui.rows import Lines
from tui.screens.listing import ListScreen


class SidecarsScreen(ListScreen[ProxyDetail]):
    """The table of sidecars and gateways."""

    COLUMNS = sidecar_table.COLUMNS
    EMPTY = "no sidecar has connected yet: `mesh run` starts a process with one"
    NOT_FOUND = "no sidecar, service or state has such a name: Esc shows all"
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

    def known(self, picture: Picture) -> Iterable[ProxyDetail] | None:
        """Every proxy."""
        return picture.proxies

    def words_of(self, item: ProxyDetail) -> str:
        """Its name, its service and its state."""
        return f"{item.name} {item.service} {item.state}"

    def lines(self, found: Iterable[ProxyDetail], picture: Picture) -> Lines[ProxyDetail]:
        """What is bad first."""
        newest = picture.status.revision if picture.status else 0
        return sidecar_table.lines(sidecar_table.ordered(found), newest, self.dash.now())

    def open(self, key: str) -> Place:
        """The sidecar in detail."""
        return Proxy(key)

    def action_service(self) -> None:
        """The service of the chosen sidecar."""
        chosen = self.chosen
        for each in self.picture.proxies or ():
            if each.name == chosen:
                self.dash.go(Service(each.service))

    def action_events(self) -> None:
        """What happened to it."""
        if self.chosen:
            self.dash.go(Happenings(subject=self.chosen))
