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

from meshwright.control_plane.api.models.base import Status
from meshwright.tui import format
from meshwright.tui.mesh_state import STALE_AFTER, DashboardState, mesh_totals
from meshwright.tui.navigation import TABS, tab_of
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets.stable_static import StableStatic

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp
    from meshwright.tui.screen import MeshScreen

LINE_COUNT = 3
"""How many it has."""

RankedItem = tuple[int, Content]
"""Something in a line and its rank: where there is no room the highest rank goes first."""


class StatusHeader(Vertical):
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
        yield StableStatic(id="figures")
        yield StableStatic(id="tabs")
        yield StableStatic(id="place")

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
        for number, title in enumerate(tab_titles(self.size.width), start=1):
            if left <= event.x < left + len(title):
                await self.run_action(f"app.tab({number})")
            left += len(title)

    def _redraw(self) -> None:
        self.show_state(cast("DashboardApp", self.app).mesh_state)

    def show_state(self, picture: DashboardState) -> None:
        """Draw a picture's figures; its lines may not be there yet, or not any more."""
        if len(self.query(StableStatic)) < LINE_COUNT:
            return
        dash = cast("DashboardApp", self.app)
        width = self.size.width or self.app.size.width
        now = dash.now()
        self.query_one("#figures", StableStatic).set_text(summary_line(picture, now, width))
        screen = cast("MeshScreen", self.screen)
        current = tab_of(screen.location)
        shown = with_read_only_mark(tab_line(TABS.index(current), width), width, read_only=dash.read_only)
        self.query_one("#tabs", StableStatic).set_text(shown)
        crumbs = dash.breadcrumbs()
        line = banner(picture, now, width) or breadcrumb_line(crumbs, width)
        self.query_one("#place", StableStatic).set_text(line)


def summary_line(picture: DashboardState, now: float, width: int) -> Content:
    """The first line, in `width` cells."""
    items: list[RankedItem] = [(5, paint(picture.mesh or "no mesh", "strong"))]
    if picture.status:
        items.append((0, paint(f"rev {picture.status.revision}")))
        items.append((1, sync_status(picture.status)))
    right: list[RankedItem] = []
    if picture.topology:
        seen = mesh_totals(picture.topology)
        tone: format.Tone = "bad" if seen.errors >= 0.05 else "partial" if seen.errors > 0 else "plain"
        right.append((3, paint(f"{format.format_number(seen.rps)} rps")))
        right.append((1, paint(f"{format.format_failure_percent(seen.errors)} % err", tone)))
        right.append((4, paint(f"p99 {format.format_latency(seen.p99_ms)} ms")))
    right.append((0, _data_time(picture, now)))
    return justify(items, right, width)


def _data_time(picture: DashboardState, now: float) -> Content:
    if not picture.updated_at:
        return paint("no data yet", "partial")
    old = now - picture.updated_at
    if picture.outage or old > STALE_AFTER:
        return paint(f"{format.format_time(picture.updated_at)} stale", "bad")
    return paint(format.format_time(picture.updated_at), "dim")


def sync_status(status: Status) -> Content:
    """How far the newest revision has come."""
    counted = Counter(proxy.state for proxy in status.proxies)
    all_of = len(status.proxies)
    if not all_of:
        return status_text(format.StatusLabel("○", "no sidecars", "off"))
    if counted["rejected"]:
        return status_text(format.PROXY_LABELS["rejected"], f" {counted['rejected']}/{all_of}")
    if counted["pending"]:
        return status_text(format.PROXY_LABELS["pending"], f" {counted['synced']}/{all_of}")
    if counted["disconnected"]:
        return status_text(format.StatusLabel("◐", "synced", "partial"), f" {counted['synced']}/{all_of}")
    return status_text(format.PROXY_LABELS["synced"], f" {counted['synced']}/{all_of}")


def banner(picture: DashboardState, now: float, width: int) -> Content | None:
    """What the third line says of a picture that is old; None while it is not."""
    if picture.outage:
        began = f"since {format.format_time(picture.outage_since)} ({format.format_age(now - picture.outage_since)})"
        kept = f"; shown: {format.format_time(picture.updated_at)}" if picture.updated_at else ""
        text = f" ✖ control plane away {began}{kept}; trying again · {format.sanitize(picture.outage)}"
        return paint(format.pad(text, width), "bad")
    if picture.updated_at and now - picture.updated_at > STALE_AFTER:
        text = f" ◐ this picture is {format.format_age(now - picture.updated_at)} old: waiting for the control plane"
        return paint(format.pad(text, width), "partial")
    if picture.errors:
        part, fault = next(iter(picture.errors.items()))
        return paint(format.pad(f" ◐ no {part}: {format.sanitize(fault)}", width), "partial")
    return None


def tab_titles(width: int) -> list[str]:
    """Numbers and names of the tabs, fewer letters where there is no room, with a cell at either side."""
    for letters in (10, 4, 0):
        found = [
            f" {at} {name.capitalize()[:letters]}".rstrip() + " " for at, name in enumerate(TABS, start=1)
        ]
        if sum(len(each) for each in found) <= width:
            break
    return found


def tab_line(current: int, width: int) -> Content:
    """The second line: the titles, the current one in brackets."""
    parts = []
    for at, title in enumerate(tab_titles(width)):
        shown = f"[{title.strip()}]" if at == current else title
        parts.append(Content.styled(shown, "bold $accent" if at == current else "$mesh-muted"))
    return Content("").join(parts)


def with_read_only_mark(line: Content, width: int, *, read_only: bool) -> Content:
    """The second line, at its end that nothing can be changed, where that is so and there is room."""
    mark = paint("read only ", "partial")
    room = width - line.cell_length - mark.cell_length
    return line + Content(" " * room) + mark if read_only and room >= 1 else line


def breadcrumb_line(crumbs: Sequence[str], width: int) -> Content:
    """The third line: a rule, with the way that led here where it was more than a step."""
    if len(crumbs) < 2:
        return paint("─" * width, "dim") if width < 1 else Content.styled("─" * width, "$mesh-line")
    text = format.truncate(f" {' › '.join(format.sanitize(each) for each in crumbs)} ", max(0, width - 4))
    rest = "─" * max(0, width - 2 - cell_len(text))
    return Content.assemble(("──", "$mesh-line"), (text, "$accent"), (rest, "$mesh-line"))


def justify(left: list[RankedItem], right: list[RankedItem], width: int) -> Content:
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
