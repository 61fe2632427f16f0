"""What the dashboard's parts tell each other."""

from __future__ import annotations

from textual.message import Message

from tui.picture import Picture


class Updated(Message):
    """There is a newer picture of the mesh."""

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self.picture = picture
