"""What every screen, dialog and widget can use of the application: the mesh's state, its API, navigation.

Screens import this module, not `tui/app.py`, which imports the screens.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.control_plane.errors import MeshError
from meshwright.tui import theme
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import Location
from meshwright.tui.past import Step, as_of, next_time
from meshwright.tui.poller import MeshPoller

Result = TypeVar("Result")


class StateUpdated(Message):
    """The poller has a newer state of the mesh."""

    def __init__(self, state: DashboardState) -> None:
        super().__init__()
        self.state = state


class Session(App[None]):
    """One user's dashboard on one mesh. `tui/app.py` adds the screens and the keys."""

    def __init__(
        self,
        locate: Callable[[], ApiEndpoint],
        *,
        read_only: bool = False,
        author: str = "",
        jaeger: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`locate` finds the admin API; it is called again after an outage.

        `author` is recorded in the history of changes. `jaeger` is the base URL of a Jaeger UI. `read_only`
        disables every change, whatever the token permits. Its caller may set `contexts`, the names of other
        meshes: when the user chooses one, the dashboard exits with `next_context` set.
        """
        super().__init__()
        self._read_only = read_only
        self.author = author
        self.jaeger = jaeger
        self.now = now
        self.contexts: tuple[str, ...] = ()
        self.next_context = ""
        self._past: PastMesh | None = None
        self._is_loading_past = False
        self.poller = MeshPoller(locate, self._publish, now)

    def _publish(self, state: DashboardState) -> None:
        self.post_message(StateUpdated(state))

    @property
    def mesh_state(self) -> DashboardState:
        """The latest state of the mesh."""
        return self.poller.state

    @property
    def past(self) -> PastMesh | None:
        """The moment that screens with a past show; None: the mesh as it is."""
        return self._past

    def shown_state(self, *, has_past: bool) -> DashboardState:
        """What a screen shows: the mesh as it was, if a moment was chosen and the screen `has_past`."""
        state = self.mesh_state
        return as_of(state, self._past) if self._past and has_past else state

    async def load_past(self, step: Step) -> None:
        """Choose the moment that is a step away; nothing changes if it cannot be fetched."""
        if self._is_loading_past:
            return
        self._is_loading_past = True
        try:
            time = next_time(self._past, step, self.now())
            past = None
            if time is not None:
                past = await self.call(lambda client: client.moment(time))
                if past is None:
                    return
            self.show_past(past)
        finally:
            self._is_loading_past = False

    def show_past(self, past: PastMesh | None) -> None:
        """Show a moment, or the mesh as it is."""
        self._past = past
        self._publish(self.mesh_state)
        self.screen.refresh_bindings()

    @property
    def read_only(self) -> bool:
        """Whether changes are disabled, by `--read-only` or by the token's rights."""
        status = self.mesh_state.status
        return self._read_only or (status is not None and status.rights == "read")

    def set_theme(self, name: str) -> None:
        """Switch to a theme by its short name."""
        self.theme = theme.THEMES[name].name

    async def call(
        self, request: Callable[[Client], Awaitable[Result]], *, quiet: bool = False
    ) -> Result | None:
        """Send one request. Returns None on an error, which is shown as a notification unless `quiet`."""
        try:
            return await self.poller.call(request)
        except MeshError as error:
            if not quiet:
                self.notify(str(error), severity="error", markup=False)
            return None

    def switch_mesh(self, context: str) -> None:
        """Exit, to be started again on the mesh of a context: nothing of this one must remain on screen."""
        self.next_context = context
        self.exit()

    def go(self, location: Location) -> None:
        """Show a location: switch to a tab, or push a screen."""
        raise NotImplementedError

    def pop(self) -> None:
        """Close the top screen, unless it is the only one."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def breadcrumbs(self) -> list[str]:
        """Titles of the stacked screens, the bottom one first."""
        raise NotImplementedError


def session_of(node: DOMNode) -> Session:
    """The session that a widget or screen belongs to."""
    app = node.app
    if not isinstance(app, Session):
        raise TypeError(f"{node!r} is not part of a dashboard")
    return app
