"""Text in a place that has its size from elsewhere: other text moves nothing, the same text costs nothing."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class StableStatic(Static):
    """`say` another text; its height and width must not hang on it."""

    _text = Content("")

    def set_text(self, text: Content) -> None:
        """Show a text, unless it is there already."""
        if not text.is_same(self._text):
            self._text = text
            self.update(text, layout=False)
