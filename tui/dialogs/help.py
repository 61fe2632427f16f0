"""`?`: what the screen shows, its keys, and the meaning of the symbols."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshwright.tui.format import BREAKER_LABELS, HEALTH_LABELS, pad
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text

GLOBAL_KEYS = (
    ("1 – 6", "the six tabs; again: back to the first screen of the tab"),
    ("/", "search in this screen, Esc ends it; Tab: next pane"),
    (":", "go to a service, sidecar, policy, revision or trace"),
    ("[ ] { }", "the mesh as it was, by 10 s or 5 min; n: now"),
    ("ctrl+p", "all commands and themes"),
    ("Esc, q", "back; quit"),
)
UNLISTED_KEYS = frozenset({"tab", "shift+tab", "ctrl+c", "super+c", "slash"})
"""Keys that need no explanation, or have one in `GLOBAL_KEYS`."""

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
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

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
    """What the screen shows, its keys, the global keys, and the symbols."""
    lines = [Content(screen.HELP)] if screen.HELP else []
    keys = _screen_keys(screen)
    wide = screen.app.size.width >= TWO_COLUMN_WIDTH
    lines += _two_columns(keys) if wide else [_key_line(key, text) for key, text in keys]
    lines += [Content(""), *(_key_line(key, text) for key, text in GLOBAL_KEYS)]
    health = [status_text(HEALTH_LABELS[state]) for state in ("healthy", "degraded", "unhealthy", "unknown")]
    breaker = [status_text(BREAKER_LABELS[state], " breaker") for state in ("open", "partial")]
    lines.append(Content("  ").join([*health, *breaker]))
    lines.append(paint(FIGURES_TEXT, "dim"))
    return lines


def _screen_keys(screen: MeshScreen) -> list[tuple[str, str]]:
    """The keys of a screen and its widgets with their descriptions; keys of one action are joined."""
    keys: dict[str, list[str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        listed = binding.key not in UNLISTED_KEYS and _is_dashboard_key(binding.description)
        if node is not screen.app and enabled and listed:
            keys.setdefault(binding.description, []).append(screen.app.get_key_display(binding))
    return [(" ".join(names), description) for description, names in keys.items()]


def _is_dashboard_key(description: str) -> bool:
    """Whether a key is the dashboard's own: descriptions of Textual's keys are capitalised."""
    return description[:1].islower()


def _two_columns(keys: list[tuple[str, str]]) -> list[Content]:
    """Keys in two columns, to be read downwards."""
    half = (len(keys) + 1) // 2
    lines = []
    for index in range(half):
        key, text = keys[index]
        line = _key_line(key, pad(text, 24))
        other = half + index
        lines.append(line + _key_line(*keys[other]) if other < len(keys) else line)
    return lines


def _key_line(key: str, text: str) -> Content:
    return Content.assemble(paint(pad(key, 10), "accent"), text)
