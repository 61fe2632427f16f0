"""The policies tab: all policies with their states, the worst first, and the selected one in detail."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from meshwright.tui import keys, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.policies import change_flow
from meshwright.tui.features.policies.detail import DetailView, PolicyDetail
from meshwright.tui.features.policies.edit_flow import edit_policy
from meshwright.tui.features.policies.view_model import (
    POLICY_COLUMNS,
    POLICY_ORDERS,
    PolicyViewModel,
    policy_count,
    policy_row,
    policy_view_models,
)
from meshwright.tui.format import sanitize, truncate
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table

WIDE_WIDTH = 110
"""Columns from which list and details are side by side."""

LOW_HEIGHT = 20
"""Rows below which only the list is shown."""

NONE_YET = "no policies yet: `mesh apply -f policies/` creates the first"
NO_MATCH = "no policy matches: Esc clears the search"


class PolicyActions(MeshScreen):
    """The actions on the policy that a screen shows."""

    STATE_FIELDS = frozenset({"policies", "refusals"})
    WRITE_ACTIONS = frozenset({"edit", "roll_back", "delete"})
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.HISTORY, "view('history')"),
        bind(keys.DIFF, "view('diff')"),
        bind(keys.ROLL_BACK, "roll_back"),
        bind(keys.EDIT, "edit"),
        bind(keys.DELETE, "delete"),
        bind(keys.REVISIONS, "revisions"),
        bind(keys.ROLLOUTS, "rollouts"),
    ]

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._policies: list[PolicyViewModel] = []
        self._policies_source: tuple[object, ...] = ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the actions while no policy is shown."""
        if action in {"view", *self.WRITE_ACTIONS} and not any(
            detail.policy for detail in self.query(PolicyDetail)
        ):
            return False
        return super().check_action(action, parameters)

    def policies(self) -> list[PolicyViewModel]:
        """Every policy, sorted; computed again only for new documents, a new status or new refusals."""
        state = self.mesh_state
        if state.policies is None:
            return []
        source = (state.policies, state.status, state.refusals)
        if [*map(id, source)] != [*map(id, self._policies_source)]:
            self._policies_source = source
            refusals = state.refusals.refusals if state.refusals else ()
            self._policies = policy_view_models(state.policies, state.status, refusals)
        return self._policies

    @property
    def detail(self) -> PolicyDetail:
        """The widget that shows the policy."""
        return self.query_one(PolicyDetail)

    def action_view(self, view: DetailView) -> None:
        """Switch to a view of the policy and focus it; from that view back to the YAML."""
        self.detail.set_view("yaml" if view == self.detail.view else view)
        self.detail.focus_content()

    def action_rollouts(self) -> None:
        """Open the rollouts of the mesh."""
        self.session.go(navigation.RolloutsLocation())

    def action_revisions(self) -> None:
        """Open the history of the whole mesh."""
        status = self.mesh_state.status
        self.session.go(navigation.RevisionLocation(status.revision if status else 0))

    @work(exclusive=True, group="change")
    async def action_edit(self) -> None:
        """Edit the policy."""
        if policy := self.detail.policy:
            await edit_policy(self.session, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_delete(self) -> None:
        """Delete the policy, after confirmation."""
        if policy := self.detail.policy:
            await change_flow.delete(self.session, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_roll_back(self) -> None:
        """Roll the policy or the whole mesh back to an older revision, after confirmation."""
        policy = self.detail.policy
        if policy is None:
            return
        await self.detail.load_history()
        target = self.detail.rollback_target()
        if target is None:
            self.notify(self.detail.no_rollback_reason, markup=False)
            return
        choices = [
            f"only {policy.kind} {policy.name}, to revision {target}",
            f"the whole mesh, to revision {target}",
        ]
        chosen = await self.app.push_screen_wait(ChooseOne("roll back", choices))
        if chosen == 0:
            await change_flow.restore(self.session, policy.kind, policy.name, target)
        elif chosen == 1:
            await change_flow.roll_back(self.session, target)


class PoliciesScreen(PolicyActions, SortableScreen[PolicyViewModel]):
    """The list; Enter opens a policy on a screen of its own."""

    COLUMNS = POLICY_COLUMNS
    SORT_ORDERS = POLICY_ORDERS
    SEARCH_HINT = "kind, name, state, target"
    HELP = (
        "Every policy and its state. programmed n/m: n of the m sidecars that need it have accepted it; "
        "pending; rejected by an Envoy; conflicted: an older policy is in force; target not found; no "
        "effect; unused: no connected sidecar needs it. refu/s: requests that it refuses per second. B rolls "
        "back to the revision selected in the history, or to the one before the last change."
    )
    DEFAULT_CSS = """
    PoliciesScreen #count { height: 1; text-wrap: nowrap; }
    PoliciesScreen #both { height: 1fr; layout: vertical; }
    PoliciesScreen #both > Table { height: 2fr; }
    PoliciesScreen PolicyDetail { height: 3fr; border-top: solid $mesh-line; }
    PoliciesScreen #both.-low PolicyDetail { display: none; }
    PoliciesScreen #both.-beside { layout: horizontal; }
    PoliciesScreen #both.-beside > Table { height: 1fr; width: 1fr; }
    PoliciesScreen #both.-beside PolicyDetail {
        height: 1fr; width: 1fr; border-top: none; border-left: solid $mesh-line;
    }
    """

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        self._query = ""

    def compose_body(self) -> ComposeResult:
        """The count, the list and the details."""
        yield Static(id="count")
        with Container(id="both"):
            yield Table(POLICY_COLUMNS, empty=LOADING, id="policies")
            yield PolicyDetail()

    def on_mount(self) -> None:
        """Focus the list."""
        super().on_mount()
        self.query_one("#policies").focus()

    def on_resize(self, event: events.Resize) -> None:
        """Place the details according to the size."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= WIDE_WIDTH, "-beside")
        both.set_class(event.size.width < WIDE_WIDTH and event.size.height < LOW_HEIGHT, "-low")

    def refresh_data(self, state: DashboardState) -> None:
        """Show the policies that match the search."""
        table = self.query_one("#policies", Table)
        if state.policies is None:
            table.empty = LOADING
            return
        policies = self.policies()
        matching = [policy for policy in policies if policy.matches(self._query)]
        table.empty = NO_MATCH if policies else NONE_YET
        table.set_rows(map(policy_row, self.in_order(matching)), sort_mark=self.sort_mark)
        line = f" {policy_count(policies)}"
        if self._query:
            line += f" · {len(matching)} match “{sanitize(self._query)}”"
        self.query_one("#count", Static).update(paint(truncate(line, self.size.width), "dim"))
        self._show(table.selected_key)

    def draw_list(self) -> None:
        """Show the policies again."""
        self.refresh_data(self.mesh_state)

    def apply_search(self, text: str) -> None:
        """Show only policies that match the text."""
        self._query = text
        self.refresh_data(self.mesh_state)

    def back_one_step(self) -> bool:
        """From the details to the list."""
        table = self.query_one("#policies", Table)
        if table.has_focus:
            return False
        table.focus()
        return True

    def _show(self, key: str) -> None:
        self.detail.show(next((policy for policy in self.policies() if policy.key == key), None))
        self.refresh_bindings()

    @on(Table.RowHighlighted, "#policies")
    def _row_highlighted(self, message: Table.RowHighlighted) -> None:
        message.stop()
        self._show(message.key)

    @on(Table.RowSelected, "#policies")
    def _row_selected(self, message: Table.RowSelected) -> None:
        message.stop()
        kind, _, name = message.key.partition("/")
        self.session.go(navigation.PolicyLocation(kind, name))
