"""The rollouts of the mesh, and what a person does with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import work
from textual.binding import BindingType

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.models.rollouts import RolloutAction, RolloutStatus
from meshwright.tui import keys
from meshwright.tui.features.policies.change_flow import ChangeRequest, apply_or_notify, newest_revision
from meshwright.tui.features.rollouts import table
from meshwright.tui.keys import bind
from meshwright.tui.list_screen import ListScreen
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import Location, PolicyLocation
from meshwright.tui.widgets.table_model import LazyRows

QUESTIONS: dict[RolloutAction, str] = {
    "promote": "Go on to the next step of {}?",
    "promote-fully": "Give the canary of {} all requests?",
    "pause": "Pause {}?",
    "resume": "Resume {}?",
    "abort": "Give all requests of {} back to the stable version?",
    "restart": "Begin {} again at its first step?",
}


class RolloutsScreen(ListScreen[RolloutStatus]):
    """The table of rollouts."""

    COLUMNS = table.COLUMNS
    SORT_ORDERS = table.SORT_ORDERS
    EMPTY = "no rollouts: `mesh schema rollout` shows how to move to a new version step by step"
    NO_MATCH = "no rollout matches: Esc shows all"
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"rollouts"})
    WRITE_ACTIONS = frozenset({"steer", "pause_or_resume"})
    SEARCH_HINT: ClassVar[str] = "a name, a backend, a phase"
    HELP: ClassVar[str] = (
        "Every Rollout: the share of its canary, and how canary and stable version do in the guards' window. "
        "It moves on by itself; P, F, Z, A and R steer it, each after a preview. Enter opens its policy."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.PROMOTE, "steer('promote')"),
        bind(keys.PROMOTE_FULLY, "steer('promote-fully')"),
        bind(keys.HOLD, "pause_or_resume"),
        bind(keys.ABORT, "steer('abort')"),
        bind(keys.RESTART, "steer('restart')"),
    ]

    def items(self, state: DashboardState) -> Iterable[RolloutStatus] | None:
        """All rollouts."""
        return state.rollouts

    def search_text(self, item: RolloutStatus) -> str:
        """Name, backends and phase."""
        return f"{item.name} {item.route} {item.canary} {item.stable} {item.phase}".lower()

    def build_rows(self, items: Iterable[RolloutStatus], state: DashboardState) -> LazyRows[RolloutStatus]:  # noqa: ARG002
        """Rows, aborted ones first."""
        return table.build_rows(items, self.session.now())

    def location_of(self, key: str) -> Location:
        """The policy document."""
        return PolicyLocation("Rollout", key)

    def action_steer(self, action: RolloutAction) -> None:
        """Steer the selected rollout, after confirmation."""
        if self.selected_key:
            self._steer(self.selected_key, action)

    def action_pause_or_resume(self) -> None:
        """Pause the selected rollout, or resume it if it is paused."""
        paused = {item.name for item in self.mesh_state.rollouts or () if item.phase == "Paused"}
        self.action_steer("resume" if self.selected_key in paused else "pause")

    @work(exclusive=True, group="change")
    async def _steer(self, name: str, action: RolloutAction) -> None:
        base = await newest_revision(self.session)
        if base is None:
            return
        request = ChangeRequest(
            QUESTIONS[action].format(name),
            action.replace("-", " "),
            lambda client, options: client.steer_rollout(name, action, options),
            base,
            (DocumentRef("Rollout", name),),
            f"rollout {name}: {action}",
        )
        await apply_or_notify(self.session, request)
