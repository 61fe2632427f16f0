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

from tui.picture import Part, Picture
from tui.places import Place
from tui.widgets.finder import Finder
from tui.widgets.header import Header
from tui.widgets.keys import Keys

if TYPE_CHECKING:
    from tui.app import Dash


LOADING = "asking the control plane …"
"""What stands where something is still to come."""


class MeshScreen(Screen[None]):
    """A screen that shows one place of the mesh."""

    NEEDS: ClassVar[frozenset[Part]] = frozenset()
    CHANGES: ClassVar[frozenset[str]] = frozenset()
    HELP: ClassVar[str] = ""
    SEARCH: ClassVar[str] = ""

    DEFAULT_CSS = """
    MeshScreen { background: $background; color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "search", "find", key_display="/")]

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._ready = False
        self._read_only = False

    @property
    def dash(self) -> Dash:
        """The application, by its own type."""
        return cast("Dash", self.app)

    @property
    def picture(self) -> Picture:
        """The newest picture of the mesh."""
        return self.dash.picture

    def compose(self) -> ComposeResult:
        """Header, body, search, keys."""
        yield Header()
        yield from self.body()
        yield Finder(self.SEARCH)
        yield Keys()

    def body(self) -> ComposeResult:
        """What lies between header and keys."""
        yield from ()

    def show_picture(self, picture: Picture) -> None:
        """Draw what is new."""

    def find(self, text: str) -> None:
        """Narrow down to what holds the text; everything when it is empty."""

    def undo(self) -> bool:
        """Take back one step within the screen; False when there is none, and the screen is left."""
        return False

    def take(self, picture: Picture) -> None:
        """A newer picture, from the application."""
        if self._ready and self.is_running:
            if self._read_only != self.dash.read_only:
                self._read_only = self.dash.read_only
                self.refresh_bindings()
            for header in self.query(Header):  # none while the screen is taken apart
                header.show(picture)
                self.show_picture(picture)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action is possible here: nothing changes traffic in a dashboard that is read-only."""
        if action in self.CHANGES and self.dash.read_only:
            return False
        if action == "search" and not self.SEARCH:
            return False
        return super().check_action(action, parameters)

    def on_screen_resume(self) -> None:
        """Come on top: ask for what is shown here, and show what is known."""
        self.dash.source.need(self.NEEDS)
        self.take(self.picture)

    def on_mount(self) -> None:
        """Show at once what is known already: only now every part of the screen is there.

        Textual calls this by itself also where a subclass has an `on_mount` of its own.
        """
        self._ready = True
        self.take(self.picture)

    def action_search(self) -> None:
        """Open the line in which one searches."""
        self.query_one(Finder).open()

    def on_finder_changed(self, message: Finder.Changed) -> None:
        """The text in that line is another."""
        message.stop()
        self.find(message.text)

    def back(self) -> None:
        """Take back one step: the search, a step of this screen, the screen itself."""
        if not self.query_one(Finder).close() and not self.undo():
            self.dash.leave()
