"""ctrl+p: every command by its name: screens, themes, and every place that the picture names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from meshwright.tui import theme
from meshwright.tui.dialogs.go_to import go_to_targets
from meshwright.tui.navigation import TABS, TabLocation

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp


class PaletteCommand(NamedTuple):
    """Something that can be done."""

    name: str
    run: IgnoreReturnCallbackType
    help: str


class CommandPaletteProvider(Provider):
    """What `ctrl+p` searches."""

    @property
    def _session(self) -> DashboardApp:
        return cast("DashboardApp", self.app)

    def _commands(self) -> Iterator[PaletteCommand]:
        dash = self._session
        for at, name in enumerate(TABS, start=1):
            yield PaletteCommand(f"show {name}", partial(dash.go, TabLocation(name)), f"key {at}")
        for look in theme.THEMES:
            yield PaletteCommand(f"theme {look}", partial(dash.set_theme, look), "colours")
        yield PaletteCommand("help", dash.action_help, "key ?")
        yield PaletteCommand("quit", dash.exit, "key q")

    async def discover(self) -> Hits:
        """What is shown before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(command.name, command.run, help=command.help)

    async def search(self, query: str) -> Hits:
        """Commands and places that match."""
        matcher = self.matcher(query)
        named = [
            PaletteCommand(f"go to {target.name}", partial(self._session.go, target.location), target.kind)
            for target in go_to_targets(self._session.mesh_state)
            if target.kind != "screen"
        ]
        for command in (*self._commands(), *named):
            score = matcher.match(command.name)
            if score > 0:
                yield Hit(score, matcher.highlight(command.name), command.run, help=command.help)
