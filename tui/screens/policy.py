"""One policy alone: conditions, YAML, history, changes, on the whole screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui import places, words
from tui.picture import Picture
from tui.screens.policies import PolicyActions
from tui.theme import paint
from tui.widgets.policy_pane import PolicyPane


class PolicyScreen(PolicyActions):
    """A policy by kind and name; says so when it is gone."""

    HELP = (
        "One policy: how it stands, its YAML, the revisions that changed it, what changed since one of them."
    )
    DEFAULT_CSS = """
    PolicyScreen #gone { height: auto; display: none; }
    """

    def __init__(self, place: places.Policy) -> None:
        super().__init__(place)
        self._wanted = f"{place.kind}/{place.name}"

    def body(self) -> ComposeResult:
        """The policy, or that it is gone."""
        yield Static(id="gone")
        yield PolicyPane()

    def on_mount(self) -> None:
        """The text has the keys."""
        super().on_mount()
        self.pane.enter()

    def show_picture(self, picture: Picture) -> None:
        """The policy as it is now."""
        if picture.policies is None:
            return
        policy = next((one for one in self.found() if one.key.lower() == self._wanted.lower()), None)
        gone = self.query_one("#gone", Static)
        gone.display = policy is None
        if policy is None:
            said = (
                f" ○ there is no policy {words.clean(self._wanted)} in revision {picture.policies.revision}"
            )
            gone.update(paint(f"{said}: H shows which revision took it away", "partial"))
        self.pane.display = policy is not None
        self.pane.show(policy)
        self.refresh_bindings()
