"""One Envoy: its state, its last rejection in Envoy's own message, and its configuration as a tree."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.tui import keys
from meshwright.tui.features.sidecars import config_tree
from meshwright.tui.features.sidecars.config_view import ConfigTree
from meshwright.tui.features.sidecars.table import expiry_cell
from meshwright.tui.format import (
    PROXY_LABELS,
    UNKNOWN_LABEL,
    format_age,
    format_mib,
    format_time,
    sanitize,
)
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import (
    EventsLocation,
    LiveRequestsLocation,
    LogsLocation,
    ProxyLocation,
    ServiceLocation,
)
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text

EVENT_LIMIT = 500
"""Rejection events that are searched for the last one of this proxy."""


class SidecarDetailScreen(MeshScreen):
    """The Envoy of a sidecar or gateway in detail."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"proxies"})
    SEARCH_HINT: ClassVar[str] = "part of a key, name or value of the configuration"
    SEARCH_FIELDS: ClassVar[frozenset[StateField]] = frozenset()
    HELP: ClassVar[str] = (
        "One Envoy and the configuration that it runs, dumped by Envoy itself without private keys. Enter "
        "expands a branch, / shows only matches, u reloads the configuration."
    )
    DEFAULT_CSS = """
    SidecarDetailScreen #summary { height: auto; padding: 0 1; }
    SidecarDetailScreen #rejection { height: auto; max-height: 6; padding: 0 1; display: none; }
    SidecarDetailScreen #rejection.-any { display: block; }
    SidecarDetailScreen #config-title {
        height: 1; padding: 0 1; color: $mesh-muted; border-top: none; background: $panel;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.LOGS, "logs"),
        bind(keys.LIVE_REQUESTS, "live_requests"),
        bind(keys.RELOAD, "reload"),
        bind(keys.SERVICE, "service"),
        bind(keys.HISTORY, "events"),
    ]

    def __init__(self, location: ProxyLocation) -> None:
        super().__init__(location)
        self.proxy_name = location.name
        self.service = location.service
        self._last_rejection: Event | None = None

    def compose_body(self) -> ComposeResult:
        """Summary, rejection and configuration."""
        yield Static(id="summary")
        with VerticalScroll(id="rejection", can_focus=False):
            yield Static()
        yield Static("loading the configuration …", id="config-title", markup=False)
        yield ConfigTree()

    def on_mount(self) -> None:
        """Fetch the configuration."""
        self.query_one(ConfigTree).focus()
        self.load()

    @work(exclusive=True)
    async def load(self) -> None:
        """Fetch the last rejection and the configuration."""
        title = self.query_one("#config-title", Static)
        events = await self.session.call(lambda client: client.events(EVENT_LIMIT, kind="nack"), quiet=True)
        rejections = (event for event in events or () if event.subject == self.proxy_name)
        self._last_rejection = next(rejections, None)
        self.refresh_data(self.mesh_state)
        name = f"{self.service}/{self.proxy_name}" if self.service else self.proxy_name
        configs = await self.session.call(lambda client: client.proxy_config(name))
        if configs is None:
            title.update("the configuration is unavailable: u tries again")
            return
        for tree in self.query(ConfigTree):
            tree.set_dump(configs)
        parts = (f"configuration at {format_time(self.session.now())}", config_tree.patch_summary(configs))
        title.update(f"   {signs.PARTIAL} ".join(filter(None, parts)))

    def refresh_data(self, state: DashboardState) -> None:
        """Show the current state of the proxy."""
        if state.proxies is None or not self.query("#summary"):  # removed while a request was running
            return
        proxy = self._proxy(state)
        summary = self.query_one("#summary", Static)
        if proxy is None:
            text = f"{self.proxy_name} is not connected, or no longer: Esc goes back"
            summary.update(paint(text, "partial"))
            return
        summary.update(_summary(proxy, self.session.now()))
        area = self.query_one("#rejection")
        rejection = _rejection(proxy, self._last_rejection)
        area.set_class(bool(rejection), "-any")
        area.query_one(Static).update(rejection or Content(""))

    @property
    def search_help(self) -> str:
        """A configuration is searched for a text as it is."""
        return self.SEARCH_HINT

    def apply_search(self, text: str) -> None:
        """Show only the branches that contain the text."""
        count = self.query_one(ConfigTree).filter_text(text)
        matches = "1 match" if count == 1 else f"{count} matches"
        title = f"{matches} for {text!r}" if text else "the whole configuration"
        self.query_one("#config-title", Static).update(sanitize(title))

    def action_reload(self) -> None:
        """Fetch the configuration again."""
        self.load()

    def action_service(self) -> None:
        """The service of this proxy."""
        proxy = self._proxy(self.mesh_state)
        if proxy is not None:
            self.session.go(ServiceLocation(proxy.service))

    def action_logs(self) -> None:
        """Its logs, and those of the app beside it."""
        if proxy := self._proxy(self.mesh_state):
            self.session.go(LogsLocation(proxy.service, proxy.name))

    def action_live_requests(self) -> None:
        """Its requests as they occur."""
        if proxy := self._proxy(self.mesh_state):
            self.session.go(LiveRequestsLocation(proxy.service, proxy.name))

    def action_events(self) -> None:
        """Events of this proxy."""
        self.session.go(EventsLocation(subject=self.proxy_name))

    def _proxy(self, state: DashboardState) -> ProxyDetail | None:
        """The proxy in the current state; names are unique only within a service."""
        named = (proxy for proxy in state.proxies or () if proxy.name == self.proxy_name)
        return next((proxy for proxy in named if self.service in ("", proxy.service)), None)


def _summary(proxy: ProxyDetail, now: float) -> Content:
    """State and figures in one line."""
    parts = [
        paint(proxy.name, "strong"),
        paint(f"of {proxy.service}", "dim"),
        status_text(PROXY_LABELS.get(proxy.state, UNKNOWN_LABEL)),
        paint(f"rev {proxy.revision}"),
    ]
    if proxy.pending:
        parts.append(paint(f"{proxy.pending} responses not ACKed", "partial"))
    if proxy.reported:
        expiry = expiry_cell(proxy.expires, now)
        parts += [
            Content.assemble("certificate ", paint(expiry.text, expiry.tone)),
            paint(f"Envoy {proxy.version}"),
            paint(format_mib(proxy.memory)),
            paint(f"up {format_age(proxy.uptime)}", "dim"),
        ]
    else:
        parts.append(paint("no recent report", "partial"))
    return Content("  ").join(parts)


def _rejection(proxy: ProxyDetail, last: Event | None) -> Content | None:
    """What the proxy rejects now, else its last rejection."""
    if proxy.error:
        return Content.assemble(paint(f"{signs.BAD} rejects ", "bad"), sanitize(proxy.error))
    if last is None:
        return None
    return Content.assemble(paint(f"last rejection {format_time(last.time)} ", "dim"), sanitize(last.message))
