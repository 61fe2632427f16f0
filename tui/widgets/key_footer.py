"""The last line of every screen: the keys of this place, as many as fit, help and quit always."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widgets import Input, Static

from meshwright.tui.theme import paint

PINNED_ACTIONS = ("help", "quit")
"""Actions whose keys stay where there is no room for others."""


class KeyHint(NamedTuple):
    """A key that does something here: how it is written, what it does, how it is called, whether it stays."""

    label: str
    description: str
    key: str
    pinned: bool = False

    @property
    def width(self) -> int:
        """Cells of it, with those that part it from the next."""
        return len(self.label) + len(self.description) + 3


class KeyFooter(Static):
    """Drawn anew whenever other keys work."""

    DEFAULT_CSS = """
    KeyFooter { dock: bottom; height: 1; background: $panel; text-wrap: nowrap; }
    """

    def on_mount(self) -> None:
        """Follow what works."""
        self.screen.bindings_updated_signal.subscribe(self, self._on_bindings_updated)
        self._draw()

    def on_resize(self) -> None:
        """What fits is another matter."""
        self._draw()

    def _on_bindings_updated(self, _screen: Screen[object]) -> None:
        if self.is_mounted and self.screen.is_current:
            self._draw()

    def on_click(self, event: Click) -> None:
        """A click is the key."""
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
    """The keys that work on a screen and are worth a word, its own first."""
    if isinstance(screen.focused, Input):
        return [KeyHint("⏎", "keep", "enter"), KeyHint("Esc", "end", "escape")]
    value: dict[str, KeyHint] = {}
    for _, binding, enabled, _ in screen.active_bindings.values():
        if binding.show and enabled and binding.action not in value:
            label = screen.app.get_key_display(binding)
            value[binding.action] = KeyHint(
                label, binding.description, binding.key, binding.action in PINNED_ACTIONS
            )
    return sorted(value.values(), key=lambda key: key.pinned)


def fit_hints(result: list[KeyHint], width: int) -> list[KeyHint]:
    """The keys that fit in `width` cells; those that stay are the last to go."""
    last = [key for key in result if key.pinned]
    shown = [key for key in result if not key.pinned]
    while shown and 1 + sum(key.width for key in (*shown, *last)) > width:
        shown.pop()
    return shown + last
