"""The base class of all screens: header, body, search bar and key footer, and how a screen gets its data.

```
class ServicesScreen(MeshScreen):
    STATE_FIELDS = frozenset({"services"})        # fields to poll while the screen is current
    WRITE_ACTIONS = frozenset({"roll_back"})      # actions that are unavailable in a read-only dashboard
    HELP = "What this screen shows, in a few sentences, for `?`."
    SEARCH_HINT = "a name, a state"               # what search looks at; empty: no search
    HAS_PAST = False                              # whether it can show the mesh as it was (`[`)

    def compose_body(self): yield Table(...)      # between header and footer
    def refresh_data(self, state): ...            # for every new state, and when the screen becomes current
    def apply_search(self, text): ...             # at every letter in the search bar; "" when it closes
    def back_one_step(self): return False         # Esc: leave a selection or a mode, else return False
```
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from meshwright.tui import keys
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import Location
from meshwright.tui.search import LANGUAGE, instance_labels
from meshwright.tui.session import Session, session_of
from meshwright.tui.widgets.header import StatusHeader
from meshwright.tui.widgets.key_footer import KeyFooter
from meshwright.tui.widgets.search_bar import SearchBar

LOADING = "loading …"
"""Placeholder for data that has not arrived yet."""


class MeshScreen(Screen[None]):
    """A screen that shows one location."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset()
    WRITE_ACTIONS: ClassVar[frozenset[str]] = frozenset()
    HELP: ClassVar[str] = ""
    SEARCH_HINT: ClassVar[str] = ""
    SEARCH_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"instances"})
    """Fields that are polled only while something is searched: instances for their labels."""
    HAS_PAST: ClassVar[bool] = False

    DEFAULT_CSS = """
    MeshScreen { background: $background; color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [bind(keys.SEARCH, "search")]

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location
        self._ready = False
        self._read_only = False
        self._search_text = ""
        self._labels: tuple[object, dict[str, str]] = (None, {})

    @property
    def session(self) -> Session:
        """The application."""
        return session_of(self)

    @property
    def mesh_state(self) -> DashboardState:
        """What this screen shows: the latest state of the mesh, or the moment that was chosen."""
        return self.session.shown_state(has_past=self.HAS_PAST)

    def compose(self) -> ComposeResult:
        """Header, body, search bar and key footer."""
        yield StatusHeader()
        yield from self.compose_body()
        yield SearchBar(self.search_help)
        yield KeyFooter()

    @property
    def search_help(self) -> str:
        """What can be searched, in a line."""
        return f"{self.SEARCH_HINT}; {LANGUAGE}"

    @property
    def uses_labels(self) -> bool:
        """Whether the labels of instances are needed: while something is searched."""
        return bool(self._search_text)

    def labels_of(self, *names: str) -> str:
        """The labels of services and instances (by name or `service/name`), while they are used."""
        return " ".join(self._labels[1].get(name, "") for name in names)

    def compose_body(self) -> ComposeResult:
        """The widgets between header and footer."""
        yield from ()

    @property
    def state_fields(self) -> frozenset[StateField]:
        """The fields to poll while the screen is current."""
        return self.STATE_FIELDS

    def refresh_data(self, state: DashboardState) -> None:
        """Show a new state."""

    def apply_search(self, text: str) -> None:
        """Show only what matches the text; everything when it is empty."""

    def back_one_step(self) -> bool:
        """Undo one step within the screen. False: there is none, and Esc closes the screen."""
        return False

    def update_state(self, state: DashboardState) -> None:
        """Pass a state to the header and the body."""
        if self._ready and self.is_running:
            if self._read_only != self.session.read_only:
                self._read_only = self.session.read_only
                self.refresh_bindings()
            if self.uses_labels and state.instances is not self._labels[0]:
                self._labels = (state.instances, instance_labels(state.instances or ()))
                self.apply_search(self._search_text)
            for header in self.query(StatusHeader):  # none while the screen is being removed
                header.show_state(state)
                self.refresh_data(state)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable write actions in a read-only dashboard, and search where there is none."""
        if action in self.WRITE_ACTIONS and self.session.read_only:
            return False
        if action == "search" and not self.SEARCH_HINT:
            return False
        return super().check_action(action, parameters)

    def on_screen_resume(self) -> None:
        """Subscribe to the fields of this screen and show the latest state."""
        self.resubscribe()
        self.update_state(self.mesh_state)
        self.refresh_bindings()

    def resubscribe(self) -> None:
        """Poll the fields that the screen needs now."""
        searched = self.SEARCH_FIELDS if self.uses_labels else frozenset()
        self.session.poller.subscribe(self.state_fields | searched)

    def on_mount(self) -> None:
        """Show the latest state: all widgets exist only now.

        Textual calls this also when a subclass defines its own `on_mount`.
        """
        self._ready = True
        self.update_state(self.mesh_state)

    def action_search(self) -> None:
        """Open the search bar."""
        self.query_one(SearchBar).open()

    def on_search_bar_changed(self, message: SearchBar.Changed) -> None:
        """Apply the new search text."""
        message.stop()
        self._search_text = message.text
        self.resubscribe()
        self.apply_search(message.text)

    def go_back(self) -> None:
        """Close the search bar, else undo one step within the screen, else close the screen."""
        if self.query_one(SearchBar).close() or self.back_one_step():
            return
        if self.session.past and self.HAS_PAST and len(self.session.screen_stack) == 1:
            self.session.show_past(None)
        else:
            self.session.pop()
