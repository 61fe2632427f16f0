"""One service: summary, trend, instances, callers and callees, policies, traces and events."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.policies import AttachedPolicy
from meshwright.control_plane.api.models.topology import HealthThresholds, ServiceSummary
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui import keys
from meshwright.tui.features.change.screen import ChangesTraffic
from meshwright.tui.features.events.table import EVENT_COLUMNS, event_row, is_about, last_change
from meshwright.tui.features.services import detail_rows
from meshwright.tui.features.services.table import EDGE_COLUMNS, edge_row, success_cell
from meshwright.tui.features.services.trend import trend_lines
from meshwright.tui.format import (
    BREAKER_LABELS,
    HEALTH_LABELS,
    UNKNOWN_LABEL,
    format_latency,
    format_number,
    success_tone,
)
from meshwright.tui.graph.edge_labels import QUIET_BREAKERS
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import (
    EdgeLocation,
    EventsLocation,
    ExplainLocation,
    LiveRequestsLocation,
    LogsLocation,
    NodeLocation,
    PolicyLocation,
    ProxyLocation,
    ServiceLocation,
    TraceLocation,
    TracesLocation,
)
from meshwright.tui.refusal_text import refusals_at
from meshwright.tui.screen import LOADING
from meshwright.tui.theme import paint, status_text
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableRow
from meshwright.tui.widgets.titled_table import TitledTable

RELOAD_SECONDS = 3.0
"""Seconds between two requests for policies, traces and events."""

WIDE_WIDTH, LOW_HEIGHT = 110, 20
"""Columns from which the panes are in two columns, and rows below which the trend is hidden."""

NO_POLICIES = "no policies: Envoy's defaults apply"
NO_TRACES = "no traces: is the service called, is tracing enabled?"
NO_EVENTS = "no recent events"

TRACE_LIMIT, EVENT_LIMIT = 20, 200
"""Traces that are listed, and events that are searched for those about the service."""


class ServiceDetailScreen(ChangesTraffic):
    """A service or gateway in detail."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset(
        {"services", "instances", "proxies", "revisions", "refusals"}
    )
    HELP: ClassVar[str] = (
        "One service: the bars show the last 15 minutes, ↑ marks new revisions. Tab goes from pane to pane, "
        "Enter opens a row: the sidecar of an instance, an edge of the topology, a policy, a trace."
    )
    DEFAULT_CSS = """
    ServiceDetailScreen #summary { height: auto; padding: 0 0 0 1; }
    ServiceDetailScreen #trend { height: 4; }
    ServiceDetailScreen.-low #trend { display: none; }
    ServiceDetailScreen #panes { height: 1fr; overflow: hidden hidden; }
    ServiceDetailScreen #left { height: 3fr; }
    ServiceDetailScreen #right { height: 2fr; }
    ServiceDetailScreen.-low #summary { height: 1; }
    ServiceDetailScreen.-low #panes { overflow: hidden auto; scrollbar-size-vertical: 0; }
    ServiceDetailScreen.-low #left, ServiceDetailScreen.-low #right { height: auto; width: 1fr; }
    ServiceDetailScreen.-low TitledTable { height: 1; min-height: 1; max-height: 4; }
    ServiceDetailScreen.-low TitledTable:focus-within { height: 4; }
    ServiceDetailScreen.-wide #panes { layout: horizontal; }
    ServiceDetailScreen.-wide #left { height: 1fr; width: 1fr; }
    ServiceDetailScreen.-wide #right { height: 1fr; width: 1fr; margin-left: 1; }
    ServiceDetailScreen.-wide #instances, ServiceDetailScreen.-wide #policies,
    ServiceDetailScreen.-wide #refusals,
    ServiceDetailScreen.-wide #calls { height: auto; max-height: 45%; }
    ServiceDetailScreen.-wide #instances Table, ServiceDetailScreen.-wide #policies Table,
    ServiceDetailScreen.-wide #refusals Table,
    ServiceDetailScreen.-wide #calls Table { height: auto; max-height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.LOGS, "logs"),
        bind(keys.LIVE_REQUESTS, "live_requests"),
        bind(keys.EXPLAIN, "explain"),
        bind(keys.TRACES, "traces"),
        bind(keys.FAILED, "failed_traces"),
        bind(keys.TOPOLOGY, "topology"),
        bind(keys.HISTORY, "events"),
    ]

    def __init__(self, location: ServiceLocation) -> None:
        super().__init__(location)
        self.service = location.name
        self._policies: tuple[AttachedPolicy, ...] | None = None
        self._traces: tuple[TraceSummary, ...] | None = None
        self._events: tuple[Event, ...] | None = None

    def compose_body(self) -> ComposeResult:
        """Summary, trend and panes; that of refusals only while there are some."""
        with Vertical():
            yield Static(id="summary")
            yield Static(id="trend")
            with Container(id="panes"):
                with Vertical(id="left"):
                    yield TitledTable("instances", detail_rows.INSTANCE_COLUMNS, "no instances")
                    yield TitledTable("calls", EDGE_COLUMNS, "no requests in the last minute")
                    yield TitledTable("events", EVENT_COLUMNS[:5], LOADING)
                with Vertical(id="right"):
                    yield TitledTable("policies", detail_rows.POLICY_COLUMNS, LOADING)
                    yield TitledTable("refusals", detail_rows.REFUSAL_COLUMNS, "")
                    yield TitledTable("traces", detail_rows.TRACE_COLUMNS, LOADING)

    def on_mount(self) -> None:
        """Fetch policies, traces and events at an interval of their own."""
        self.set_interval(RELOAD_SECONDS, self.load)
        self.load()

    def on_resize(self, event: Resize) -> None:
        """Arrange the panes according to the size."""
        self.set_class(event.size.width >= WIDE_WIDTH, "-wide")
        self.set_class(event.size.height < LOW_HEIGHT, "-low")
        self.refresh_data(self.mesh_state)

    @work(exclusive=True)
    async def load(self) -> None:
        """Fetch the service's policies, newest traces and events."""
        if not self.is_current:
            return
        policies = await self.session.call(lambda client: client.service_policies(self.service), quiet=True)
        traces = await self.session.call(
            lambda client: client.traces(service=self.service, limit=TRACE_LIMIT), quiet=True
        )
        events = await self.session.call(lambda client: client.events(EVENT_LIMIT), quiet=True)
        if policies is not None:
            self._policies = policies.policies
        if traces is not None:
            self._traces = traces
        if events is not None:
            self._events = tuple(event for event in events if is_about(event, self.service))
        self.refresh_data(self.mesh_state)

    def refresh_data(self, state: DashboardState) -> None:
        """Update summary, trend and panes."""
        if state.services is None or not self.query("#summary"):  # removed while a request was running
            return
        services = state.services.services
        service = next((service for service in services if service.name == self.service), None)
        if service is None:
            text = f"{self.service} is not in the mesh, or no longer: Esc goes back"
            self.query_one("#summary", Static).update(paint(text, "partial"))
            return
        thresholds = state.topology.thresholds if state.topology else HealthThresholds()
        self.query_one("#summary", Static).update(_summary(service, thresholds))
        fetched = state.fetched.get("services", self.session.now())
        trend = trend_lines(service.history, state.revisions or (), fetched, self.size.width)
        self.query_one("#trend", Static).update(Content("\n").join(trend))
        self._fill_panes(state)

    def _fill_panes(self, state: DashboardState) -> None:
        events, now = self._events or (), self.session.now()
        instances = [
            detail_rows.instance_row(instance, last_change(events, instance.name), now)
            for instance in state.instances or ()
            if instance.service == self.service
        ]
        proxies = [proxy for proxy in state.proxies or () if proxy.service == self.service]
        self._fill("instances", instances or [detail_rows.proxy_row(proxy) for proxy in proxies])
        edges = state.topology.edges if state.topology else ()
        edges_here = [edge for edge in edges if self.service in (edge.from_, edge.to)]
        edges_here.sort(key=lambda edge: (edge.from_ == self.service, edge.success, edge.from_, edge.to))
        self._fill("calls", [edge_row(edge, self.service) for edge in edges_here])
        refusals = refusals_at(state.refusals.refusals if state.refusals else (), self.service)
        self.query_one("#refusals", TitledTable).display = bool(refusals)
        self._fill("refusals", [detail_rows.refusal_row(refusal, self.service) for refusal in refusals])
        if self._policies is not None:
            statuses = state.status.policies if state.status else ()
            by_key = {(status.kind, status.name): status for status in statuses}
            rows = [
                detail_rows.policy_row(policy, by_key.get((policy.kind, policy.name)))
                for policy in self._policies
            ]
            self._fill("policies", rows, NO_POLICIES)
        if self._traces is not None:
            self._fill("traces", [detail_rows.trace_row(trace) for trace in self._traces], NO_TRACES)
        if self._events is not None:
            self._fill("events", [event_row(event) for event in events], NO_EVENTS)

    def _fill(self, pane: str, rows: list[TableRow], empty: str = "") -> None:
        """Show rows in a pane. `empty`: the text without rows, if it differs from the initial one."""
        table = self.query_one(f"#{pane}", TitledTable)
        if empty:
            table.set_empty(empty)
        table.set_rows(rows)

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: open the row of a pane."""
        match message.table.parent.id if message.table.parent else "":
            case "instances":
                self.session.go(ProxyLocation(message.key, self.service))
            case "calls":
                self.session.go(EdgeLocation(*message.key.split(">", 1)))
            case "policies":
                self.session.go(PolicyLocation(*message.key.split(" ")[:2]))
            case "refusals":
                self._go_to_refusing(message.key.partition(" ")[0])
            case "traces":
                self.session.go(TraceLocation(message.key))
            case "events":
                self.session.go(EventsLocation(subject=self.service))

    def _go_to_refusing(self, policy: str) -> None:
        """The policy that refused (`Kind/name`); of a handshake the events, which say why."""
        if policy:
            self.session.go(PolicyLocation(*policy.split("/", 1)))
        else:
            self.session.go(EventsLocation(subject=self.service))

    def action_logs(self) -> None:
        """Logs of the service."""
        self.session.go(LogsLocation(self.service))

    def action_live_requests(self) -> None:
        """Live requests of the service."""
        self.session.go(LiveRequestsLocation(self.service))

    def action_explain(self) -> None:
        """What becomes of a request to the service: on the selected call, else of its usual caller."""
        self.session.go(ExplainLocation(*self.selected_traffic()))

    def selected_traffic(self) -> tuple[str, str]:
        """What `c` changes: the selected call, else the service."""
        calls = self.query_one("#calls Table", Table)
        caller, _, callee = calls.selected_key.partition(">") if calls.has_focus else ("", "", "")
        return callee or self.service, caller

    def action_traces(self) -> None:
        """Traces of the service."""
        self.session.go(TracesLocation(self.service))

    def action_failed_traces(self) -> None:
        """Failed traces of the service."""
        self.session.go(TracesLocation(self.service, errors=True))

    def action_topology(self) -> None:
        """The service in the topology."""
        self.session.go(NodeLocation(self.service))

    def action_events(self) -> None:
        """Events of the service."""
        self.session.go(EventsLocation(subject=self.service))


def _summary(service: ServiceSummary, thresholds: HealthThresholds) -> Content:
    """Health and figures in one line."""
    breaker = BREAKER_LABELS.get(service.breaker, UNKNOWN_LABEL)
    gateway = service.role == "gateway"
    instances = "gateway" if gateway else f"{service.healthy}/{service.instances} healthy"
    parts = [
        paint(service.name, "strong"),
        status_text(HEALTH_LABELS.get(service.health, UNKNOWN_LABEL)),
        paint(instances, "plain" if service.healthy == service.instances else "bad"),
        paint(f"{format_number(service.rps)}/s"),
    ]
    if service.rps:
        tone = success_tone(service.success, thresholds)
        success = success_cell(service.success, service.rps, tone)
        parts.append(paint(f"{success.text} % ok", success.tone))
        latencies = (format_latency(value) for value in (service.p50_ms, service.p95_ms, service.p99_ms))
        parts.append(paint(f"p50/95/99 {'/'.join(latencies)} ms"))
    if service.retries_per_s:
        parts.append(paint(f"{format_number(service.retries_per_s)} retries/s", "partial"))
    if service.breaker not in QUIET_BREAKERS:
        parts.append(status_text(breaker, f", {service.ejected} ejected" if service.ejected else ""))
    return Content("  ").join(parts)
