"""The application: its tabs, its global keys, and navigation between screens.

How a screen works (`tui/screen.py` has the base class):

- A screen is a `MeshScreen` for a `Location` (`tui/navigation.py`); `tui/features/registry.py` maps one to
  the other. Each of the six tabs is a Textual mode with its own stack of screens: `self.session.go(location)`
  pushes a screen, Esc pops it, breadcrumbs show the stack.
- Data: a screen lists the fields of the state it needs in `STATE_FIELDS`. `refresh_data(state)` runs in the
  UI thread for every new state and whenever the screen becomes current. Fields not fetched yet are None.
- Anything else is fetched in a worker:
  `@work async def load(self): trace = await self.session.call(lambda client: client.trace(id))`
  (None: the request failed and the user has been notified). Screens never block: no file, socket or sleep.
- Keys: `tui/keys.py` gives each its one meaning, `BINDINGS` bind them to actions by `bind`. Those with
  `show=True` appear in the footer, all of them in the help dialog and the command palette.
- Actions that change the mesh are listed in `WRITE_ACTIONS` and go through
  `tui/features/policies/change_flow.py`: it previews the change, asks for confirmation and applies it.
- Every status has a symbol, a word and a colour (`tui/format.py`, `theme.status_text`). Text from the mesh
  passes through `sanitize` into `paint` or `Content`, never into markup.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.tui import keys, theme
from meshwright.tui.command_palette import CommandPaletteProvider
from meshwright.tui.features.registry import create_screen
from meshwright.tui.keys import bind
from meshwright.tui.navigation import TABS, Location, TabLocation
from meshwright.tui.past import Step
from meshwright.tui.screen import MeshScreen
from meshwright.tui.session import Session, StateUpdated
from meshwright.tui.web import SERVER_PID_ENV


class DashboardApp(Session):
    """`mesh dash`."""

    TITLE = "mesh dash"
    CSS = "CommandPalette SearchIcon { display: none; }  /* an emoji, which not every font has */"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        name: partial(create_screen, TabLocation(name)) for name in TABS
    }
    COMMANDS: ClassVar[set[Any]] = {CommandPaletteProvider}
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"app.tab({number})", keys.TABS.word, show=False)
            for number in range(1, len(TABS) + 1)
        ),
        bind(keys.GO_TO, "go_to"),
        bind(keys.EARLIER, "past('earlier')"),
        bind(keys.LATER, "past('later')"),
        bind(keys.MUCH_EARLIER, "past('much-earlier')", show=False),
        bind(keys.MUCH_LATER, "past('much-later')", show=False),
        bind(keys.NOW, "now"),
        bind(keys.BACK, "back", show=False),
        bind(keys.HELP, "help"),
        bind(keys.QUIT, "quit"),
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
        """As for `Session`; `theme_name` is a key of `theme.THEMES`."""
        super().__init__(locate, read_only=read_only, author=author, jaeger=jaeger, now=now)
        self._initial_theme = theme_name

    def on_mount(self) -> None:
        """Apply the theme, open the first tab and start polling.

        There is no `DEFAULT_MODE`: with eager tasks (Python 3.12 and newer) Textual 8.2 would mount the
        widgets of its screen before the screen is on the stack (Textualize/textual#6444).
        """
        for each in theme.THEMES.values():
            self.register_theme(each)
        self.set_theme(self._initial_theme)
        self.switch_mode(next(iter(TABS)))
        if server := os.environ.get(SERVER_PID_ENV):
            self.set_interval(1.0, partial(self._exit_with_server, int(server)))
        self.run_worker(self.poller.run(), exit_on_error=True, name="poller")

    def _exit_with_server(self, server_pid: int) -> None:
        """Exit when the web server that started this process has exited."""
        if os.getppid() != server_pid:
            self.exit()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The dashboard's own variables, for themes that do not define them."""
        return theme.DARK.variables

    def mesh_screens(self) -> list[MeshScreen]:
        """The stacked screens of the current tab, the bottom one first; dialogs are left out."""
        return [screen for screen in self.screen_stack if isinstance(screen, MeshScreen)]

    def breadcrumbs(self) -> list[str]:
        """Titles of the stacked screens, the bottom one first."""
        return [screen.location.title for screen in self.mesh_screens()]

    def on_state_updated(self, _message: StateUpdated) -> None:
        """Pass a new state to the top screen, also under a dialog."""
        for screen in self.mesh_screens()[-1:]:
            screen.update_state(screen.mesh_state)

    def go(self, location: Location) -> None:
        """Switch to a tab as the user left it, or push a screen for any other location."""
        if isinstance(location, TabLocation):
            self.switch_mode(location.name)
        elif self.mesh_screens()[-1].location != location:
            self.push_screen(create_screen(location))

    def action_tab(self, number: int) -> None:
        """Keys 1 to 6: the tab as the user left it; the key of the current tab: its first screen."""
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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """From screens that have a past one can go there; from every screen back to now."""
        if action == "now":
            return self.past is not None
        if action == "past":
            has_past = any(screen.HAS_PAST for screen in self.mesh_screens()[-1:])
            return has_past and (self.past is not None or "earlier" in str(parameters[0]))
        return super().check_action(action, parameters)

    @work
    async def action_past(self, step: Step) -> None:
        """`[`, `]`, `{` and `}`: the moment before or after the one on the screen."""
        await self.load_past(step)

    def action_now(self) -> None:
        """`0`: back to the mesh as it is."""
        self.show_past(None)

    @work
    async def action_go_to(self) -> None:
        """`:`"""
        from meshwright.tui.dialogs.go_to import GoTo

        if isinstance(self.screen, MeshScreen):
            location = await self.push_screen_wait(GoTo(self.mesh_state))
            if location:
                self.go(location)
