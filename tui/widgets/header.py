"""The header of every screen: state of the mesh and age of the data, the tabs, the location and the verdict.

The items of the first line keep their order: mesh, revision and ACKs, total rate, errors, p99, time of the
data. The third line says so in words when the data is stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.problem_text import verdict_line
from meshwright.control_plane.api.version_skew import worst_skew
from meshwright.tui import keys
from meshwright.tui.format import (
    NO_VALUE,
    PROXY_LABELS,
    StatusLabel,
    Tone,
    format_age,
    format_failure_percent,
    format_milliseconds,
    format_number,
    format_time,
    pad,
    sanitize,
    truncate,
)
from meshwright.tui.mesh_state import STALE_AFTER, DashboardState, mesh_totals
from meshwright.tui.navigation import TABS
from meshwright.tui.session import session_of
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets.stable_static import StableStatic

LINE_COUNT = 3
"""Lines of the header."""

MIN_VERDICT_WIDTH = 20
"""Cells below which the verdict is left out, in favour of the breadcrumbs."""

ERROR_RATE_BAD = 0.05
"""Share (0..1) of failed requests from which the error rate is red."""

RankedItem = tuple[int, Content]
"""A piece of a line and its rank. The highest rank is dropped first when the line does not fit."""


class StatusHeader(Vertical):
    """Three lines: figures, tabs, and breadcrumbs with the verdict, or the outage banner."""

    DEFAULT_CSS = """
    StatusHeader { height: 3; dock: top; }
    StatusHeader Static {
        height: 1; width: 100%; text-wrap: nowrap;
    }
    StatusHeader #figures { background: $panel; }
    StatusHeader #location { color: $mesh-line; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._state: DashboardState | None = None

    def compose(self) -> ComposeResult:
        """The three lines."""
        yield StableStatic(id="figures")
        yield StableStatic(id="tabs")
        yield StableStatic(id="location")

    def on_mount(self) -> None:
        """Redraw once a second: the age of stale data grows."""
        self.set_interval(1.0, self._redraw)

    def on_resize(self) -> None:
        """Fit the lines to the new width."""
        self._redraw()

    async def on_click(self, event: Click) -> None:
        """Switch to the clicked tab."""
        if event.widget is None or event.widget.id != "tabs":
            return
        left = 0
        for number, title in enumerate(tab_titles(self.size.width), start=1):
            if left <= event.x < left + len(title):
                await self.run_action(f"app.tab({number})")
            left += len(title)

    def _redraw(self) -> None:
        self.show_state(self._state or session_of(self).mesh_state)

    def show_state(self, state: DashboardState) -> None:
        """Show a state. Does nothing while the lines are being added or removed."""
        self._state = state
        if len(self.query(StableStatic)) < LINE_COUNT:
            return
        session = session_of(self)
        width = self.size.width or self.app.size.width
        now = session.now()
        self.query_one("#figures", StableStatic).set_text(summary_line(state, now, width))
        tabs = tab_line([str(name) for name in TABS].index(session.current_mode), width)
        tabs = with_read_only_mark(tabs, width, read_only=session.read_only)
        self.query_one("#tabs", StableStatic).set_text(tabs)
        verdict = condition_text(state.status)
        past = past_banner(session.past, now, width, is_shown=state.past is not None)
        line = past or banner(state, now, width) or location_line(session.breadcrumbs(), verdict, width)
        self.query_one("#location", StableStatic).set_text(line)


def summary_line(state: DashboardState, now: float, width: int) -> Content:
    """The first line, `width` cells wide."""
    left: list[RankedItem] = [(5, paint(state.mesh or "no mesh", "strong"))]
    if state.status:
        left.append((0, paint(f"rev {state.status.revision}")))
        if wave := wave_text(state.status):
            left.append((2, paint(wave, "partial")))
        if state.past is None:  # what had ACKed then is not recorded
            left.append((1, sync_status(state.status)))
    right: list[RankedItem] = []
    if state.topology:
        totals = mesh_totals(state.topology)
        tone: Tone = "bad" if totals.errors >= ERROR_RATE_BAD else "partial" if totals.errors > 0 else "plain"
        right.append((3, paint(f"{format_number(totals.rps)} rps")))
        right.append((1, paint(f"{format_failure_percent(totals.errors)} % err", tone)))
        p99 = format_milliseconds(totals.p99_ms) if totals.p99_ms > 0 else NO_VALUE
        right.append((4, paint(f"p99 {p99}")))
    right.append((0, _data_time(state, now)))
    return justify(left, right, width)


def _data_time(state: DashboardState, now: float) -> Content:
    if not state.updated_at:
        return paint("no data yet", "partial")
    if state.past:
        return paint(format_time(state.past.moment.time), "partial")
    age = now - state.updated_at
    if state.outage or age > STALE_AFTER:
        return paint(f"{format_time(state.updated_at)} stale", "bad")
    return paint(format_time(state.updated_at), "dim")


def past_banner(past: PastMesh | None, now: float, width: int, *, is_shown: bool) -> Content | None:
    """The third line while a moment of the past is chosen; None: there is none.

    `is_shown`: whether the screen shows it. Otherwise it shows the mesh as it is.
    """
    if past is None:
        return None
    moment = f"{format_time(past.moment.time)}, {format_age(now - past.moment.time)} ago"
    if not is_shown:
        return paint(
            pad(f" « no past here: this is now, not {moment} · {keys.NOW.names} back to now", width), "dim"
        )
    verdict = verdict_line(past.moment.verdict.model_dump(), lambda seconds: format_time(seconds)[:-3])
    text = f" « {moment} · {keys.NOW.names} now · {sanitize(verdict)}"
    return Content.styled(pad(truncate(text, width), width), "bold $background on $warning")


def wave_text(status: Status) -> str:
    """How far the newest revision is that is pushed in waves; empty once it is no longer watched."""
    report = status.push
    if report is None or not report.is_under_way:
        return ""
    push = report.push
    if not report.on_trial:
        return f"{signs.UNDER_WAY} watched"
    reached = f"wave {push.wave}, {len(push.admitted)}/{push.affected}" if push and push.wave else "on trial"
    return f"{signs.UNDER_WAY} {reached}{', paused' if push and push.state == 'paused' else ''}"


def sync_status(status: Status) -> Content:
    """How many proxies have the newest revision, led by the worst proxy state."""
    counts = Counter(proxy.state for proxy in status.proxies)
    total = len(status.proxies)
    if not total:
        return status_text(StatusLabel(signs.OFF, "no sidecars", "off"))
    if counts["rejected"]:
        return status_text(PROXY_LABELS["rejected"], f" {counts['rejected']}/{total}")
    if counts["pending"]:
        return status_text(PROXY_LABELS["pending"], f" {counts['synced']}/{total}")
    if counts["disconnected"]:
        return status_text(StatusLabel(signs.PARTIAL, "synced", "partial"), f" {counts['synced']}/{total}")
    return status_text(PROXY_LABELS["synced"], f" {counts['synced']}/{total}")


def banner(state: DashboardState, now: float, width: int) -> Content | None:
    """The third line during an outage, for stale data, or for a field that the API refused; else None."""
    if state.outage:
        since = f"since {format_time(state.outage_since)} ({format_age(now - state.outage_since)})"
        data = f"; data of {format_time(state.updated_at)}" if state.updated_at else ""
        text = f" {signs.BAD} control plane unreachable {since}{data}; retrying · {sanitize(state.outage)}"
        return paint(pad(text, width), "bad")
    if state.updated_at and now - state.updated_at > STALE_AFTER:
        age = format_age(now - state.updated_at)
        text = f" {signs.PARTIAL} data is {age} old: waiting for the control plane"
        return paint(pad(text, width), "partial")
    if state.errors:
        field, message = next(iter(state.errors.items()))
        return paint(pad(f" {signs.PARTIAL} no {field}: {sanitize(message)}", width), "partial")
    return None


def tab_titles(width: int) -> list[str]:
    """Numbers and names of the tabs, with a blank on either side; names are cut where space is short."""
    for letters in (10, 4, 0):
        titles = [
            f" {number} {name.capitalize()[:letters]}".rstrip() + " "
            for number, name in enumerate(TABS, start=1)
        ]
        if sum(len(title) for title in titles) <= width:
            break
    return titles


def tab_line(current: int, width: int) -> Content:
    """The second line: the titles, the current one in brackets."""
    parts = []
    for index, title in enumerate(tab_titles(width)):
        text = f"[{title.strip()}]" if index == current else title
        parts.append(Content.styled(text, "bold $accent" if index == current else "$mesh-muted"))
    return Content("").join(parts)


def with_read_only_mark(line: Content, width: int, *, read_only: bool) -> Content:
    """The second line, with `read only` at its right edge where that applies and fits."""
    mark = paint("read only ", "partial")
    room = width - line.cell_length - mark.cell_length
    return line + Content(" " * room) + mark if read_only and room >= 1 else line


def breadcrumb_line(titles: Sequence[str], width: int) -> Content:
    """The third line: a rule, with breadcrumbs where more than one screen is open."""
    if len(titles) < 2:
        return Content.styled("─" * width, "$mesh-line")
    text = truncate(f" {' › '.join(sanitize(title) for title in titles)} ", max(0, width - 4))
    rest = "─" * max(0, width - 2 - cell_len(text))
    return Content.assemble(("──", "$mesh-line"), (text, "$accent"), (rest, "$mesh-line"))


def condition_text(status: Status | None) -> Content | None:
    """What is wrong, in words, and the versions that differ; None: nothing."""
    texts = [text for text in (verdict_text(status), _skew_text(status)) if text is not None]
    return Content("   ").join(texts) if texts else None


def _skew_text(status: Status | None) -> Content | None:
    """The worst difference between versions; None: there is none, or the control plane does not say its."""
    if status is None or not status.version:
        return None
    skew = worst_skew(status.version, ((skew.supported, skew.message) for skew in status.skews))
    if skew is None:
        return None
    text = sanitize(skew.difference)
    if skew.supported:
        return paint(f"{signs.PARTIAL} {text}", "partial")
    return paint(f"{signs.BAD} {text}", "bad")


def verdict_text(status: Status | None) -> Content | None:
    """The worst problem of the mesh, in words; None: there is none."""
    if status is None or status.verdict.healthy:
        return None
    problems = status.verdict.problems
    tone: Tone = "bad" if any(problem.severity == "error" for problem in problems) else "partial"
    line = verdict_line(status.verdict.model_dump(), lambda seconds: format_time(seconds)[:-3])
    return paint(f"{signs.BAD if tone == 'bad' else signs.PARTIAL} {sanitize(line)}", tone)


def location_line(titles: Sequence[str], verdict: Content | None, width: int) -> Content:
    """The third line: breadcrumbs, and what `condition_text` says where something is wrong."""
    if verdict is None:
        return breadcrumb_line(titles, width)
    crumbs = breadcrumb_line(titles, width)
    if len(titles) < 2:
        room, start = width - 4, Content.styled("─ ", "$mesh-line")
    else:
        used = min(cell_len(f" {' › '.join(sanitize(title) for title in titles)} ") + 2, width // 2)
        room, start = width - used - 4, crumbs[:used] + Content.styled("─ ", "$mesh-line")
    if room < MIN_VERDICT_WIDTH:
        return crumbs
    shown = verdict.truncate(room, ellipsis=True)
    rest = Content.styled(f" {'─' * max(0, width - start.cell_length - shown.cell_length - 1)}", "$mesh-line")
    return start + shown + rest


def justify(left: list[RankedItem], right: list[RankedItem], width: int) -> Content:
    """Both groups at their edges. Items that do not fit are dropped, the highest rank first."""
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
