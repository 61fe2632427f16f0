"""The application: which screens there are, which keys work everywhere, and how a screen talks to the rest.

Conventions for screens (`tui/screens/base.py` shows them as code):

- A screen is a `MeshScreen` made for a `Place` (`tui/places.py`). The six tabs are modes, each with a stack
  of screens; `self.dash.go(place)` puts a place's screen on top, Esc takes it off, breadcrumbs are the stack.
- Data: it names the parts of the picture it `NEEDS`; `show_picture(picture)` is called in the interface's
  thread for every new picture and whenever the screen comes on top. Parts that never came are None.
- What the picture does not hold it asks for itself, in a worker:
  `@work(exclusive=True) async def load(self): found = await self.dash.ask(lambda client: client.trace(id))`
  (None: it failed, and the user was told in words). Nothing blocks: no file, no socket, no sleep in a screen.
- Keys: `BINDINGS` as in Textual; what has a description and `show=True` stands in the footer, all of them in
  `?`. 1-6, `:`, `?`, `/`, ctrl+p, Esc and q are taken.
- Actions that change traffic stand in `CHANGES` and go by `tui/changes.py`, which shows what will change and
  for whom, asks, applies, and has the newest shown at once (`self.dash.source.hurry()`).
- States are sign, word and colour: `words.HEALTH[...]`, `theme.state(...)`; figures are made by
  `tui/words.py`, everything a peer sent passes `words.clean` and goes to `paint`/`Content`, never to markup.
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

from control_plane.api.client import AdminClient
from control_plane.api.discovery import Endpoint
from control_plane.errors import MeshError
from tui import theme
from tui.client import Source
from tui.messages import Updated
from tui.palette import Commands
from tui.picture import Picture
from tui.places import TABS, Place, Tab
from tui.routes import screen_of
from tui.screens.base import MeshScreen
from tui.web import SERVER

Answer = TypeVar("Answer")


class Dash(App[None]):
    """`mesh dash`. `find` says where the admin API is; it is asked again whenever that is away."""

    TITLE = "mesh dash"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        name: partial(screen_of, Tab(name)) for name in TABS
    }
    DEFAULT_MODE = "topology"
    COMMANDS: ClassVar[set[Any]] = {Commands}
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
        find: Callable[[], Endpoint],
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
        self.source = Source(find, self._publish, now)
        self._wanted_theme = theme_name

    def on_mount(self) -> None:
        """Dress, and begin to look."""
        for each in theme.THEMES.values():
            self.register_theme(each)
        self.dress(self._wanted_theme)
        if server := os.environ.get(SERVER):
            self.set_interval(1.0, partial(self._follow, int(server)))
        self.run_worker(self.source.run(), exit_on_error=True, name="source")

    def dress(self, name: str) -> None:
        """Put on a theme by its short name."""
        self.theme = theme.THEMES[name].name

    def _follow(self, parent: int) -> None:
        """End with the server of the pages, however that ended."""
        if os.getppid() != parent:
            self.exit()

    def _publish(self, picture: Picture) -> None:
        self.post_message(Updated(picture))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for themes that do not set them."""
        return theme.DARK.variables

    @property
    def picture(self) -> Picture:
        """The newest picture of the mesh."""
        return self.source.picture

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed: it was started so, or its token may only read."""
        status = self.picture.status
        return self._read_only or (status is not None and status.rights == "read")

    def places(self) -> list[MeshScreen]:
        """The screens that lie over each other here, the lowest first."""
        return [screen for screen in self.screen_stack if isinstance(screen, MeshScreen)]

    def crumbs(self) -> list[str]:
        """The way that led here."""
        return [screen.place.title for screen in self.places()]

    def on_updated(self, message: Updated) -> None:
        """Hand a new picture to the screen that is seen, also when a sheet lies over it."""
        for screen in self.places()[-1:]:
            screen.take(message.picture)

    def go(self, place: Place) -> None:
        """Show a place: a tab as it was left, anything else on top of what is shown."""
        if isinstance(place, Tab):
            self.switch_mode(place.name)
        elif self.places()[-1].place != place:
            self.push_screen(screen_of(place))

    def leave(self) -> None:
        """Take the screen on top away, if another lies below it."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    async def ask(
        self, call: Callable[[AdminClient], Awaitable[Answer]], *, quiet: bool = False
    ) -> Answer | None:
        """The answer to one call; None when it failed, which the user is told unless `quiet`."""
        try:
            return await self.source.ask(call)
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
            self.screen.back()

    def action_help(self) -> None:
        """`?`"""
        from tui.sheets.help import Help

        if isinstance(self.screen, MeshScreen):
            self.push_screen(Help(self.screen))

    @work
    async def action_jump(self) -> None:
        """`:`"""
        from tui.sheets.jump import Jump

        if isinstance(self.screen, MeshScreen):
            place = await self.push_screen_wait(Jump(self.screen.picture))
            if place:
                self.go(place)
