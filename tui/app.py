"""The application: which screens there are, which keys work everywhere, and how a screen talks to the rest.

Conventions for screens (`tui/screen.py` shows them as code):

- A screen is a `MeshScreen` made for a `Place` (`tui/navigation.py`). The six tabs are modes, each with a stack
  of screens; `self.dash.go(place)` puts a place's screen on top, Esc takes it off, breadcrumbs are the stack.
- Data: it names the parts of the picture it `NEEDS`; `show_picture(picture)` is called in the interface's
  thread for every new picture and whenever the screen comes on top. Parts that never came are None.
- What the picture does not hold it asks for itself, in a worker:
  `@work(exclusive=True) async def load(self): found = await self.dash.ask(lambda client: client.trace(id))`
  (None: it failed, and the user was told in words). Nothing blocks: no file, no socket, no sleep in a screen.
- Keys: `BINDINGS` as in Textual; what has a description and `show=True` stands in the footer, all of them in
  `?`. 1-6, `:`, `?`, `/`, ctrl+p, Esc and q are taken.
- Actions that change traffic stand in `CHANGES` and go by `tui/features/policies/change_flow.py`, which shows what will change and
  for whom, asks, applies, and has the newest shown at once (`self.dash.source.hurry()`).
- States are sign, word and colour: `words.HEALTH[...]`, `theme.state(...)`; figures are made by
  `tui/format.py`, everything a peer sent passes `words.clean` and goes to `paint`/`Content`, never to markup.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar, TypeVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.errors import MeshError
from meshwright.tui import theme
from meshwright.tui.command_palette import CommandPaletteProvider
from meshwright.tui.features.registry import create_screen
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.messages import StateUpdated
from meshwright.tui.navigation import TABS, Location, TabLocation
from meshwright.tui.poller import MeshPoller
from meshwright.tui.screen import MeshScreen
from meshwright.tui.web import SERVER_PID_ENV

Result = TypeVar("Result")


class DashboardApp(App[None]):
    """`mesh dash`. `find` says where the admin API is; it is asked again whenever that is away."""

    TITLE = "mesh dash"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        name: partial(create_screen, TabLocation(name)) for name in TABS
    }
    DEFAULT_MODE = "topology"
    COMMANDS: ClassVar[set[Any]] = {CommandPaletteProvider}
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(at), f"app.tab({at})", name.capitalize(), show=False)
            for at, name in enumerate(TABS, start=1)
        ),
        Binding("colon", "jump", "jump", key_display=":", show=True),
        Binding("escape", "back", "back", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(
        self,
        locate: Callable[[], ApiEndpoint],
        *,
        read_only: bool = False,
        theme_name: str = "dark",
        author: str = "",
        jaeger: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`author` stands in the history of what is changed; `jaeger` is where its pages are.

        `read_only` takes away whatever changes anything, also for a token that may do everything.
        """
        super().__init__()
        self._read_only = read_only
        self.author = author
        self.jaeger = jaeger
        self.now = now
        self.poller = MeshPoller(locate, self._publish, now)
        self._initial_theme = theme_name

    def on_mount(self) -> None:
        """Dress, and begin to look."""
        for each in theme.THEMES.values():
            self.register_theme(each)
        self.set_theme(self._initial_theme)
        if server := os.environ.get(SERVER_PID_ENV):
            self.set_interval(1.0, partial(self._exit_with_server, int(server)))
        self.run_worker(self.poller.run(), exit_on_error=True, name="source")

    def set_theme(self, name: str) -> None:
        """Put on a theme by its short name."""
        self.theme = theme.THEMES[name].name

    def _exit_with_server(self, parent: int) -> None:
        """End with the server of the pages, however that ended."""
        if os.getppid() != parent:
            self.exit()

    def _publish(self, picture: DashboardState) -> None:
        self.post_message(StateUpdated(picture))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for themes that do not set them."""
        return theme.DARK.variables

    @property
    def mesh_state(self) -> DashboardState:
        """The newest picture of the mesh."""
        return self.poller.state

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed: it was started so, or its token may only read."""
        status = self.mesh_state.status
        return self._read_only or (status is not None and status.rights == "read")

    def mesh_screens(self) -> list[MeshScreen]:
        """The screens that lie over each other here, the lowest first."""
        return [screen for screen in self.screen_stack if isinstance(screen, MeshScreen)]

    def breadcrumbs(self) -> list[str]:
        """The way that led here."""
        return [screen.location.title for screen in self.mesh_screens()]

    def on_state_updated(self, message: StateUpdated) -> None:
        """Hand a new picture to the screen that is seen, also when a sheet lies over it."""
        for screen in self.mesh_screens()[-1:]:
            screen.update_state(message.state)

    def go(self, place: Location) -> None:
        """Show a place: a tab as it was left, anything else on top of what is shown."""
        if isinstance(place, TabLocation):
            self.switch_mode(place.name)
        elif self.mesh_screens()[-1].location != place:
            self.push_screen(create_screen(place))

    def pop(self) -> None:
        """Take the screen on top away, if another lies below it."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    async def call(
        self, request: Callable[[Client], Awaitable[Result]], *, quiet: bool = False
    ) -> Result | None:
        """The answer to one call; None when it failed, which the user is told unless `quiet`."""
        try:
            return await self.poller.call(request)
        except MeshError as error:
            if not quiet:
                self.notify(str(error), severity="error", markup=False)
            return None

    def action_tab(self, number: int) -> None:
        """Keys 1 to 6: the tab as it was left; again: its first screen."""
        name = TABS[number - 1]
        if self.current_mode == name:
            while len(self.screen_stack) > 1:
                self.pop_screen()
        else:
            self.switch_mode(name)

    async def action_back(self) -> None:
        """Esc."""
        if isinstance(self.screen, MeshScreen):
            self.screen.go_back()

    def action_help(self) -> None:
        """`?`"""
        from meshwright.tui.dialogs.help import HelpDialog

        if isinstance(self.screen, MeshScreen):
            self.push_screen(HelpDialog(self.screen))

    @work
    async def action_jump(self) -> None:
        """`:`"""
        from meshwright.tui.dialogs.go_to import GoTo

        if isinstance(self.screen, MeshScreen):
            place = await self.push_screen_wait(GoTo(self.screen.mesh_state))
            if place:
                self.go(place)
