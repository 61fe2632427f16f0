"""The search bar: `/` opens it, it stays while it has text, Esc closes it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label


class SearchBar(Horizontal):
    """A line above the footer, hidden until it is opened."""

    DEFAULT_CSS = """
    SearchBar { height: 1; display: none; background: $panel; }
    SearchBar.-open { display: block; }
    SearchBar Label { width: 3; color: $accent; }
    SearchBar Input, SearchBar Input:focus { border: none; height: 1; padding: 0; background: $panel; }
    """

    class Changed(Message):
        """The text has changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, placeholder: str) -> None:
        super().__init__()
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        """The prompt and the input."""
        yield Label(" / ")
        yield Input(placeholder=self._placeholder, compact=True, select_on_focus=False, disabled=True)

    @property
    def text(self) -> str:
        """The search text."""
        return self.query_one(Input).value

    def open(self) -> None:
        """Show and focus it."""
        self.add_class("-open")
        field = self.query_one(Input)
        field.disabled = False
        field.focus()

    def close(self) -> bool:
        """Clear and hide it. False: it was hidden already."""
        if not self.has_class("-open"):
            return False
        field = self.query_one(Input)
        field.value = ""
        self._return_focus()
        field.disabled = True
        self.remove_class("-open")
        return True

    def on_input_changed(self, message: Input.Changed) -> None:
        """Notify the screen at every letter."""
        message.stop()
        self.post_message(self.Changed(message.value))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter: keep the text and return the focus."""
        message.stop()
        if not message.value:
            self.close()
        self._return_focus()

    def _return_focus(self) -> None:
        others = [widget for widget in self.screen.focus_chain if widget is not self.query_one(Input)]
        if others:
            others[0].focus()
        else:
            self.screen.set_focus(None)
