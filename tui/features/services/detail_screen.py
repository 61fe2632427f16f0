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

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.topology import ServiceSummary
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui import format
from meshwright.tui.features.events import table
from meshwright.tui.features.policies.effective_policies import effective_policies
from meshwright.tui.features.services import detail_rows, table, trend
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import (
    EdgeLocation,
    EventsLocation,
    Location,
    NodeLocation,
    PolicyLocation,
    ProxyLocation,
    TraceLocation,
    TracesLocation,
)
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableRow
from meshwright.tui.widgets.titled_table import TitledTable

RELOAD_SECONDS = 3.0
"""Seconds between two askings for traces and events."""

WIDE_WIDTH = 110
"""Cells from which the panes stand in two columns."""

TRACE_LIMIT, EVENT_LIMIT = 20, 200
"""Traces that are shown, events that are looked through."""


class ServiceDetailScreen(MeshScreen):
    """A service or gateway in detail."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset(
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

    def __init__(self, location: Location, name: str) -> None:
        super().__init__(location)
        self.service = name
        self._traces: tuple[TraceSummary, ...] | None = None
        self._events: tuple[Event, ...] | None = None

    def compose_body(self) -> ComposeResult:
        """How it is, how it was, and five panes."""
        with Vertical():
            yield Static(id="how")
            yield Static(id="trend")
            with Container(id="panes"):
                with Vertical(id="left"):
                    yield TitledTable("instances", detail_rows.INSTANCE_COLUMNS, "no instance has a lease")
                    yield TitledTable("calls", table.EDGE_COLUMNS, "no calls within the last minute")
                    yield TitledTable("events", table.EVENT_COLUMNS[:5], "nothing happened to it lately")
                with Vertical(id="right"):
                    yield TitledTable(
                        "policies", detail_rows.POLICY_COLUMNS, "no policy names it: Envoy's defaults hold"
                    )
                    yield TitledTable(
                        "traces", detail_rows.TRACE_COLUMNS, "no trace of it: is it called, is tracing on?"
                    )

    def on_mount(self) -> None:
        """Traces and events are asked for at a pace of their own."""
        self.set_interval(RELOAD_SECONDS, self.load)
        self.load()

    def on_resize(self, event: Resize) -> None:
        """Two columns where there is room, no bars where there is none."""
        self.set_class(event.size.width >= WIDE_WIDTH, "-wide")
        self.set_class(event.size.height < 20, "-low")
        self.refresh_data(self.mesh_state)

    @work(exclusive=True)
    async def load(self) -> None:
        """Its newest traces and events."""
        if not self.is_current:
            return
        found = await self.session.call(
            lambda client: client.traces(service=self.service, limit=TRACE_LIMIT), quiet=True
        )
        events = await self.session.call(lambda client: client.events(EVENT_LIMIT), quiet=True)
        if found is not None:
            self._traces = found
        if events is not None:
            self._events = tuple(each for each in events if table.is_about(each, self.service))
        self.refresh_data(self.mesh_state)

    def refresh_data(self, picture: DashboardState) -> None:
        """Every pane anew."""
        if picture.services is None:
            return
        row = next((each for each in picture.services.services if each.name == self.service), None)
        if row is None:
            gone = f"{self.service} is not in the mesh (any more): Esc goes back"
            self.query_one("#how", Static).update(paint(gone, "partial"))
            return
        self.query_one("#how", Static).update(_summary(row))
        told = picture.fetched.get("services", self.session.now())
        shown = trend.trend_lines(row.history, picture.revisions or (), told, self.size.width)
        self.query_one("#trend", Static).update(Content("\n").join(shown))
        self._show_panes(picture)

    def _show_panes(self, picture: DashboardState) -> None:
        events, now = self._events or (), self.session.now()
        self._fill(
            "instances",
            [
                detail_rows.instance_row(each, table.last_change(events, each.name), now)
                for each in picture.instances or ()
                if each.service == self.service
            ]
            or [
                detail_rows.proxy_row(each) for each in picture.proxies or () if each.service == self.service
            ],
        )
        edges = picture.topology.edges if picture.topology else ()
        near = [each for each in edges if self.service in (each.from_, each.to)]
        near.sort(key=lambda each: (each.from_ == self.service, each.success, each.from_, each.to))
        self._fill("calls", [table.edge_row(each, self.service) for each in near])
        if picture.policies:
            known = {(p.kind, p.name): p for p in picture.status.policies} if picture.status else {}
            found = effective_policies(picture.policies.documents, self.service)
            rows = [detail_rows.policy_row(each, known.get((each.kind, each.name))) for each in found]
            self._fill("policies", rows)
        self._fill("traces", [detail_rows.trace_row(each) for each in self._traces or ()])
        self._fill("events", [table.event_row(each) for each in events])

    def _fill(self, pane: str, rows: list[TableRow]) -> None:
        self.query_one(f"#{pane}", TitledTable).set_rows(rows)

    def on_table_row_selected(self, message: Table.Chosen) -> None:
        """Enter on a row of a pane."""
        kind, _, rest = message.key.partition(" ")
        match message.table.parent.id if message.table.parent else "":
            case "instances":
                self.session.go(ProxyLocation(message.key))
            case "calls":
                self.session.go(EdgeLocation(*message.key.split(">", 1)))
            case "policies":
                self.session.go(PolicyLocation(kind, rest))
            case "traces":
                self.session.go(TraceLocation(message.key))
            case "events":
                self.session.go(EventsLocation(subject=self.service))

    def action_traces(self) -> None:
        """Its traces."""
        self.session.go(TracesLocation(self.service))

    def action_failed(self) -> None:
        """Those in which something failed."""
        self.session.go(TracesLocation(self.service, errors=True))

    def action_map(self) -> None:
        """Where it stands in the topology."""
        self.session.go(NodeLocation(self.service))

    def action_events(self) -> None:
        """What happened to it."""
        self.session.go(EventsLocation(subject=self.service))


def _summary(row: ServiceSummary) -> Content:
    """The figures of the table, in a line."""
    breaker = format.BREAKER_LABELS.get(row.breaker, format.UNKNOWN_LABEL)
    healthy = "gateway" if row.role == "gateway" else f"{row.healthy}/{row.instances} healthy"
    parts = [
        paint(row.name, "strong"),
        status_text(format.HEALTH_LABELS.get(row.health, format.UNKNOWN_LABEL)),
        paint(healthy, "plain" if row.healthy == row.instances else "bad"),
        paint(f"{format.format_number(row.rps)}/s"),
    ]
    if row.rps:
        failing = table.success_cell(row.success, row.rps)
        parts.append(paint(f"{failing.text} % ok", failing.tone))
        latencies = (format.format_latency(each) for each in (row.p50_ms, row.p95_ms, row.p99_ms))
        parts.append(paint(f"p50/95/99 {'/'.join(latencies)} ms"))
    if row.retries_per_s:
        parts.append(paint(f"{format.format_number(row.retries_per_s)} retr/s", "partial"))
    if row.breaker != "closed":
        parts.append(status_text(breaker, f", {row.ejected} out" if row.ejected else ""))
    return Content("  ").join(parts)
