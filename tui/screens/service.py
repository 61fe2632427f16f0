"""The screen of one service."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.places import Place
from tui.screens.base import MeshScreen


class ServiceScreen(MeshScreen):
    """One service in detail."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place)
        self.subject = name

    def body(self) -> ComposeResult:
        """Where it is going to be."""
        yield Static(self.subject)
