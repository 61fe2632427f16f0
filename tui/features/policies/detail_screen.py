"""One policy alone: conditions, YAML, history, changes, on the whole screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from meshwright.tui import format, navigation
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.policies.screen import PolicyActions
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.theme import paint


class PolicyDetailScreen(PolicyActions):
    """A policy by kind and name; says so when it is gone."""

    HELP = (
        "One policy: how it stands, its YAML, the revisions that changed it, what changed since one of them."
    )
    DEFAULT_CSS = """
    PolicyScreen #gone { height: auto; display: none; }
    """

    def __init__(self, location: navigation.PolicyLocation) -> None:
        super().__init__(location)
        self._policy_key = f"{location.kind}/{location.name}"

    def compose_body(self) -> ComposeResult:
        """The policy, or that it is gone."""
        yield Static(id="gone")
        yield PolicyDetail()

    def on_mount(self) -> None:
        """The text has the keys."""
        super().on_mount()
        self.detail.focus_content()

    def refresh_data(self, picture: DashboardState) -> None:
        """The policy as it is now."""
        if picture.policies is None:
            return
        policy = next((one for one in self.policies() if one.key.lower() == self._policy_key.lower()), None)
        gone = self.query_one("#gone", Static)
        gone.display = policy is None
        if policy is None:
            said = f" ○ there is no policy {format.sanitize(self._policy_key)} in revision {picture.policies.revision}"
            gone.update(paint(f"{said}: H shows which revision took it away", "partial"))
        self.detail.display = policy is not None
        self.detail.show(policy)
        self.refresh_bindings()
