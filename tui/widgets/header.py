"""The head of every screen: how the mesh is, how old that is, the tabs, and where one is.

It never changes place: mesh, revision and its state, whole rate, errors, p99, clock of the data. A picture
that is old says so in words, on the line below the tabs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click

from control_plane.api.types import Status
from tui import words
from tui.picture import STALE, Picture, whole
from tui.places import TABS, tab_of
from tui.theme import paint, state
from tui.widgets.fixed import Fixed

if TYPE_CHECKING:
    from tui.app import Dash
    from tui.screens.base import MeshScreen

LINES = 3
"""How many it has."""

Item = tuple[int, Content]
"""Something in a line and its rank: where there is no room the highest rank goes first."""


class Header(Vertical):
    """Three lines: figures, tabs, breadcrumbs or the banner of an old picture."""

    DEFAULT_CSS = """
    Header { height: 3; dock: top; }
    Header Static {
        height: 1; width: 100%; text-wrap: nowrap;
    }
    Header #figures { background: $panel; }
    Header #place { color: $mesh-line; }
    """

    def compose(self) -> ComposeResult:
        """Its lines."""
        yield Fixed(id="figures")
        yield Fixed(id="tabs")
        yield Fixed(id="place")

    def on_mount(self) -> None:
        """The clock of an old picture goes on."""
        self.set_interval(1.0, self._redraw)

    def on_resize(self) -> None:
        """What fits is another matter."""
        self._redraw()

    async def on_click(self, event: Click) -> None:
        """A click on a tab."""
        if event.widget is None or event.widget.id != "tabs":
            return
        left = 0
        for number, title in enumerate(titles(self.size.width), start=1):
            if left <= event.x < left + len(title):
                await self.run_action(f"app.tab({number})")
            left += len(title)

    def _redraw(self) -> None:
        self.show(cast("Dash", self.app).picture)

    def show(self, picture: Picture) -> None:
        """Draw a picture's figures; its lines may not be there yet, or not any more."""
        if len(self.query(Fixed)) < LINES:
            return
        dash = cast("Dash", self.app)
        width = self.size.width or self.app.size.width
        now = dash.now()
        self.query_one("#figures", Fixed).say(figures(picture, now, width))
        screen = cast("MeshScreen", self.screen)
        current = tab_of(screen.place)
        shown = marked(tabs(TABS.index(current), width), width, read_only=dash.read_only)
        self.query_one("#tabs", Fixed).say(shown)
        crumbs = dash.crumbs()
        line = banner(picture, now, width) or trail(crumbs, width)
        self.query_one("#place", Fixed).say(line)


def figures(picture: Picture, now: float, width: int) -> Content:
    """The first line, in `width` cells."""
    items: list[Item] = [(5, paint(picture.mesh or "no mesh", "strong"))]
    if picture.status:
        items.append((0, paint(f"rev {picture.status.revision}")))
        items.append((1, sync(picture.status)))
    right: list[Item] = []
    if picture.topology:
        seen = whole(picture.topology)
        tone: words.Tone = "bad" if seen.errors >= 0.05 else "partial" if seen.errors > 0 else "plain"
        right.append((3, paint(f"{words.three(seen.rps)} rps")))
        right.append((1, paint(f"{words.failing(seen.errors)} % err", tone)))
        right.append((4, paint(f"p99 {words.latency(seen.p99_ms)} ms")))
    right.append((0, _clock(picture, now)))
    return spread(items, right, width)


def _clock(picture: Picture, now: float) -> Content:
    if not picture.at:
        return paint("no data yet", "partial")
    old = now - picture.at
    if picture.away or old > STALE:
        return paint(f"{words.clock(picture.at)} stale", "bad")
    return paint(words.clock(picture.at), "dim")


def sync(status: Status) -> Content:
    """How far the newest revision has come."""
    counted = Counter(proxy.state for proxy in status.proxies)
    all_of = len(status.proxies)
    if not all_of:
        return state(words.Said("○", "no sidecars", "off"))
    if counted["rejected"]:
        return state(words.PROXY["rejected"], f" {counted['rejected']}/{all_of}")
    if counted["pending"]:
        return state(words.PROXY["pending"], f" {counted['synced']}/{all_of}")
    if counted["disconnected"]:
        return state(words.Said("◐", "synced", "partial"), f" {counted['synced']}/{all_of}")
    return state(words.PROXY["synced"], f" {counted['synced']}/{all_of}")


def banner(picture: Picture, now: float, width: int) -> Content | None:
    """What the third line says of a picture that is old; None while it is not."""
    if picture.away:
        began = f"since {words.clock(picture.since)} ({words.age(now - picture.since)})"
        kept = f"; shown: {words.clock(picture.at)}" if picture.at else ""
        text = f" ✖ control plane away {began}{kept}; trying again · {words.clean(picture.away)}"
        return paint(words.pad(text, width), "bad")
    if picture.at and now - picture.at > STALE:
        text = f" ◐ this picture is {words.age(now - picture.at)} old: waiting for the control plane"
        return paint(words.pad(text, width), "partial")
    if picture.faults:
        part, fault = next(iter(picture.faults.items()))
        return paint(words.pad(f" ◐ no {part}: {words.clean(fault)}", width), "partial")
    return None


def titles(width: int) -> list[str]:
    """Numbers and names of the tabs, fewer letters where there is no room, with a cell at either side."""
    for letters in (10, 4, 0):
        found = [
            f" {at} {name.capitalize()[:letters]}".rstrip() + " " for at, name in enumerate(TABS, start=1)
        ]
        if sum(len(each) for each in found) <= width:
            break
    return found


def tabs(current: int, width: int) -> Content:
    """The second line: the titles, the current one in brackets."""
    parts = []
    for at, title in enumerate(titles(width)):
        shown = f"[{title.strip()}]" if at == current else title
        parts.append(Content.styled(shown, "bold $accent" if at == current else "$mesh-muted"))
    return Content("").join(parts)


def marked(line: Content, width: int, *, read_only: bool) -> Content:
    """The second line, at its end that nothing can be changed, where that is so and there is room."""
    mark = paint("read only ", "partial")
    room = width - line.cell_length - mark.cell_length
    return line + Content(" " * room) + mark if read_only and room >= 1 else line


def trail(crumbs: Sequence[str], width: int) -> Content:
    """The third line: a rule, with the way that led here where it was more than a step."""
    if len(crumbs) < 2:
        return paint("─" * width, "dim") if width < 1 else Content.styled("─" * width, "$mesh-line")
    text = words.fit(f" {' › '.join(words.clean(each) for each in crumbs)} ", max(0, width - 4))
    rest = "─" * max(0, width - 2 - cell_len(text))
    return Content.assemble(("──", "$mesh-line"), (text, "$accent"), (rest, "$mesh-line"))


def spread(left: list[Item], right: list[Item], width: int) -> Content:
    """Both groups at their edges; what does not fit goes, the highest rank first."""
    while True:
        used = sum(item.cell_length + 2 for _, item in (*left, *right))
        if used <= width or len(left) + len(right) <= 1:
            break
        worst = max(rank for rank, _ in (*left, *right))
        left = [item for item in left if item[0] < worst] if worst else left[:1]
        right = [item for item in right if item[0] < worst] if worst else []
    gap = max(0, width - used) if right else 0
    first = Content("  ").join([item for _, item in left])
    last = Content("  ").join([item for _, item in right])
    return Content(" ") + first + Content(" " * (gap + 2)) + last + Content(" ")
