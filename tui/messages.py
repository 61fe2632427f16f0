"""What the dashboard's parts tell each other."""

from __future__ import annotations

from textual.message import Message

from meshwright.tui.mesh_state import DashboardState


class StateUpdated(Message):
    """There is a newer picture of the mesh."""

    def __init__(self, picture: DashboardState) -> None:
        super().__init__()
        self.state = picture
