"""All policies with how they stand, what is bad first; beside them the one under the cursor in full."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from control_plane.api.messages import Documents
from control_plane.api.types import Status
from tui import changes, editing, places, policy_words, words
from tui.picture import Picture
from tui.policy_words import Policy
from tui.screens.base import MeshScreen
from tui.sheets.choose import Choose
from tui.theme import paint
from tui.widgets.policy_pane import PolicyPane
from tui.widgets.table import Table

BESIDE = 110
"""Columns from which on list and policy stand side by side."""

LOW = 20
"""Lines below which there is room for the list alone."""

NONE_YET = "no policies yet: `mesh apply -f policies/` makes the first"
NONE_SUCH = "no policy is like that: Esc clears the search"


class PolicyActions(MeshScreen):
    """What may be done to the policy that a screen shows."""

    NEEDS = frozenset({"policies"})
    CHANGES = frozenset({"edit", "roll_back", "delete"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "view('yaml')", "YAML", show=False),
        Binding("h", "view('history')", "history"),
        Binding("v", "view('diff')", "changes"),
        Binding("b", "roll_back", "roll back"),
        Binding("e", "edit", "edit"),
        Binding("d", "delete", "delete"),
        Binding("H", "revisions", "revisions"),
    ]

    def __init__(self, place: places.Place) -> None:
        super().__init__(place)
        self._found: list[Policy] = []
        self._of: tuple[Documents | None, Status | None] = (None, None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only where there is a policy."""
        if action in {"view", *self.CHANGES} and not any(pane.policy for pane in self.query(PolicyPane)):
            return False
        return super().check_action(action, parameters)

    def found(self) -> list[Policy]:
        """Every policy as it stands; made anew only when policies or their status came anew."""
        picture = self.picture
        if picture.policies is None:
            return []
        if self._of[0] is not picture.policies or self._of[1] is not picture.status:
            self._of = (picture.policies, picture.status)
            self._found = policy_words.policies(picture.policies, picture.status)
        return self._found

    @property
    def pane(self) -> PolicyPane:
        """Where the policy is shown."""
        return self.query_one(PolicyPane)

    def action_view(self, view: str) -> None:
        """Another view of the policy, which takes the keys."""
        self.pane.view("history" if view == "history" else "diff" if view == "diff" else "yaml")
        self.pane.enter()

    def action_revisions(self) -> None:
        """The history of the whole mesh."""
        self.dash.go(places.Revision(self.picture.status.revision if self.picture.status else 0))

    @work(exclusive=True, group="change")
    async def action_edit(self) -> None:
        """Edit the policy."""
        if policy := self.pane.policy:
            await editing.edit(self.dash, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_delete(self) -> None:
        """Delete the policy, after a question."""
        if policy := self.pane.policy:
            await changes.delete(self.dash, policy.kind, policy.name)

    @work(exclusive=True, group="change")
    async def action_roll_back(self) -> None:
        """The policy, or the whole mesh, back to an older revision, after a question."""
        policy = self.pane.policy
        if policy is None:
            return
        await self.pane.find_history()
        target = self.pane.target()
        if target is None:
            self.notify("no revision is kept that changed it", markup=False)
            return
        which = [
            f"only {policy.kind} {policy.name}, as at revision {target}",
            f"the whole mesh to revision {target}",
        ]
        chosen = await self.app.push_screen_wait(Choose("roll back", which))
        if chosen == 0:
            await changes.restore(self.dash, policy.kind, policy.name, target)
        elif chosen == 1:
            await changes.roll_back(self.dash, target)


class PoliciesScreen(PolicyActions):
    """The list; Enter shows a policy alone."""

    SEARCH = "kind, name, state or target"
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

    def __init__(self, place: places.Place) -> None:
        super().__init__(place)
        self._text = ""

    def body(self) -> ComposeResult:
        """How many, the list, the policy."""
        yield Static(id="counted")
        with Container(id="both"):
            yield Table(policy_words.COLUMNS, empty="looking", id="policies")
            yield PolicyPane()

    def on_mount(self) -> None:
        """The list has the keys."""
        super().on_mount()
        self.query_one("#policies").focus()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= BESIDE, "-beside")
        both.set_class(event.size.width < BESIDE and event.size.height < LOW, "-low")

    def show_picture(self, picture: Picture) -> None:
        """Draw the list anew."""
        table = self.query_one("#policies", Table)
        if picture.policies is None:
            table.empty = "looking"
            return
        found = self.found()
        shown = [one for one in found if one.holds(self._text)]
        table.empty = NONE_SUCH if found else NONE_YET
        table.show(policy_words.row(one) for one in shown)
        line = f" {policy_words.counted(found)}"
        if self._text:
            line += f" · {len(shown)} like “{words.clean(self._text)}”"
        self.query_one("#counted", Static).update(paint(words.fit(line, self.size.width), "dim"))
        self._show(table.chosen)

    def find(self, text: str) -> None:
        """Only those that hold the text."""
        self._text = text
        self.show_picture(self.picture)

    def undo(self) -> bool:
        """Esc: from the policy to the list."""
        table = self.query_one("#policies", Table)
        if table.has_focus:
            return False
        table.focus()
        return True

    def _show(self, key: str) -> None:
        self.pane.show(next((one for one in self.found() if one.key == key), None))
        self.refresh_bindings()

    @on(Table.Moved, "#policies")
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._show(message.key)

    @on(Table.Chosen, "#policies")
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        kind, _, name = message.key.partition("/")
        self.dash.go(places.Policy(kind, name))
