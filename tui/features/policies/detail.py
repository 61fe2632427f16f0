"""One policy: its conditions, and below them its YAML, its history, or what changed since a revision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.base import DocumentChange, RevisionInfo
from meshwright.control_plane.api.yaml import diff as diff_module
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.tui import format
from meshwright.tui.features.policies import view_model
from meshwright.tui.features.policies.view_model import PolicyViewModel
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets import diff_highlight, yaml_highlight
from meshwright.tui.widgets.table import Table

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp

DetailView = Literal["yaml", "history", "diff"]
DETAIL_VIEWS: dict[DetailView, str] = {"yaml": "y YAML", "history": "h history", "diff": "v changes"}

REVISION_LIMIT = 1000
"""Revisions that are looked through for those that changed a policy."""


class PolicyDetail(Vertical):
    """Shows the policy it is given; reads revisions only when they are looked at."""

    DEFAULT_CSS = """
    PolicyPane { height: 1fr; width: 1fr; }
    PolicyPane #title, PolicyPane #views { height: 1; text-wrap: nowrap; }
    PolicyPane #conditions { height: auto; max-height: 5; padding: 0 1; }
    PolicyPane #text { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    PolicyPane #text:focus { background: $panel; }
    PolicyPane #text Static { height: auto; }
    PolicyPane Table { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._policy: PolicyViewModel | None = None
        self._view: DetailView = "yaml"
        self._history: list[tuple[RevisionInfo, DocumentChange]] | None = None
        self._history_key = ("", -1)
        self._selected_revision = 0

    def compose(self) -> ComposeResult:
        """Name, conditions, views, and one of them."""
        yield Static(id="title")
        yield Static(id="conditions")
        yield Static(id="views")
        with VerticalScroll(id="text"):
            yield Static(id="shown")
        yield Table(view_model.HISTORY_COLUMNS, empty="no revision is kept that changed it", id="history")

    def on_mount(self) -> None:
        """YAML first."""
        self.set_view("yaml")

    @property
    def policy(self) -> PolicyViewModel | None:
        """What is shown."""
        return self._policy

    def show(self, policy: PolicyViewModel | None) -> None:
        """Another policy, or the same one as it is now."""
        before, self._policy = self._policy, policy
        if before and policy and before.key == policy.key and before == policy:
            return
        if policy is None or before is None or before.key != policy.key:
            self._selected_revision = 0
            self.query_one("#text").scroll_home(animate=False)
        self._draw()

    def set_view(self, view: DetailView) -> None:
        """YAML, history, or what changed."""
        self._view = view
        self.query_one("#text").display = view != "history"
        self.query_one(Table).display = view == "history"
        self._draw()

    def focus_content(self) -> None:
        """Take the keys."""
        self.query_one(Table if self._view == "history" else "#text").focus()

    # --- what it was -----------------------------------------------------------------------------

    def rollback_target(self) -> int | None:
        """The revision that a roll back leads to: the chosen one, or the one before the last change."""
        if not self._history:
            return None
        last = self._history[0][0].revision
        return (
            self._selected_revision
            if self._selected_revision and self._selected_revision != last
            else last - 1
        )

    async def load_history(self) -> None:
        """See that the history of what is shown is known."""
        policy, dash = self._policy, cast("DashboardApp", self.app)
        if policy is None:
            return
        status = dash.mesh_state.status
        key = (policy.key, status.revision if status else -1)
        if self._history is not None and self._history_key == key:
            return
        revisions = await dash.call(lambda client: client.history(REVISION_LIMIT))
        if revisions is not None and self._policy is policy:
            self._history, self._history_key = (
                view_model.revisions_of(revisions, policy.kind, policy.name),
                key,
            )

    @on(Table.RowHighlighted)
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._selected_revision = int(message.key or 0)

    @on(Table.RowSelected)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self._selected_revision = int(message.key)
        self.set_view("diff")
        self.focus_content()

    # --- drawing ---------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        policy = self._policy
        title = Content(" no policy")
        if policy:
            title = Content.assemble(
                " ", paint(f"{format.sanitize(policy.kind)} {format.sanitize(policy.name)}", "strong")
            )
        self.query_one("#title", Static).update(title)
        lines = [status_text(one) for one in policy.conditions] if policy else []
        self.query_one("#conditions", Static).update(Content("\n").join(lines))
        self.query_one("#views", Static).update(view_tabs(self._view))
        if policy is None:
            self._set_text(Content(""))
        elif self._view == "yaml":
            self._set_text(yaml_highlight.highlight_yaml(dump_yaml([dict(policy.document)])))
        else:
            self._draw_history()

    def _set_text(self, text: Content) -> None:
        self.query_one("#shown", Static).update(text)

    @work(exclusive=True)
    async def _draw_history(self) -> None:
        """Draw what needs revisions."""
        await self.load_history()
        policy, found = self._policy, self._history
        if policy is None or found is None or not self.is_mounted:
            return
        dash = cast("DashboardApp", self.app)
        if self._view == "history":
            table = self.query_one(Table)
            table.set_rows(view_model.history_row(one, change, dash.now()) for one, change in found)
            self._selected_revision = int(table.selected_key or 0)
        elif self._view == "diff":
            await self._compare(policy, found)

    async def _compare(
        self, policy: PolicyViewModel, found: list[tuple[RevisionInfo, DocumentChange]]
    ) -> None:
        dash = cast("DashboardApp", self.app)
        if not found:
            self._set_text(paint("no revision is kept that changed it", "dim"))
            return
        last = found[0][0].revision
        chosen = self._selected_revision or last
        older = chosen - 1 if chosen == last else chosen
        reply = await dash.call(lambda client: client.revision(older))
        if reply is None or self._policy is not policy:
            return
        before = view_model.find_document(reply.documents, policy.kind, policy.name)
        text = diff_module.unified_diff(before, [policy.document])
        self._set_text(Content("\n").join(comparison_lines(found, chosen, text, dash.now())))


def view_tabs(current: DetailView) -> Content:
    """Which view is on, and the keys of the others."""
    parts = [
        paint(f"[{title}]" if view == current else f" {title} ", "accent" if view == current else "dim")
        for view, title in DETAIL_VIEWS.items()
    ]
    return Content(" ") + Content("").join(parts)


def comparison_lines(
    found: list[tuple[RevisionInfo, DocumentChange]], chosen: int, text: str, now: float
) -> Iterator[Content]:
    """What a comparison is of, and the difference."""
    last = found[0][0].revision
    about = next((one for one, _ in found if one.revision == chosen), found[0][0])
    if chosen == last:
        yield paint(f"its last change: {view_model.revision_summary(about, now)}", "dim")
    else:
        yield paint(f"from {view_model.revision_summary(about, now)}", "dim")
        yield paint("to how it is now", "dim")
    come, go = diff_highlight.count_changes(text)
    if not text:
        yield paint("no difference", "dim")
    else:
        yield paint(f"+{come} −{go} lines", "dim")
        yield diff_highlight.highlight_diff(text)
