"""`?`: what this screen shows, every key that works on it, and what the signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshwright.tui import format
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text

GLOBAL_KEYS = (
    ("1 – 6", "the six screens; again: back to their start"),
    ("/", "search in this screen, Esc ends it; Tab: its next part"),
    (":", "jump to a service, sidecar, policy or trace by its name"),
    ("ctrl+p", "every command, themes too"),
    ("Esc", "back"),
    ("q", "quit"),
)
UNLISTED_KEYS = frozenset({"tab", "shift+tab", "ctrl+c", "super+c", "slash"})
"""Keys that do everywhere what they do in every terminal."""

TWO_COLUMN_WIDTH = 76
"""Cells of a terminal from which keys stand in two columns."""

FIGURES_TEXT = (
    "Rates are requests in a second over the last 10 s; latencies are in ms with their retries. The head "
    "shows the calls that enter the mesh: their rate, the share that fails, the worst p99 among them."
)


class HelpDialog(ModalScreen[None]):
    """Closed by any of its keys."""

    DEFAULT_CSS = """
    Help { align: center middle; background: $background 60%; }
    Help VerticalScroll {
        width: 96%; max-width: 88; height: auto; max-height: 100%; scrollbar-size-vertical: 1;
        border: round $accent; padding: 0 1; background: $background;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

    def __init__(self, screen: MeshScreen) -> None:
        super().__init__()
        self._lines = list(help_lines(screen))
        self._title = screen.location.title

    def compose(self) -> ComposeResult:
        """All in one text that scrolls where it must."""
        with VerticalScroll() as sheet:
            sheet.border_title = Content(f"help: {self._title}")
            sheet.border_subtitle = "Esc closes"
            yield Static(Content("\n").join(self._lines))


def help_lines(screen: MeshScreen) -> list[Content]:
    """What the sheet says of a screen."""
    said = [Content(screen.HELP)] if screen.HELP else []
    named: dict[str, list[str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if (
            node is not screen.app
            and enabled
            and binding.key not in UNLISTED_KEYS
            and _is_dashboard_key(binding.description)
        ):
            named.setdefault(binding.description, []).append(screen.app.get_key_display(binding))
    seen = [(" ".join(keys), text) for text, keys in named.items()]
    wide = screen.app.size.width >= TWO_COLUMN_WIDTH
    said += _two_columns(seen) if wide else [_key_line(key, text) for key, text in seen]
    said += [Content(""), *(_key_line(key, text) for key, text in GLOBAL_KEYS)]
    signs = [
        status_text(format.HEALTH_LABELS[each]) for each in ("healthy", "degraded", "unhealthy", "unknown")
    ]
    breakers = [status_text(format.BREAKER_LABELS[each]) for each in ("open", "partial")]
    said.append(Content("  ").join([*signs, *breakers]))
    said.append(paint(FIGURES_TEXT, "dim"))
    return said


def _is_dashboard_key(description: str) -> bool:
    """Whether a key is of the dashboard: Textual's own ones are described by capital letters."""
    return description[:1].islower()


def _two_columns(keys: list[tuple[str, str]]) -> list[Content]:
    """Keys in two columns, read downwards."""
    half = (len(keys) + 1) // 2
    lines_ = []
    for at in range(half):
        key, text = keys[at]
        line = _key_line(key, format.pad(text, 24))
        lines_.append(line + _key_line(*keys[half + at]) if half + at < len(keys) else line)
    return lines_


def _key_line(key: str, text: str) -> Content:
    return Content.assemble(paint(format.pad(key, 10), "accent"), text)
