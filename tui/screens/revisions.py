"""Every revision of the mesh's policies: who, when, why, what it changed, and the way back to it."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from control_plane.api import yaml_diff
from control_plane.api.types import RevisionInfo
from tui import changes, places, policy_words
from tui.picture import Picture
from tui.screens.base import MeshScreen
from tui.screens.policies import BESIDE, LOW
from tui.theme import paint
from tui.widgets import diff
from tui.widgets.policy_pane import REVISIONS
from tui.widgets.table import Table


class RevisionsScreen(MeshScreen):
    """The list, newest first, and the difference that the one under the cursor made."""

    NEEDS = frozenset({"revisions"})
    CHANGES = frozenset({"roll_back"})
    SEARCH = "number, author, reason, or a policy's name"
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

    def __init__(self, place: places.Revision) -> None:
        super().__init__(place)
        self._wanted = str(place.number)
        self._all: tuple[RevisionInfo, ...] = ()
        self._text = ""
        self._since = False
        self._newest = -1

    def body(self) -> ComposeResult:
        """The list, and what the chosen one changed."""
        with Container(id="both"):
            yield Table(policy_words.REVISIONS, empty="no revisions yet: `mesh apply` makes the first")
            with VerticalScroll(id="changed"):
                yield Static()

    def on_mount(self) -> None:
        """The list has the keys."""
        super().on_mount()
        self.query_one(Table).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        both = self.query_one("#both")
        both.set_class(event.size.width >= BESIDE, "-beside")
        both.set_class(event.size.width < BESIDE and event.size.height < LOW, "-low")

    def show_picture(self, picture: Picture) -> None:
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
        found = await self.dash.ask(lambda client: client.history(REVISIONS))
        if found is not None:
            self._all = found
            self._list()
            if self._wanted and self.query_one(Table).pick(self._wanted):
                self._wanted = ""
            self._compare()

    def _list(self) -> None:
        now = self.dash.now()
        text = self._text.lower().split()
        rows = [policy_words.revision_row(one, now) for one in self._all]
        shown = [
            row for row in rows if all(any(word in cell.text.lower() for cell in row.cells) for word in text)
        ]
        self.query_one(Table).show(shown)

    def find(self, text: str) -> None:
        """Only those that hold the text."""
        self._text = text
        self._list()

    def undo(self) -> bool:
        """Esc: back from what changed since then."""
        was, self._since = self._since, False
        if was:
            self._compare()
        return was

    @property
    def chosen(self) -> int:
        """The revision under the cursor; 0: none."""
        return int(self.query_one(Table).chosen or 0)

    @on(Table.Moved)
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._compare()

    @on(Table.Chosen)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self.query_one("#both").remove_class("-low")
        self.query_one("#changed").focus()

    @work(exclusive=True, group="difference")
    async def _compare(self) -> None:
        """What the chosen revision changed, or what changed since."""
        number, since = self.chosen, self._since
        info = next((one for one in self._all if one.revision == number), None)
        if info is None:
            self.query_one("#changed Static", Static).update("")
            return
        other = self._newest if since else max(0, number - 1)
        one = await self.dash.ask(lambda client: client.revision(number))
        two = await self.dash.ask(lambda client: client.revision(other))
        if one is None or two is None or number != self.chosen:
            return
        before, after = (one, two) if since else (two, one)
        text = yaml_diff.unified(before.documents, after.documents)
        head = (
            f"changed since {policy_words.said(info, self.dash.now())}"
            if since
            else policy_words.said(info, self.dash.now())
        )
        said = diff.coloured(text) if text else paint("no difference", "dim")
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
        if self.chosen:
            await changes.roll_back(self.dash, self.chosen)
