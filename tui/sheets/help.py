"""`?`: what this screen shows, every key that works on it, and what the signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import words
from tui.screens.base import MeshScreen
from tui.theme import paint, state

EVERYWHERE = (
    ("1 – 6", "the six screens; again: back to their start"),
    ("/", "search in this screen, Esc ends it"),
    (":", "jump to a service, sidecar, policy or trace by its name"),
    ("ctrl+p", "every command, themes too"),
    ("Esc", "back"),
    ("q", "quit"),
)
FIGURES = (
    "Rates are requests in a second over the last 10 s; latencies are in ms with their retries. The head "
    "shows the calls that enter the mesh: their rate, the share that fails, the worst p99 among them."
)


class Help(ModalScreen[None]):
    """Closed by any of its keys."""

    DEFAULT_CSS = """
    Help { align: center middle; background: $background 60%; }
    Help VerticalScroll {
        width: 90%; max-width: 84; height: auto; max-height: 96%;
        border: round $accent; padding: 0 1; background: $background;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

    def __init__(self, screen: MeshScreen) -> None:
        super().__init__()
        self._lines = list(lines(screen))
        self._named = screen.place.title

    def compose(self) -> ComposeResult:
        """All in one text that scrolls where it must."""
        with VerticalScroll() as sheet:
            sheet.border_title = Content(f"help: {self._named}")
            sheet.border_subtitle = "Esc closes"
            yield Static(Content("\n").join(self._lines))


def lines(screen: MeshScreen) -> list[Content]:
    """What the sheet says of a screen."""
    said = [Content(screen.HELP)] if screen.HELP else []
    own = [
        (screen.app.get_key_display(binding), binding.description or binding.tooltip)
        for node, binding, enabled, _ in screen.active_bindings.values()
        if node is not screen.app and enabled and binding.description
    ]
    taken = {key for key, _ in EVERYWHERE}
    seen = dict.fromkeys((key, text) for key, text in own if key not in taken)
    said += [_key(key, text) for key, text in seen]
    said += [Content(""), *(_key(key, text) for key, text in EVERYWHERE), Content("")]
    signs = [state(words.HEALTH[each]) for each in ("healthy", "degraded", "unhealthy", "unknown")]
    breakers = [state(words.BREAKER[each]) for each in ("open", "partial")]
    said.append(Content("   ").join([*signs, *breakers]))
    said.append(paint(FIGURES, "dim"))
    return said


def _key(key: str, text: str) -> Content:
    return Content.assemble(paint(words.pad(key, 10), "accent"), text)
