"""The key by which screens of services and edges change their traffic."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.binding import BindingType

from meshwright.tui import keys
from meshwright.tui.features.change.flow import change_traffic
from meshwright.tui.keys import bind
from meshwright.tui.screen import MeshScreen


class ChangesTraffic(MeshScreen):
    """A screen on which a service or an edge is selected."""

    WRITE_ACTIONS: ClassVar[frozenset[str]] = frozenset({"change"})
    BINDINGS: ClassVar[list[BindingType]] = [bind(keys.CHANGE, "change")]

    def selected_traffic(self) -> tuple[str, str]:
        """The selected service and, of an edge, its caller; both empty: nothing is selected."""
        raise NotImplementedError

    @work(exclusive=True, group="change")
    async def action_change(self) -> None:
        """Change weights, timeouts, retries or faults."""
        service, caller = self.selected_traffic()
        if service:
            await change_traffic(self.session, service, caller)
