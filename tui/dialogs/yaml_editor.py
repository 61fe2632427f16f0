"""An editor of our own, where the user's cannot run: in a browser, or when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from meshwright.control_plane.api.errors import SourceProblem
from meshwright.tui import format
from meshwright.tui.theme import paint

INDENT = 2
"""Blanks that Tab makes, as YAML is written here."""

DISCARD_SECONDS = 5.0
"""Seconds within which a second Esc leaves a text that was changed."""


class YamlTextArea(TextArea):
    """The text. Its keys are done in the order in which they came, however fast: Textual does those that move
    or delete by a detour through the application, on which letters overtake them.
    """

    async def _on_key(self, event: events.Key) -> None:
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.run_action(binding.action)


class YamlEditor(ModalScreen[str | None]):
    """The text as it was left; None when the user wants none of it."""

    DEFAULT_CSS = """
    EditorSheet { align: center middle; background: $background 60%; }
    EditorSheet > Vertical {
        width: 96%; max-width: 120; height: 96%; border: round $accent; background: $background;
    }
    EditorSheet TextArea, EditorSheet TextArea:focus {
        border: none; height: 1fr; padding: 0; background: $background;
    }
    EditorSheet #problem { height: auto; max-height: 3; }
    EditorSheet #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "done", "done"),  # behind keys that the text has not had yet
        Binding("escape", "leave", "leave", priority=True),
    ]

    def __init__(self, title: str, text: str, problems: Sequence[SourceProblem] = ()) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._problems = problems
        self._discard_armed = False

    def compose(self) -> ComposeResult:
        """The text, what was wrong with it, the keys."""
        with Vertical() as sheet:
            sheet.border_title = Content(self._title)
            if self._problems:
                first = self._problems[0]
                said = f" ✖ line {first.line}: {format.sanitize(first.message)}"
                yield Static(paint(said, "bad"), id="problem")
            area = YamlTextArea(self._text, show_line_numbers=True, tab_behavior="indent", soft_wrap=False)
            area.indent_width = INDENT
            yield area
            keys = Content.assemble(
                " ",
                paint("ctrl+s", "accent"),
                " look at what it changes   ",
                paint("Esc", "accent"),
                " leave",
            )
            yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """The cursor where the first problem is; the text has the keys before it is seen."""
        area = self.query_one(TextArea)
        self.set_focus(area)
        if self._problems:
            first = self._problems[0]
            area.move_cursor((max(0, first.line - 1), max(0, first.column - 1)))

    def action_done(self) -> None:
        """Take the text."""
        self.dismiss(self.query_one(TextArea).text)

    def action_leave(self) -> None:
        """Leave the text as it was; what was written is not thrown away by one key."""
        if self._discard_armed or self.query_one(TextArea).text == self._text:
            self.dismiss(None)
            return
        self._discard_armed = True
        self.notify("Esc again throws away what you wrote", severity="warning", timeout=DISCARD_SECONDS)
        self.set_timer(DISCARD_SECONDS, self._disarm_discard)

    def _disarm_discard(self) -> None:
        self._discard_armed = False
