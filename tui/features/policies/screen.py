"""All policies with how they stand, what is bad first; beside them the one under the cursor in full."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from meshwright.control_plane.api.models.base import Status
from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.tui import format, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.policies import change_flow, edit_flow, view_model
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.policies.view_model import PolicyViewModel
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table

WIDE_WIDTH = 110
"""Columns from which on list and policy stand side by side."""

LOW_HEIGHT = 20
"""Lines below which there is room for the list alone."""

NONE_YET = "no policies yet: `mesh apply -f policies/` makes the first"
NO_MATCH = "no policy is like that: Esc clears the search"


class PolicyActions(MeshScreen):
    """What may be done to the policy that a screen shows."""

    STATE_FIELDS = frozenset({"policies"})
    WRITE_ACTIONS = frozenset({"edit", "roll_back", "delete"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "view('yaml')", "YAML", show=False),
        Binding("h", "view('history')", "history"),
        Binding("v", "view('diff')", "changes"),
        Binding("b", "roll_back", "roll back"),
        Binding("e", "edit", "edit"),
        Binding("d", "delete", "delete"),
        Binding("H", "revisions", "revisions"),
    ]

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._policies: list[PolicyViewModel] = []
        self._policies_source: tuple[DocumentList | None, Status | None] = (None, None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only where there is a policy."""
        if action in {"view", *self.WRITE_ACTIONS} and not any(
            pane.policy for pane in self.query(PolicyDetail)
        ):
            return False
        return super().check_action(action, parameters)

    def policies(self) -> list[PolicyViewModel]:
        """Every policy as it stands; made anew only when policies or their status came anew."""
        picture = self.mesh_state
        if picture.policies is None:
            return []
        if self._policies_source[0] is not picture.policies or self._policies_source[1] is not picture.status:
            self._policies_source = (picture.policies, picture.status)
            self._policies = view_model.policy_view_models(picture.policies, picture.status)
        return self._policies

    @property
    def detail(self) -> PolicyDetail:
        """Where the policy is shown."""
        return self.query_one(PolicyDetail)

    def action_view(self, view: str) -> None:
        """Another view of the policy, which takes the keys."""
        self.detail.set_view("history" if view == "history" else "diff" if view == "diff" else "yaml")
        self.detail.focus_content()

    def action_revisions(self) -> None:
        """The history of the whole mesh."""
        self.session.go(
            navigation.RevisionLocation(self.mesh_state.status.revision if self.mesh_state.status else 0)
        )

    @work(exclusive=True, group="change")
    async def action_edit(self) -> None:
        """Edit the policy."""
        if policy := self.detail.policy:
            await edit_flow.edit_policy(self.session, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_delete(self) -> None:
        """Delete the policy, after a question."""
        if policy := self.detail.policy:
            await change_flow.delete(self.session, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_roll_back(self) -> None:
        """The policy, or the whole mesh, back to an older revision, after a question."""
        policy = self.detail.policy
        if policy is None:
            return
        await self.detail.load_history()
        target = self.detail.rollback_target()
        if target is None:
            self.notify("no revision is kept that changed it", markup=False)
            return
        which = [
            f"only {policy.kind} {policy.name}, as at revision {target}",
            f"the whole mesh to revision {target}",
        ]
        chosen = await self.app.push_screen_wait(ChooseOne("roll back", which))
        if chosen == 0:
            await change_flow.restore(self.session, policy.kind, policy.name, target)
        elif chosen == 1:
            await change_flow.roll_back(self.session, target)


class PoliciesScreen(PolicyActions):
    """The list; Enter shows a policy alone."""

    SEARCH_HINT = "kind, name, state or target"
    HELP = (
        "Every policy and how it stands: programmed n/m: n of the m sidecars that have something of it took "
        "it; pending; rejected by an Envoy; conflicted: an older one is in force; no target; not needed yet. "
        "b rolls back to the revision chosen in its history, or before its last change."
    )
    DEFAULT_CSS = """
    PoliciesScreen #counted { height: 1; text-wrap: nowrap; }
    PoliciesScreen #both { height: 1fr; layout: vertical; }
    PoliciesScreen #both > Table { height: 2fr; }
    PoliciesScreen PolicyPane { height: 3fr; border-top: solid $mesh-line; }
    PoliciesScreen #both.-low PolicyPane { display: none; }
    PoliciesScreen #both.-beside { layout: horizontal; }
    PoliciesScreen #both.-beside > Table { height: 1fr; width: 1fr; }
    PoliciesScreen #both.-beside PolicyPane {
        height: 1fr; width: 1fr; border-top: none; border-left: solid $mesh-line;
    }
    """

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._text = ""

    def compose_body(self) -> ComposeResult:
        """How many, the list, the policy."""
        yield Static(id="counted")
        with Container(id="both"):
            yield Table(view_model.POLICY_COLUMNS, empty="looking", id="policies")
            yield PolicyDetail()

    def on_mount(self) -> None:
        """The list has the keys."""
        super().on_mount()
        self.query_one("#policies").focus()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= WIDE_WIDTH, "-beside")
        both.set_class(event.size.width < WIDE_WIDTH and event.size.height < LOW_HEIGHT, "-low")

    def refresh_data(self, picture: DashboardState) -> None:
        """Draw the list anew."""
        table = self.query_one("#policies", Table)
        if picture.policies is None:
            table.empty = "looking"
            return
        found = self.policies()
        shown = [one for one in found if one.matches(self._text)]
        table.empty = NO_MATCH if found else NONE_YET
        table.set_rows(view_model.policy_row(one) for one in shown)
        line = f" {view_model.policy_count(found)}"
        if self._text:
            line += f" · {len(shown)} like “{format.sanitize(self._text)}”"
        self.query_one("#counted", Static).update(paint(format.truncate(line, self.size.width), "dim"))
        self._show(table.selected_key)

    def apply_search(self, text: str) -> None:
        """Only those that hold the text."""
        self._text = text
        self.refresh_data(self.mesh_state)

    def back_one_step(self) -> bool:
        """Esc: from the policy to the list."""
        table = self.query_one("#policies", Table)
        if table.has_focus:
            return False
        table.focus()
        return True

    def _show(self, key: str) -> None:
        self.detail.show(next((one for one in self.policies() if one.key == key), None))
        self.refresh_bindings()

    @on(Table.RowHighlighted, "#policies")
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._show(message.key)

    @on(Table.RowSelected, "#policies")
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        kind, _, name = message.key.partition("/")
        self.session.go(navigation.PolicyLocation(kind, name))
