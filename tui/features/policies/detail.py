"""One policy: its conditions, and below them its YAML, its history, or the changes since a revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.yaml.diff import unified_diff
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.tui.features.policies.revision_rows import HISTORY_COLUMNS, history_row, revisions_of
from meshwright.tui.features.policies.view_model import PolicyViewModel, find_document
from meshwright.tui.format import sanitize
from meshwright.tui.revision_text import revision_summary
from meshwright.tui.session import Session, session_of
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets.diff_highlight import diff_lines
from meshwright.tui.widgets.sortable_table import SortableTable
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.yaml_highlight import highlight_yaml

DetailView = Literal["yaml", "history", "diff"]
DETAIL_VIEWS: dict[DetailView, str] = {"yaml": "YAML", "history": "h history", "diff": "d diff"}

History = list[tuple[RevisionInfo, DocumentChange]]
"""Revisions that changed the policy, newest first, with the change."""

REVISION_LIMIT = 1000
"""Revisions that are searched for those that changed a policy."""

NO_HISTORY = "no stored revision changed this policy"


class PolicyDetail(Vertical):
    """Shows one policy. Revisions are fetched when history or changes are first shown."""

    DEFAULT_CSS = """
    PolicyDetail { height: 1fr; width: 1fr; }
    PolicyDetail #title, PolicyDetail #views { height: 1; text-wrap: nowrap; }
    PolicyDetail #conditions { height: auto; max-height: 8; padding: 0 1; }
    PolicyDetail #text { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    PolicyDetail #text:focus { background: $panel; }
    PolicyDetail #text Static { height: auto; }
    PolicyDetail Table { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._policy: PolicyViewModel | None = None
        self._view: DetailView = "yaml"
        self._history: History | None = None
        self._history_key = ("", -1)
        self._selected_revision = 0

    def compose(self) -> ComposeResult:
        """Name, conditions, tabs of the views, and one view."""
        yield Static(id="title")
        yield Static(id="conditions")
        yield Static(id="views")
        with VerticalScroll(id="text"):
            yield Static(id="content")
        yield SortableTable(HISTORY_COLUMNS, empty=NO_HISTORY, id="history")

    def on_mount(self) -> None:
        """Start with the YAML."""
        self.set_view("yaml")

    @property
    def _session(self) -> Session:
        return session_of(self)

    @property
    def policy(self) -> PolicyViewModel | None:
        """The policy that is shown."""
        return self._policy

    def show(self, policy: PolicyViewModel | None) -> None:
        """Show another policy, or a newer state of the same one."""
        previous, self._policy = self._policy, policy
        if previous and policy and previous == policy:
            return
        if policy is None or previous is None or previous.key != policy.key:
            self._selected_revision = 0
            self.query_one("#text").scroll_home(animate=False)
        elif previous.document == policy.document and self._view == "yaml":
            self._draw_conditions()
            return
        self._draw()

    @property
    def view(self) -> DetailView:
        """What is shown of it."""
        return self._view

    def set_view(self, view: DetailView) -> None:
        """Switch between YAML, history and changes."""
        self._view = view
        self.query_one("#text").display = view != "history"
        self.query_one(Table).display = view == "history"
        self._draw()

    def focus_content(self) -> None:
        """Focus the current view."""
        self.query_one(Table if self._view == "history" else "#text").focus()

    # --- history ---------------------------------------------------------------------------------

    def rollback_target(self) -> int | None:
        """The revision to roll back to: the selected one, or the one before the last change, if any."""
        if not self._history:
            return None
        last = self._history[0][0].revision
        selected = self._selected_revision
        if selected and selected != last:
            return selected
        is_first = len(self._history) == 1 and self._history[0][1].action == "created"
        return None if is_first else last - 1

    @property
    def no_rollback_reason(self) -> str:
        """Why there is no revision to roll back to."""
        if self._policy is None or not self._history:
            return NO_HISTORY
        return f"{self._policy.name} has no earlier revision (D deletes it)"

    async def load_history(self) -> None:
        """Fetch the history of the policy, unless it is up to date."""
        policy, session = self._policy, self._session
        if policy is None:
            return
        status = session.mesh_state.status
        key = (policy.key, status.revision if status else -1)
        if self._history is not None and self._history_key == key:
            return
        revisions = await session.call(lambda client: client.history(REVISION_LIMIT))
        # A poll may have replaced what is known of the same policy meanwhile.
        if revisions is not None and self._policy is not None and self._policy.key == policy.key:
            self._history = revisions_of(revisions, policy.kind, policy.name)
            self._history_key = key

    @on(Table.RowHighlighted)
    def _row_highlighted(self, message: Table.RowHighlighted) -> None:
        message.stop()
        self._selected_revision = int(message.key or 0)

    @on(Table.RowSelected)
    def _row_selected(self, message: Table.RowSelected) -> None:
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
            title = Content.assemble(" ", paint(f"{sanitize(policy.kind)} {sanitize(policy.name)}", "strong"))
        self.query_one("#title", Static).update(title)
        self._draw_conditions()
        self.query_one("#views", Static).update(view_tabs(self._view))
        if policy is None:
            self._set_text(Content(""))
        elif self._view == "yaml":
            self._set_text(highlight_yaml(dump_yaml([dict(policy.document)])))
        else:
            self._draw_history()

    def _draw_conditions(self) -> None:
        lines = [status_text(condition) for condition in self._policy.conditions] if self._policy else []
        self.query_one("#conditions", Static).update(Content("\n").join(lines))

    def _set_text(self, text: Content) -> None:
        self.query_one("#content", Static).update(text)

    @work(exclusive=True)
    async def _draw_history(self) -> None:
        """Draw history or changes, which need revisions."""
        await self.load_history()
        policy, history = self._policy, self._history
        if policy is None or history is None or not self.is_mounted:
            return
        if self._view == "history":
            table, now = self.query_one(Table), self._session.now()
            table.set_rows(history_row(revision, change, now) for revision, change in history)
            self._selected_revision = int(table.selected_key or 0)
        elif self._view == "diff":
            await self._draw_changes(policy, history)

    async def _draw_changes(self, policy: PolicyViewModel, history: History) -> None:
        session = self._session
        if not history:
            self._set_text(paint(NO_HISTORY, "dim"))
            return
        last = history[0][0].revision
        selected = self._selected_revision or last
        base = selected - 1 if selected == last else selected
        before: list[Mapping[str, Any]] = []  # the mesh had no policies before revision 1
        if base >= 1:
            response = await session.call(lambda client: client.revision(base))
            if response is None or self._policy is not policy:
                return
            before = find_document(response.documents, policy.kind, policy.name)
        diff = unified_diff(before, [policy.document])
        self._set_text(Content("\n").join(comparison_lines(history, selected, diff, session.now())))


def view_tabs(current: DetailView) -> Content:
    """The views with their keys, the current one in brackets."""
    parts = [
        paint(f"[{title}]" if view == current else f" {title} ", "accent" if view == current else "dim")
        for view, title in DETAIL_VIEWS.items()
    ]
    return Content(" ") + Content("").join(parts)


def comparison_lines(history: History, selected: int, diff: str, now: float) -> Iterator[Content]:
    """Which revisions are compared, and the difference."""
    last = history[0][0]
    revision = next((info for info, _ in history if info.revision == selected), last)
    if selected == last.revision:
        yield paint(f"last change: {revision_summary(revision, now)}", "dim")
    else:
        yield paint(f"from {revision_summary(revision, now)}", "dim")
        yield paint("to the current revision", "dim")
    yield from diff_lines(diff)
