"""Every revision of the mesh's policies: who, when, why, what it changed, and the way back to it."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.yaml import diff as diff_module
from meshwright.tui import navigation
from meshwright.tui.features.policies import change_flow, view_model
from meshwright.tui.features.policies.detail import REVISION_LIMIT
from meshwright.tui.features.policies.screen import LOW_HEIGHT, WIDE_WIDTH
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets import diff_highlight
from meshwright.tui.widgets.table import Table


class RevisionsScreen(MeshScreen):
    """The list, newest first, and the difference that the one under the cursor made."""

    STATE_FIELDS = frozenset({"revisions"})
    WRITE_ACTIONS = frozenset({"roll_back"})
    SEARCH_HINT = "number, author, reason, or a policy's name"
    HELP = (
        "Every change of the policies. Below the list: what a revision changed (v: what changed since it). "
        "b makes its policies the newest, as a new revision; nothing of the history is lost."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "since", "since then"),
        Binding("b", "roll_back", "roll back"),
    ]
    DEFAULT_CSS = """
    RevisionsScreen #both { height: 1fr; layout: vertical; }
    RevisionsScreen #both > Table { height: 2fr; }
    RevisionsScreen #changed {
        height: 3fr; padding: 0 1; border-top: solid $mesh-line; scrollbar-size-vertical: 1;
    }
    RevisionsScreen #changed Static { height: auto; }
    RevisionsScreen #both.-low #changed { display: none; }
    RevisionsScreen #both.-beside { layout: horizontal; }
    RevisionsScreen #both.-beside > Table { height: 1fr; width: 1fr; }
    RevisionsScreen #both.-beside #changed {
        height: 1fr; width: 1fr; border-top: none; border-left: solid $mesh-line;
    }
    """

    def __init__(self, location: navigation.RevisionLocation) -> None:
        super().__init__(location)
        self._initial_key = str(location.number)
        self._revisions: tuple[RevisionInfo, ...] = ()
        self._text = ""
        self._since = False
        self._newest = -1

    def compose_body(self) -> ComposeResult:
        """The list, and what the chosen one changed."""
        with Container(id="both"):
            yield Table(view_model.REVISION_COLUMNS, empty="no revisions yet: `mesh apply` makes the first")
            with VerticalScroll(id="changed"):
                yield Static()

    def on_mount(self) -> None:
        """The list has the keys."""
        super().on_mount()
        self.query_one(Table).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= WIDE_WIDTH, "-beside")
        both.set_class(event.size.width < WIDE_WIDTH and event.size.height < LOW_HEIGHT, "-low")

    def refresh_data(self, picture: DashboardState) -> None:
        """Ask for the whole history when there is a newer revision."""
        if picture.revisions is None:
            return
        newest = picture.revisions[0].revision if picture.revisions else 0
        if newest != self._newest:
            self._newest = newest
            self._load()
        else:
            self._list()

    @work(exclusive=True, group="history")
    async def _load(self) -> None:
        found = await self.session.call(lambda client: client.history(REVISION_LIMIT))
        if found is not None:
            self._revisions = found
            self._list()
            if self._initial_key and self.query_one(Table).select_key(self._initial_key):
                self._initial_key = ""
            self._compare()

    def _list(self) -> None:
        now = self.session.now()
        text = self._text.lower().split()
        rows = [view_model.revision_row(one, now) for one in self._revisions]
        shown = [
            row for row in rows if all(any(word in cell.text.lower() for cell in row.cells) for word in text)
        ]
        self.query_one(Table).set_rows(shown)

    def apply_search(self, text: str) -> None:
        """Only those that hold the text."""
        self._text = text
        self._list()

    def back_one_step(self) -> bool:
        """Esc: back from what changed since then."""
        was, self._since = self._since, False
        if was:
            self._compare()
        return was

    @property
    def selected_revision(self) -> int:
        """The revision under the cursor; 0: none."""
        return int(self.query_one(Table).selected_key or 0)

    @on(Table.RowHighlighted)
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._compare()

    @on(Table.RowSelected)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self.query_one("#both").remove_class("-low")
        self.query_one("#changed").focus()

    @work(exclusive=True, group="difference")
    async def _compare(self) -> None:
        """What the chosen revision changed, or what changed since."""
        number, since = self.selected_revision, self._since
        info = next((one for one in self._revisions if one.revision == number), None)
        if info is None:
            self.query_one("#changed Static", Static).update("")
            return
        other = self._newest if since else max(0, number - 1)
        one = await self.session.call(lambda client: client.revision(number))
        two = await self.session.call(lambda client: client.revision(other))
        if one is None or two is None or number != self.selected_revision:
            return
        before, after = (one, two) if since else (two, one)
        text = diff_module.unified_diff(before.documents, after.documents)
        head = (
            f"changed since {view_model.revision_summary(info, self.session.now())}"
            if since
            else view_model.revision_summary(info, self.session.now())
        )
        said = diff_highlight.highlight_diff(text) if text else paint("no difference", "dim")
        self.query_one("#changed Static", Static).update(
            Content("\n").join([paint(head, "dim"), Content(""), said])
        )
        self.query_one("#changed").scroll_home(animate=False)

    def action_since(self) -> None:
        """What changed since then, or what it changed."""
        self._since = not self._since
        self._compare()

    @work(exclusive=True, group="change")
    async def action_roll_back(self) -> None:
        """The whole mesh back to the chosen revision, after a question."""
        if self.selected_revision:
            await change_flow.roll_back(self.session, self.selected_revision)
