"""ctrl+p: every command by its name: screens, themes, and every place that the picture names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from tui import theme
from tui.places import TABS, Tab
from tui.sheets.jump import targets

if TYPE_CHECKING:
    from tui.app import Dash


class Command(NamedTuple):
    """Something that can be done."""

    name: str
    does: IgnoreReturnCallbackType
    help: str


class Commands(Provider):
    """What `ctrl+p` searches."""

    @property
    def _dash(self) -> Dash:
        return cast("Dash", self.app)

    def _fixed(self) -> Iterator[Command]:
        dash = self._dash
        for at, name in enumerate(TABS, start=1):
            yield Command(f"show {name}", partial(dash.go, Tab(name)), f"key {at}")
        for look in theme.THEMES:
            yield Command(f"theme {look}", partial(dash.dress, look), "colours")
        yield Command("help", dash.action_help, "key ?")
        yield Command("quit", dash.exit, "key q")

    async def discover(self) -> Hits:
        """What is shown before anything is typed."""
        for command in self._fixed():
            yield DiscoveryHit(command.name, command.does, help=command.help)

    async def search(self, query: str) -> Hits:
        """Commands and places that match."""
        matcher = self.matcher(query)
        named = [
            Command(f"go to {target.name}", partial(self._dash.go, target.place), target.kind)
            for target in targets(self._dash.picture)
            if target.kind != "screen"
        ]
        for command in (*self._fixed(), *named):
            score = matcher.match(command.name)
            if score > 0:
                yield Hit(score, matcher.highlight(command.name), command.does, help=command.help)
