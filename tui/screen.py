"""What every screen of the mesh has: header, a body of its own, search, keys; and how it gets its data.

```
class ServicesScreen(MeshScreen):
    NEEDS = frozenset({"services"})               # parts of the picture that are asked for while it is on top
    CHANGES = frozenset({"roll_back"})            # actions that change traffic: gone where it is read-only
    HELP = "What this screen shows, in a few sentences for `?`."
    SEARCH = "find a service"                     # placeholder of `/`; empty: there is nothing to search
    EMPTY... a screen says itself what to do when there is nothing to show

    def body(self): yield Table(...)              # between header and keys
    def show_picture(self, picture): ...          # on every new picture and when the screen comes on top
    def find(self, text): ...                     # what stands in `/`, at every letter; "" when it is left
    def undo(self): return False                  # Esc: take back one step (a selection, a mode), else False
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import Location
from meshwright.tui.widgets.header import StatusHeader
from meshwright.tui.widgets.key_footer import KeyFooter
from meshwright.tui.widgets.search_bar import SearchBar

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp


LOADING = "asking the control plane …"
"""What stands where something is still to come."""


class MeshScreen(Screen[None]):
    """A screen that shows one place of the mesh."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset()
    WRITE_ACTIONS: ClassVar[frozenset[str]] = frozenset()
    HELP: ClassVar[str] = ""
    SEARCH_HINT: ClassVar[str] = ""

    DEFAULT_CSS = """
    MeshScreen { background: $background; color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "search", "find", key_display="/")]

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location
        self._ready = False
        self._read_only = False

    @property
    def session(self) -> DashboardApp:
        """The application, by its own type."""
        return cast("DashboardApp", self.app)

    @property
    def mesh_state(self) -> DashboardState:
        """The newest picture of the mesh."""
        return self.session.mesh_state

    def compose(self) -> ComposeResult:
        """Header, body, search, keys."""
        yield StatusHeader()
        yield from self.compose_body()
        yield SearchBar(self.SEARCH_HINT)
        yield KeyFooter()

    def compose_body(self) -> ComposeResult:
        """What lies between header and keys."""
        yield from ()

    def refresh_data(self, picture: DashboardState) -> None:
        """Draw what is new."""

    def apply_search(self, text: str) -> None:
        """Narrow down to what holds the text; everything when it is empty."""

    def back_one_step(self) -> bool:
        """Take back one step within the screen; False when there is none, and the screen is left."""
        return False

    def update_state(self, picture: DashboardState) -> None:
        """A newer picture, from the application."""
        if self._ready and self.is_running:
            if self._read_only != self.session.read_only:
                self._read_only = self.session.read_only
                self.refresh_bindings()
            for header in self.query(StatusHeader):  # none while the screen is taken apart
                header.show_state(picture)
                self.refresh_data(picture)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action is possible here: nothing changes traffic in a dashboard that is read-only."""
        if action in self.WRITE_ACTIONS and self.session.read_only:
            return False
        if action == "search" and not self.SEARCH_HINT:
            return False
        return super().check_action(action, parameters)

    def on_screen_resume(self) -> None:
        """Come on top: ask for what is shown here, and show what is known."""
        self.session.poller.subscribe(self.STATE_FIELDS)
        self.update_state(self.mesh_state)

    def on_mount(self) -> None:
        """Show at once what is known already: only now every part of the screen is there.

        Textual calls this by itself also where a subclass has an `on_mount` of its own.
        """
        self._ready = True
        self.update_state(self.mesh_state)

    def action_search(self) -> None:
        """Open the line in which one searches."""
        self.query_one(SearchBar).open()

    def on_search_bar_changed(self, message: SearchBar.Changed) -> None:
        """The text in that line is another."""
        message.stop()
        self.apply_search(message.text)

    def go_back(self) -> None:
        """Take back one step: the search, a step of this screen, the screen itself."""
        if not self.query_one(SearchBar).close() and not self.back_one_step():
            self.session.pop()
