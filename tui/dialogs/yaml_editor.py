"""The built-in editor, for when the user's own cannot run: in a browser, or if none is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.tui import keys
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.theme import paint

INDENT = 2
"""Blanks that Tab inserts."""

DISCARD_SECONDS = 5.0
"""Seconds within which a second Esc discards a changed text."""


class YamlTextArea(TextArea):
    """Handles keys in the order in which they were pressed. Textual runs the bindings that move or delete
    through the application's queue, where letters overtake them.
    """

    async def _on_key(self, event: events.Key) -> None:
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.run_action(binding.action)


class YamlEditor(ModalScreen[str | None]):
    """Returns the edited text; None: cancelled."""

    DEFAULT_CSS = """
    YamlEditor { align: center middle; background: $background 60%; }
    YamlEditor > Vertical {
        width: 96%; max-width: 120; height: 96%; border: round $accent; background: $background;
    }
    YamlEditor TextArea, YamlEditor TextArea:focus {
        border: none; height: 1fr; padding: 0; background: $background;
    }
    YamlEditor #problem { height: auto; max-height: 3; }
    YamlEditor #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.PREVIEW, "done"),  # no priority: it must not overtake keys typed before it
        bind(keys.BACK, "cancel", priority=True),
    ]

    def __init__(self, title: str, text: str, problems: Sequence[SourceProblem] = ()) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._problems = problems
        self._discard_armed = False

    def compose(self) -> ComposeResult:
        """The first problem, the text and the keys."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            if self._problems:
                first = self._problems[0]
                text = f" {signs.BAD} line {first.line}: {sanitize(first.message)}"
                yield Static(paint(text, "bad"), id="problem")
            area = YamlTextArea(self._text, show_line_numbers=True, tab_behavior="indent", soft_wrap=False)
            area.indent_width = INDENT
            yield area
            keys = Content.assemble(
                " ",
                paint("ctrl+s", "accent"),
                " preview the change   ",
                paint("Esc", "accent"),
                " cancel",
            )
            yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """Put the cursor at the first problem; focus the text before it is shown."""
        area = self.query_one(TextArea)
        self.set_focus(area)
        if self._problems:
            first = self._problems[0]
            area.move_cursor((max(0, first.line - 1), max(0, first.column - 1)))

    def action_done(self) -> None:
        """Return the text."""
        self.dismiss(self.query_one(TextArea).text)

    def action_cancel(self) -> None:
        """Cancel; a changed text is discarded only by a second Esc."""
        if self._discard_armed or self.query_one(TextArea).text == self._text:
            self.dismiss(None)
            return
        self._discard_armed = True
        self.notify("Esc again discards your changes", severity="warning", timeout=DISCARD_SECONDS)
        self.set_timer(DISCARD_SECONDS, self._disarm_discard)

    def _disarm_discard(self) -> None:
        self._discard_armed = False
