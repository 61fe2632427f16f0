"""The command palette (ctrl+p): tabs, the keys of the current screen, themes, and every location."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from meshwright.tui import theme
from meshwright.tui.dialogs.go_to import go_to_targets
from meshwright.tui.keys import BACK, COMMANDS, GROUPS, HELP, QUIT, ROLLOUTS, is_bound
from meshwright.tui.keys import TABS as TAB_KEYS
from meshwright.tui.navigation import TABS, RolloutsLocation, TabLocation
from meshwright.tui.session import Session, session_of


class PaletteCommand(NamedTuple):
    """An entry of the palette."""

    name: str
    run: IgnoreReturnCallbackType
    help: str


def is_command(binding: Binding) -> bool:
    """Whether the palette lists what a key does: not moving, nor what it lists as commands of its own."""
    unlisted = (*GROUPS["move"], TAB_KEYS, COMMANDS, BACK, HELP, QUIT)
    return is_bound(binding) and all(binding.key not in key.names.split(",") for key in unlisted)


class CommandPaletteProvider(Provider):
    """Finds commands and locations by name."""

    @property
    def _session(self) -> Session:
        return session_of(self.screen)

    def _commands(self) -> Iterator[PaletteCommand]:
        session = self._session
        yield from self._screen_commands()
        for number, name in enumerate(TABS, start=1):
            yield PaletteCommand(f"show {name}", partial(session.go, TabLocation(name)), f"key {number}")
        yield PaletteCommand(
            "show rollouts", partial(session.go, RolloutsLocation()), f"key {ROLLOUTS.names} of policies"
        )
        for context in session.contexts:
            yield PaletteCommand(f"mesh {context}", partial(session.switch_mesh, context), "context")
        for theme_name in theme.THEMES:
            yield PaletteCommand(f"theme {theme_name}", partial(session.set_theme, theme_name), "colours")
        yield PaletteCommand("help", partial(session.run_action, "app.help"), "key ?")
        yield PaletteCommand("quit", session.exit, "key q")

    def _screen_commands(self) -> Iterator[PaletteCommand]:
        """What the keys of the current screen do, but moving in it."""
        commands: dict[str, PaletteCommand] = {}
        for node, binding, enabled, _ in self.screen.active_bindings.values():
            if enabled and binding.action not in commands and is_command(binding):
                key = self._session.get_key_display(binding)
                run = partial(self._session.run_action, binding.action, node)
                commands[binding.action] = PaletteCommand(binding.description, run, f"key {key}")
        yield from commands.values()

    async def discover(self) -> Hits:
        """Entries shown before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(command.name, command.run, help=command.help)

    async def search(self, query: str) -> Hits:
        """Commands and locations that match."""
        matcher = self.matcher(query)
        locations = [
            PaletteCommand(f"go to {target.name}", partial(self._session.go, target.location), target.kind)
            for target in go_to_targets(self._session.mesh_state)
            if target.kind != "screen"
        ]
        for command in (*self._commands(), *locations):
            score = matcher.match(command.name)
            if score > 0:
                yield Hit(score, matcher.highlight(command.name), command.run, help=command.help)
