"""Text whose size does not depend on it: a new text triggers no layout, and an equal text costs nothing."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class StableStatic(Static):
    """Its height and width must be set by the style sheet."""

    _text = Content("")

    def set_text(self, text: Content) -> None:
        """Show a text, unless it is shown already."""
        if not text.is_same(self._text):
            self._text = text
            self.update(text, layout=False)
