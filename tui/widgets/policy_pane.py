"""One policy: its conditions, and below them its YAML, its history, or what changed since a revision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from control_plane.api import yaml_diff
from control_plane.api.types import Change, RevisionInfo
from control_plane.api.yaml_text import render
from tui import policy_words, words
from tui.policy_words import Policy
from tui.theme import paint, state
from tui.widgets import diff, yaml
from tui.widgets.table import Table

if TYPE_CHECKING:
    from tui.app import Dash

View = Literal["yaml", "history", "diff"]
VIEWS: dict[View, str] = {"yaml": "y YAML", "history": "h history", "diff": "v changes"}

REVISIONS = 1000
"""Revisions that are looked through for those that changed a policy."""


class PolicyPane(Vertical):
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
        self._policy: Policy | None = None
        self._view: View = "yaml"
        self._found: list[tuple[RevisionInfo, Change]] | None = None
        self._of = ("", -1)
        self._chosen = 0

    def compose(self) -> ComposeResult:
        """Name, conditions, views, and one of them."""
        yield Static(id="title")
        yield Static(id="conditions")
        yield Static(id="views")
        with VerticalScroll(id="text"):
            yield Static(id="shown")
        yield Table(policy_words.HISTORY, empty="no revision is kept that changed it", id="history")

    def on_mount(self) -> None:
        """YAML first."""
        self.view("yaml")

    @property
    def policy(self) -> Policy | None:
        """What is shown."""
        return self._policy

    def show(self, policy: Policy | None) -> None:
        """Another policy, or the same one as it is now."""
        before, self._policy = self._policy, policy
        if before and policy and before.key == policy.key and before == policy:
            return
        if policy is None or before is None or before.key != policy.key:
            self._chosen = 0
            self.query_one("#text").scroll_home(animate=False)
        self._draw()

    def view(self, view: View) -> None:
        """YAML, history, or what changed."""
        self._view = view
        self.query_one("#text").display = view != "history"
        self.query_one(Table).display = view == "history"
        self._draw()

    def enter(self) -> None:
        """Take the keys."""
        self.query_one(Table if self._view == "history" else "#text").focus()

    # --- what it was -----------------------------------------------------------------------------

    def target(self) -> int | None:
        """The revision that a roll back leads to: the chosen one, or the one before the last change."""
        if not self._found:
            return None
        last = self._found[0][0].revision
        return self._chosen if self._chosen and self._chosen != last else last - 1

    async def find_history(self) -> None:
        """See that the history of what is shown is known."""
        policy, dash = self._policy, cast("Dash", self.app)
        if policy is None:
            return
        status = dash.picture.status
        key = (policy.key, status.revision if status else -1)
        if self._found is not None and self._of == key:
            return
        revisions = await dash.ask(lambda client: client.history(REVISIONS))
        if revisions is not None and self._policy is policy:
            self._found, self._of = policy_words.touching(revisions, policy.kind, policy.name), key

    @on(Table.Moved)
    def _moved(self, message: Table.Moved) -> None:
        message.stop()
        self._chosen = int(message.key or 0)

    @on(Table.Chosen)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self._chosen = int(message.key)
        self.view("diff")
        self.enter()

    # --- drawing ---------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        policy = self._policy
        title = Content(" no policy")
        if policy:
            title = Content.assemble(
                " ", paint(f"{words.clean(policy.kind)} {words.clean(policy.name)}", "strong")
            )
        self.query_one("#title", Static).update(title)
        lines = [state(one) for one in policy.lines] if policy else []
        self.query_one("#conditions", Static).update(Content("\n").join(lines))
        self.query_one("#views", Static).update(views(self._view))
        if policy is None:
            self._say(Content(""))
        elif self._view == "yaml":
            self._say(yaml.coloured(render([dict(policy.document)])))
        else:
            self._look_back()

    def _say(self, text: Content) -> None:
        self.query_one("#shown", Static).update(text)

    @work(exclusive=True)
    async def _look_back(self) -> None:
        """Draw what needs revisions."""
        await self.find_history()
        policy, found = self._policy, self._found
        if policy is None or found is None or not self.is_mounted:
            return
        dash = cast("Dash", self.app)
        if self._view == "history":
            table = self.query_one(Table)
            table.show(policy_words.history_row(one, change, dash.now()) for one, change in found)
            self._chosen = int(table.chosen or 0)
        elif self._view == "diff":
            await self._compare(policy, found)

    async def _compare(self, policy: Policy, found: list[tuple[RevisionInfo, Change]]) -> None:
        dash = cast("Dash", self.app)
        if not found:
            self._say(paint("no revision is kept that changed it", "dim"))
            return
        last = found[0][0].revision
        chosen = self._chosen or last
        older = chosen - 1 if chosen == last else chosen
        reply = await dash.ask(lambda client: client.revision(older))
        if reply is None or self._policy is not policy:
            return
        before = policy_words.one(reply.documents, policy.kind, policy.name)
        text = yaml_diff.unified(before, [policy.document])
        self._say(Content("\n").join(compared(found, chosen, text, dash.now())))


def views(current: View) -> Content:
    """Which view is on, and the keys of the others."""
    parts = [
        paint(f"[{title}]" if view == current else f" {title} ", "accent" if view == current else "dim")
        for view, title in VIEWS.items()
    ]
    return Content(" ") + Content("").join(parts)


def compared(
    found: list[tuple[RevisionInfo, Change]], chosen: int, text: str, now: float
) -> Iterator[Content]:
    """What a comparison is of, and the difference."""
    last = found[0][0].revision
    about = next((one for one, _ in found if one.revision == chosen), found[0][0])
    if chosen == last:
        yield paint(f"its last change: {policy_words.said(about, now)}", "dim")
    else:
        yield paint(f"from {policy_words.said(about, now)}", "dim")
        yield paint("to how it is now", "dim")
    come, go = diff.counted(text)
    if not text:
        yield paint("no difference", "dim")
    else:
        yield paint(f"+{come} −{go} lines", "dim")
        yield diff.coloured(text)
