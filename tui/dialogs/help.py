"""`?`: what the screen shows, its keys, and the meaning of the symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshwright.tui import keys
from meshwright.tui.format import BREAKER_LABELS, HEALTH_LABELS, pad
from meshwright.tui.keys import bind
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text

GLOBAL_KEYS = tuple((key.label or key.names, key.word) for key in keys.GROUPS["everywhere"])

TWO_COLUMN_WIDTH = 76
"""Width of the terminal from which keys are listed in two columns."""

FIGURES_TEXT = (
    "Rates are requests per second over the last 10 s; latencies are in ms and include retries. The header "
    "shows the traffic that enters the mesh: its rate, its error rate, and the highest p99 of its edges."
)


class HelpDialog(ModalScreen[None]):
    """Help for one screen."""

    DEFAULT_CSS = """
    HelpDialog { align: center middle; background: $background 60%; }
    HelpDialog VerticalScroll {
        width: 96%; max-width: 88; height: auto; max-height: 100%; scrollbar-size-vertical: 1;
        border: round $accent; padding: 0 1; background: $background;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.BACK, "dismiss"),
        bind(keys.QUIT, "dismiss"),
        bind(keys.HELP, "dismiss"),
    ]

    def __init__(self, screen: MeshScreen) -> None:
        super().__init__()
        self._lines = help_lines(screen)
        self._title = screen.location.title

    def compose(self) -> ComposeResult:
        """One scrollable text."""
        with VerticalScroll() as box:
            box.border_title = Content(f"help: {self._title}")
            box.border_subtitle = "Esc closes"
            yield Static(Content("\n").join(self._lines))


def help_lines(screen: MeshScreen) -> list[Content]:
    """What the screen shows, its keys, the symbols, and the global keys."""
    lines = [Content(screen.HELP)] if screen.HELP else []
    if screen.SEARCH_HINT:
        lines.append(Content.assemble(paint("/ ", "accent"), screen.search_help))
    wide = screen.app.size.width >= TWO_COLUMN_WIDTH
    health = [status_text(HEALTH_LABELS[state]) for state in ("healthy", "degraded", "unhealthy", "unknown")]
    breaker = [status_text(BREAKER_LABELS[state], " breaker") for state in ("open", "partial")]
    symbols = Content("  ").join([*health, *breaker])
    for part, end in ((_screen_keys(screen), symbols), (GLOBAL_KEYS, Content(""))):
        lines += _two_columns(part) if wide else [_key_line(key, text) for key, text in part]
        lines.append(end)
    lines.append(paint(FIGURES_TEXT, "dim"))
    return lines


def _screen_keys(screen: MeshScreen) -> list[tuple[str, str]]:
    """The keys of a screen and its widgets with their descriptions; keys of one action are joined."""
    active = [
        binding
        for node, binding, enabled, _ in screen.active_bindings.values()
        if node is not screen.app and enabled and binding.action != "search" and keys.is_bound(binding)
    ]
    names: dict[str, list[str]] = {}
    for binding in sorted(active, key=lambda each: keys.RANKS[each.key]):
        names.setdefault(binding.description, []).append(screen.app.get_key_display(binding))
    return [(" ".join(labels), word) for word, labels in names.items()]


def _two_columns(pairs: Sequence[tuple[str, str]]) -> list[Content]:
    """Keys in two columns, to be read downwards."""
    half = (len(pairs) + 1) // 2
    lines = []
    for index in range(half):
        key, text = pairs[index]
        line = _key_line(key, pad(text, 24))
        other = half + index
        lines.append(line + _key_line(*pairs[other]) if other < len(pairs) else line)
    return lines


def _key_line(key: str, text: str) -> Content:
    return Content.assemble(paint(pad(key, 10), "accent"), text)
