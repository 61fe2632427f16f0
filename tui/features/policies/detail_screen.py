"""One policy on the whole screen: conditions, YAML, history and changes."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.tui import navigation
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.policies.screen import PolicyActions
from meshwright.tui.format import sanitize
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.theme import paint


class PolicyDetailScreen(PolicyActions):
    """A policy by kind and name; says so if it does not exist."""

    HELP = (
        "One policy: its state, its YAML, the revisions that changed it, and the changes since one of them."
    )
    DEFAULT_CSS = """
    PolicyDetailScreen #missing { height: auto; display: none; }
    """

    def __init__(self, location: navigation.PolicyLocation) -> None:
        super().__init__(location)
        self._policy_key = f"{location.kind}/{location.name}"

    def compose_body(self) -> ComposeResult:
        """The policy, or a message that it does not exist."""
        yield Static(id="missing")
        yield PolicyDetail()

    def on_mount(self) -> None:
        """Focus the text."""
        super().on_mount()
        self.detail.focus_content()

    def refresh_data(self, state: DashboardState) -> None:
        """Show the current policy."""
        if state.policies is None:
            return
        key = self._policy_key
        policy = next((policy for policy in self.policies() if policy.key.lower() == key.lower()), None)
        missing = self.query_one("#missing", Static)
        missing.display = policy is None
        if policy is None:
            text = f" {signs.OFF} there is no policy {sanitize(key)} in revision {state.policies.revision}"
            missing.update(paint(f"{text}: H shows which revision deleted it", "partial"))
        self.detail.display = policy is not None
        self.detail.show(policy)
        self.refresh_bindings()
