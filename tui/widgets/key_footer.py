"""The footer of every screen: its keys, as many as fit; help and quit always."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widgets import Input, Static

from meshwright.tui.keys import RANKS
from meshwright.tui.session import session_of
from meshwright.tui.theme import paint

PINNED_ACTIONS = ("help", "quit")
"""Actions whose keys are dropped last."""

PAST_ACTIONS = ("past('earlier')", "past('later')", "now")
"""Those of which that is true as well while a moment of the past is on the screen."""


class KeyHint(NamedTuple):
    """A key: its label, the description of its action, its Textual name, and whether it is dropped last."""

    label: str
    description: str
    key: str
    pinned: bool = False

    @property
    def width(self) -> int:
        """Its cells, including the blanks before the next key."""
        return len(self.label) + len(self.description) + 3


class KeyFooter(Static):
    """Redrawn whenever the active keys change."""

    DEFAULT_CSS = """
    KeyFooter { dock: bottom; height: 1; background: $panel; text-wrap: nowrap; }
    """

    def on_mount(self) -> None:
        """Follow the active keys."""
        self.screen.bindings_updated_signal.subscribe(self, self._on_bindings_updated)
        self._draw()

    def on_resize(self) -> None:
        """Fit the keys to the new width."""
        self._draw()

    def _on_bindings_updated(self, _screen: Screen[object]) -> None:
        if self.is_mounted and self.screen.is_current:
            self._draw()

    def on_click(self, event: Click) -> None:
        """Press the clicked key."""
        left = 1
        for key in fit_hints(key_hints(self.screen), self.size.width):
            if left <= event.x < left + key.width - 2:
                self.app.simulate_key(key.key)
            left += key.width

    def _draw(self) -> None:
        shown = fit_hints(key_hints(self.screen), self.size.width or self.app.size.width)
        parts = [
            Content.assemble(paint(key.label, "accent"), paint(f" {key.description}", "dim")) for key in shown
        ]
        self.update(Content(" ") + Content("  ").join(parts))


def key_hints(screen: Screen[object]) -> list[KeyHint]:
    """The active keys of a screen that are shown, in the order of `keys.GROUPS`; pinned ones last."""
    if isinstance(screen.focused, Input):
        return [KeyHint("Enter", "apply", "enter"), KeyHint("Esc", "close", "escape")]
    pinned_actions = PINNED_ACTIONS + (PAST_ACTIONS if session_of(screen).past else ())
    hints: dict[str, KeyHint] = {}
    for _, binding, enabled, _ in screen.active_bindings.values():
        if binding.show and enabled and binding.action not in hints:
            label = screen.app.get_key_display(binding)
            pinned = binding.action in pinned_actions
            hints[binding.action] = KeyHint(label, binding.description, binding.key, pinned)
    return sorted(hints.values(), key=lambda hint: (hint.pinned, RANKS.get(hint.key, -1)))


def fit_hints(hints: list[KeyHint], width: int) -> list[KeyHint]:
    """The keys that fit in `width` cells; pinned ones are dropped last."""
    pinned = [hint for hint in hints if hint.pinned]
    shown = [hint for hint in hints if not hint.pinned]
    while shown and 1 + sum(hint.width for hint in (*shown, *pinned)) > width:
        shown.pop()
    return shown + pinned
