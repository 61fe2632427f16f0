"""One service: how it is and was, its instances, its callers and callees, what governs it, what happened."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from control_plane.api.happened import Event
from control_plane.api.seen import ServiceRow
from control_plane.api.traced import TraceSummary
from tui import happenings, service_rows, service_table, trend, words
from tui.attached import attached
from tui.picture import Part, Picture
from tui.places import Edge, Happenings, Node, Place, Policy, Proxy, Trace, Traces
from tui.rows import Row
from tui.screens.base import MeshScreen
from tui.theme import paint, state
from tui.widgets.pane import Pane
from tui.widgets.table import Table

AGAIN = 3.0
"""Seconds between two askings for traces and events."""

WIDE = 110
"""Cells from which the panes stand in two columns."""

RECENT, EVENTS = 20, 200
"""Traces that are shown, events that are looked through."""


class ServiceScreen(MeshScreen):
    """A service or gateway in detail."""

    NEEDS: ClassVar[frozenset[Part]] = frozenset(
        {"services", "instances", "proxies", "policies", "revisions"}
    )
    HELP: ClassVar[str] = (
        "One service: the bars are its last 15 minutes, ▲ marks where a revision was applied. Tab goes from "
        "pane to pane, Enter opens a row: an instance's sidecar, an edge on the map, a policy, a trace."
    )
    DEFAULT_CSS = """
    ServiceScreen #how { height: auto; padding: 0 0 0 1; }
    ServiceScreen #trend { height: 4; }
    ServiceScreen.-low #trend { display: none; }
    ServiceScreen #panes { height: 1fr; overflow: hidden hidden; }
    ServiceScreen #left { height: 3fr; }
    ServiceScreen #right { height: 2fr; }
    ServiceScreen.-low #how { height: 1; }
    ServiceScreen.-low #panes { overflow: hidden auto; scrollbar-size-vertical: 0; }
    ServiceScreen.-low #left, ServiceScreen.-low #right { height: auto; width: 1fr; }
    ServiceScreen.-low Pane { height: 1; min-height: 1; max-height: 4; }
    ServiceScreen.-low Pane:focus-within { height: 4; }
    ServiceScreen.-wide #panes { layout: horizontal; }
    ServiceScreen.-wide #left { height: 1fr; width: 1fr; }
    ServiceScreen.-wide #right { height: 1fr; width: 1fr; margin-left: 1; }
    ServiceScreen.-wide #instances, ServiceScreen.-wide #policies, ServiceScreen.-wide #calls {
        height: auto; max-height: 45%;
    }
    ServiceScreen.-wide #instances Table, ServiceScreen.-wide #policies Table,
    ServiceScreen.-wide #calls Table { height: auto; max-height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "traces", "traces"),
        Binding("x", "failed", "failed traces"),
        Binding("m", "map", "on the map"),
        Binding("e", "events", "events"),
    ]

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place)
        self.subject = name
        self._traces: tuple[TraceSummary, ...] | None = None
        self._events: tuple[Event, ...] | None = None

    def body(self) -> ComposeResult:
        """How it is, how it was, and five panes."""
        with Vertical():
            yield Static(id="how")
            yield Static(id="trend")
            with Container(id="panes"):
                with Vertical(id="left"):
                    yield Pane("instances", service_rows.INSTANCES, "no instance has a lease")
                    yield Pane("calls", service_table.EDGE_COLUMNS, "no calls within the last minute")
                    yield Pane("events", happenings.COLUMNS[:5], "nothing happened to it lately")
                with Vertical(id="right"):
                    yield Pane("policies", service_rows.POLICIES, "no policy names it: Envoy's defaults hold")
                    yield Pane("traces", service_rows.TRACES, "no trace of it: is it called, is tracing on?")

    def on_mount(self) -> None:
        """Traces and events are asked for at a pace of their own."""
        self.set_interval(AGAIN, self.load)
        self.load()

    def on_resize(self, event: Resize) -> None:
        """Two columns where there is room, no bars where there is none."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.set_class(event.size.height < 20, "-low")
        self.show_picture(self.picture)

    @work(exclusive=True)
    async def load(self) -> None:
        """Its newest traces and events."""
        if not self.is_current:
            return
        found = await self.dash.ask(
            lambda client: client.traces(service=self.subject, limit=RECENT), quiet=True
        )
        events = await self.dash.ask(lambda client: client.events(EVENTS), quiet=True)
        if found is not None:
            self._traces = found
        if events is not None:
            self._events = tuple(each for each in events if happenings.concerns(each, self.subject))
        self.show_picture(self.picture)

    def show_picture(self, picture: Picture) -> None:
        """Every pane anew."""
        if picture.services is None:
            return
        row = next((each for each in picture.services.services if each.name == self.subject), None)
        if row is None:
            gone = f"{self.subject} is not in the mesh (any more): Esc goes back"
            self.query_one("#how", Static).update(paint(gone, "partial"))
            return
        self.query_one("#how", Static).update(_how(row))
        told = picture.fetched.get("services", self.dash.now())
        shown = trend.lines(row.history, picture.revisions or (), told, self.size.width)
        self.query_one("#trend", Static).update(Content("\n").join(shown))
        self._show_panes(picture)

    def _show_panes(self, picture: Picture) -> None:
        events, now = self._events or (), self.dash.now()
        self._fill(
            "instances",
            [
                service_rows.instance(each, happenings.since(events, each.name), now)
                for each in picture.instances or ()
                if each.service == self.subject
            ]
            or [service_rows.proxy(each) for each in picture.proxies or () if each.service == self.subject],
        )
        edges = picture.topology.edges if picture.topology else ()
        near = [each for each in edges if self.subject in (each.from_, each.to)]
        near.sort(key=lambda each: (each.from_ == self.subject, each.success, each.from_, each.to))
        self._fill("calls", [service_table.edge_row(each, self.subject) for each in near])
        if picture.policies:
            known = {(p.kind, p.name): p for p in picture.status.policies} if picture.status else {}
            found = attached(picture.policies.documents, self.subject)
            rows = [service_rows.policy(each, known.get((each.kind, each.name))) for each in found]
            self._fill("policies", rows)
        self._fill("traces", [service_rows.trace(each) for each in self._traces or ()])
        self._fill("events", [happenings.row(each) for each in events])

    def _fill(self, pane: str, rows: list[Row]) -> None:
        self.query_one(f"#{pane}", Pane).show(rows)

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter on a row of a pane."""
        kind, _, rest = message.key.partition(" ")
        match message.table.parent.id if message.table.parent else "":
            case "instances":
                self.dash.go(Proxy(message.key))
            case "calls":
                self.dash.go(Edge(*message.key.split(">", 1)))
            case "policies":
                self.dash.go(Policy(kind, rest))
            case "traces":
                self.dash.go(Trace(message.key))
            case "events":
                self.dash.go(Happenings(subject=self.subject))

    def action_traces(self) -> None:
        """Its traces."""
        self.dash.go(Traces(self.subject))

    def action_failed(self) -> None:
        """Those in which something failed."""
        self.dash.go(Traces(self.subject, errors=True))

    def action_map(self) -> None:
        """Where it stands in the topology."""
        self.dash.go(Node(self.subject))

    def action_events(self) -> None:
        """What happened to it."""
        self.dash.go(Happenings(subject=self.subject))


def _how(row: ServiceRow) -> Content:
    """The figures of the table, in a line."""
    breaker = words.BREAKER.get(row.breaker, words.UNKNOWN)
    healthy = "gateway" if row.role == "gateway" else f"{row.healthy}/{row.instances} healthy"
    parts = [
        paint(row.name, "strong"),
        state(words.HEALTH.get(row.health, words.UNKNOWN)),
        paint(healthy, "plain" if row.healthy == row.instances else "bad"),
        paint(f"{words.three(row.rps)}/s"),
    ]
    if row.rps:
        failing = service_table.success(row.success, row.rps)
        parts.append(paint(f"{failing.text} % ok", failing.tone))
        latencies = (words.latency(each) for each in (row.p50_ms, row.p95_ms, row.p99_ms))
        parts.append(paint(f"p50/95/99 {'/'.join(latencies)} ms"))
    if row.retries_per_s:
        parts.append(paint(f"{words.three(row.retries_per_s)} retr/s", "partial"))
    if row.breaker != "closed":
        parts.append(state(breaker, f", {row.ejected} out" if row.ejected else ""))
    return Content("  ").join(parts)
