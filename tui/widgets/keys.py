"""The last line of every screen: the keys of this place, as many as fit, help and quit always."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from tui.theme import paint

ALWAYS = ("help", "quit")
"""Actions whose keys stay where there is no room for others."""


class Key(NamedTuple):
    """A key that does something here."""

    label: str
    words: str
    action: str


class Keys(Static):
    """Drawn anew whenever other keys work."""

    DEFAULT_CSS = """
    Keys { dock: bottom; height: 1; background: $panel; text-wrap: nowrap; }
    """

    def on_mount(self) -> None:
        """Follow what works."""
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self._draw()

    def on_resize(self) -> None:
        """What fits is another matter."""
        self._draw()

    def _follow(self, _screen: Screen[object]) -> None:
        if self.is_mounted and self.screen.is_current:
            self._draw()

    def _draw(self) -> None:
        self.update(line(keys(self.screen), self.size.width or self.app.size.width))


def keys(screen: Screen[object]) -> list[Key]:
    """The keys that work on a screen and are worth a word, its own first."""
    if isinstance(screen.focused, Input):
        return [Key("⏎", "keep", ""), Key("Esc", "end", "")]
    own: dict[str, Key] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if not binding.show or not enabled or binding.action in own:
            continue
        label = screen.app.get_key_display(binding)
        prefix = "app." if node is screen.app else ""
        own[binding.action] = Key(label, binding.description, f"{prefix}{binding.action}")
    first = [key for action, key in own.items() if action not in ALWAYS]
    return first + [own[action] for action in ALWAYS if action in own]


def line(found: list[Key], width: int) -> Content:
    """Keys in `width` cells."""
    last = [key for key in found if key.action.removeprefix("app.") in ALWAYS]
    shown = [key for key in found if key not in last]
    while shown and _length([*shown, *last]) > width:
        shown.pop()
    parts = [
        Content.assemble(paint(key.label, "accent"), paint(f" {key.words}", "dim")) for key in (*shown, *last)
    ]
    return Content(" ") + Content("  ").join(parts)


def _length(found: list[Key]) -> int:
    return 1 + sum(len(key.label) + len(key.words) + 3 for key in found)
