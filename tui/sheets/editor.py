"""An editor of our own, where the user's cannot run: in a browser, or when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from control_plane.api.failures import Place
from tui import words
from tui.theme import paint


class EditorSheet(ModalScreen[str | None]):
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
        Binding("ctrl+s", "done", "done", priority=True),
        Binding("escape", "leave", "leave", priority=True),
    ]

    def __init__(self, title: str, text: str, problems: Sequence[Place] = ()) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._problems = problems

    def compose(self) -> ComposeResult:
        """The text, what was wrong with it, the keys."""
        with Vertical() as sheet:
            sheet.border_title = Content(self._title)
            if self._problems:
                first = self._problems[0]
                said = f" ✖ line {first.line}: {words.clean(first.message)}"
                yield Static(paint(said, "bad"), id="problem")
            yield TextArea(self._text, show_line_numbers=True, tab_behavior="focus", soft_wrap=False)
            keys = Content.assemble(
                " ",
                paint("ctrl+s", "accent"),
                " look at what it changes   ",
                paint("Esc", "accent"),
                " leave",
            )
            yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """The cursor where the first problem is."""
        area = self.query_one(TextArea)
        area.focus()
        if self._problems:
            first = self._problems[0]
            area.move_cursor((max(0, first.line - 1), max(0, first.column - 1)))

    def action_done(self) -> None:
        """Take the text."""
        self.dismiss(self.query_one(TextArea).text)

    def action_leave(self) -> None:
        """Leave the text as it was."""
        self.dismiss(None)
