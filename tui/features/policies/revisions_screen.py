"""Every revision of the mesh's policies: author, time, message, changes; and rollback to one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.push import PushReport
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.yaml.diff import unified_diff
from meshwright.tui import keys, navigation
from meshwright.tui.features.policies import push
from meshwright.tui.features.policies.change_flow import roll_back
from meshwright.tui.features.policies.detail import REVISION_LIMIT
from meshwright.tui.features.policies.revision_rows import (
    REVISION_COLUMNS,
    REVISION_ORDERS,
    revision_row,
)
from meshwright.tui.features.policies.screen import LOW_HEIGHT, WIDE_WIDTH
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.revision_text import revision_summary
from meshwright.tui.search import parse_search
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.diff_highlight import diff_lines
from meshwright.tui.widgets.stable_static import StableStatic
from meshwright.tui.widgets.table import Table

PUSH_ACTIONS = frozenset({"pause_or_resume", "abort"})
"""Actions on a push in waves."""


class RevisionsScreen(SortableScreen[RevisionInfo]):
    """The list, newest first, and the changes of the selected revision."""

    STATE_FIELDS = frozenset({"revisions", "status"})
    WRITE_ACTIONS = frozenset({"roll_back", "pause_or_resume", "abort"})
    COLUMNS = REVISION_COLUMNS
    SORT_ORDERS = REVISION_ORDERS
    SEARCH_HINT = "number, author, message, policy"
    HELP = (
        "Every revision of the policies, and the changes of the selected one (d: all changes since then). B "
        "rolls back to it, which creates a new revision: the history is never lost. During a push in "
        "waves, Z pauses or resumes that, and A withdraws the revision."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.DIFF, "since"),
        bind(keys.ROLL_BACK, "roll_back"),
        bind(keys.HOLD, "pause_or_resume"),
        bind(keys.ABORT, "abort"),
    ]
    DEFAULT_CSS = """
    RevisionsScreen #push { display: none; padding: 0 1; }
    RevisionsScreen #push.-shown { display: block; }
    RevisionsScreen #both { height: 1fr; layout: vertical; }
    RevisionsScreen #both > Table { height: 2fr; }
    RevisionsScreen #changes {
        height: 3fr; padding: 0 1; border-top: solid $mesh-line; scrollbar-size-vertical: 1;
    }
    RevisionsScreen #changes Static { height: auto; }
    RevisionsScreen #both.-low #changes { display: none; }
    RevisionsScreen #both.-beside { layout: horizontal; }
    RevisionsScreen #both.-beside > Table { height: 1fr; width: 1fr; }
    RevisionsScreen #both.-beside #changes {
        height: 1fr; width: 1fr; border-top: none; border-left: solid $mesh-line;
    }
    """

    def __init__(self, location: navigation.RevisionLocation) -> None:
        super().__init__(location)
        self._initial_key = str(location.number)
        self._revisions: tuple[RevisionInfo, ...] = ()
        self._query = ""
        self._since = False
        self._newest = -1
        self._push: PushReport | None = None

    def compose_body(self) -> ComposeResult:
        """The list and the changes."""
        yield StableStatic(id="push")
        with Container(id="both"):
            yield Table(REVISION_COLUMNS, empty="no revisions yet: `mesh apply` creates the first")
            with VerticalScroll(id="changes"):
                yield Static()

    def on_mount(self) -> None:
        """Focus the list."""
        super().on_mount()
        self.query_one(Table).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Place the changes according to the size."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= WIDE_WIDTH, "-beside")
        both.set_class(event.size.width < WIDE_WIDTH and event.size.height < LOW_HEIGHT, "-low")

    def refresh_data(self, state: DashboardState) -> None:
        """Fetch the whole history when there is a newer revision, or the push of the newest has ended."""
        was_under_way = push.is_under_way(self._push)
        self._push = state.status.push if state.status else None
        self._draw_push()
        if was_under_way != push.is_under_way(self._push):
            self.refresh_bindings()
        if state.revisions is None:
            return
        newest = state.revisions[0].revision if state.revisions else 0
        if newest != self._newest or was_under_way != push.is_under_way(self._push):
            self._newest = newest
            self._load()
        else:
            self.draw_list()

    @work(exclusive=True, group="history")
    async def _load(self) -> None:
        revisions = await self.session.call(lambda client: client.history(REVISION_LIMIT))
        if revisions is not None:
            self._revisions = revisions
            self.draw_list()
            if self._initial_key and self.query_one(Table).select_key(self._initial_key):
                self._initial_key = ""
            self._draw_changes()

    def _draw_push(self) -> None:
        text = self.query_one("#push", StableStatic)
        shown = self._push is not None and push.is_under_way(self._push)
        text.set_class(shown, "-shown")
        if self._push and shown:
            lines = list(push.push_lines(self._push, self.session.now()))
            text.styles.height = len(lines)
            text.set_text(Content("\n").join(lines))

    def draw_list(self) -> None:
        """Show the revisions that match the search."""
        now = self.session.now()
        query = parse_search(self._query)
        rows = [revision_row(revision, now) for revision in self.in_order(self._revisions)]
        self.query_one(Table).set_rows(
            (row for row in rows if query.matches(" ".join(cell.text for cell in row.cells))),
            sort_mark=self.sort_mark,
        )

    def apply_search(self, text: str) -> None:
        """Show only revisions that contain the text."""
        self._query = text
        self.draw_list()

    def back_one_step(self) -> bool:
        """From the changes since a revision to those of the revision."""
        active, self._since = self._since, False
        if active:
            self._draw_changes()
        return active

    @property
    def selected_revision(self) -> int:
        """The revision under the cursor; 0: none."""
        return int(self.query_one(Table).selected_key or 0)

    @on(Table.RowHighlighted)
    def _row_highlighted(self, message: Table.RowHighlighted) -> None:
        message.stop()
        self._draw_changes()

    @on(Table.RowSelected)
    def _row_selected(self, message: Table.RowSelected) -> None:
        message.stop()
        self.query_one("#both").remove_class("-low")
        self.query_one("#changes").focus()

    @work(exclusive=True, group="changes")
    async def _draw_changes(self) -> None:
        """Show the changes of the selected revision, or those since it."""
        number, since = self.selected_revision, self._since
        info = next((info for info in self._revisions if info.revision == number), None)
        if info is None:
            self.query_one("#changes Static", Static).update("")
            return
        other_number = self._newest if since else number - 1
        selected = await self._documents(number)
        other = await self._documents(other_number)
        if selected is None or other is None or number != self.selected_revision:
            return
        before, after = (selected, other) if since else (other, selected)
        diff = unified_diff(before, after)
        withdrawn = [paint(f"withdrawn: {sanitize(info.withdrawn)}", "bad")] if info.withdrawn else []
        title = f"{'changes since ' if since else ''}{revision_summary(info, self.session.now())}"
        lines = [paint(title, "dim"), *withdrawn, Content(""), *diff_lines(diff)]
        self.query_one("#changes Static", Static).update(Content("\n").join(lines))
        self.query_one("#changes").scroll_home(animate=False)

    async def _documents(self, number: int) -> Sequence[Mapping[str, Any]] | None:
        """The documents of a revision; none before the first one. None: it could not be fetched."""
        if number < 1:
            return ()
        revision = await self.session.call(lambda client: client.revision(number))
        return revision.documents if revision else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to hold or abort only while a push is under way."""
        if action in PUSH_ACTIONS and not push.is_under_way(self._push):
            return False
        return super().check_action(action, parameters)

    def action_since(self) -> None:
        """Toggle between the changes of the revision and those since it."""
        self._since = not self._since
        self._draw_changes()

    @work(exclusive=True, group="change")
    async def action_pause_or_resume(self) -> None:
        """Pause the push that is under way, or resume it."""
        if self._push and push.is_under_way(self._push):
            await push.pause_or_resume(self.session, self._push)

    @work(exclusive=True, group="change")
    async def action_abort(self) -> None:
        """Withdraw the revision that is on trial, after confirmation."""
        if self._push and push.is_under_way(self._push):
            await push.abort(self.session, self._push)

    @work(exclusive=True, group="change")
    async def action_roll_back(self) -> None:
        """Roll the whole mesh back to the selected revision, after confirmation."""
        if self.selected_revision:
            await roll_back(self.session, self.selected_revision)
