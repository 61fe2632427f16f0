"""The screen of policies."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.screens.base import MeshScreen


class PoliciesScreen(MeshScreen):
    """Policies of the mesh."""

    def body(self) -> ComposeResult:
        """Where it is going to be."""
        yield Static("policies")
