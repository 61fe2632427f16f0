"""One Envoy: how it is, what it refused last in its own words, and its whole configuration as a tree."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.base import ProxyDetail
from meshwright.control_plane.api.models.events import Event
from meshwright.tui import format
from meshwright.tui.features.sidecars import table
from meshwright.tui.features.sidecars.config_view import ConfigTree
from meshwright.tui.mesh_state import DashboardState, StateField
from meshwright.tui.navigation import EventsLocation, Location, ServiceLocation
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint, status_text

EVENT_LIMIT = 500
"""Events among which its last refusal is looked for."""


class SidecarDetailScreen(MeshScreen):
    """A sidecar, or a gateway's proxy, in detail."""

    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"proxies"})
    SEARCH_HINT: ClassVar[str] = "part of a key, name or value of the configuration"
    HELP: ClassVar[str] = (
        "One Envoy and the configuration that it runs with, asked of itself; private keys are hidden. "
        "Enter unfolds a branch, / leaves only what holds a text, a asks anew."
    )
    DEFAULT_CSS = """
    ProxyScreen #how { height: auto; padding: 0 1; }
    ProxyScreen #nack { height: auto; max-height: 6; padding: 0 1; display: none; }
    ProxyScreen #nack.-any { display: block; }
    ProxyScreen #told { height: 1; padding: 0 1; color: $mesh-muted; border-top: none; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "again", "ask anew"),
        Binding("s", "service", "its service"),
        Binding("e", "events", "events"),
    ]

    def __init__(self, location: Location, name: str) -> None:
        super().__init__(location)
        self.proxy_name = name
        self._last_rejection: Event | None = None

    def compose_body(self) -> ComposeResult:
        """How it is, what it refused, its configuration."""
        yield Static(id="how")
        with VerticalScroll(id="nack", can_focus=False):
            yield Static()
        yield Static("asking it for its configuration …", id="told", markup=False)
        yield ConfigTree()

    def on_mount(self) -> None:
        """Ask at once."""
        self.query_one(ConfigTree).focus()
        self.load()

    @work(exclusive=True)
    async def load(self) -> None:
        """Its configuration, and what it refused last."""
        told = self.query_one("#told", Static)
        events = await self.session.call(lambda client: client.events(EVENT_LIMIT, kind="nack"), quiet=True)
        self._last_rejection = next((each for each in events or () if each.subject == self.proxy_name), None)
        self.refresh_data(self.mesh_state)
        found = await self.session.call(lambda client: client.proxy_config(self.proxy_name))
        if found is None:
            told.update("its configuration could not be had: a asks anew")
            return
        self.query_one(ConfigTree).set_dump(found)
        told.update(f"configuration, as it told at {format.format_time(self.session.now())}")

    def refresh_data(self, picture: DashboardState) -> None:
        """How it is now."""
        if picture.proxies is None:
            return
        proxy = next((each for each in picture.proxies if each.name == self.proxy_name), None)
        how = self.query_one("#how", Static)
        if proxy is None:
            how.update(paint(f"{self.proxy_name} is not connected (any more): Esc goes back", "partial"))
            return
        how.update(_summary(proxy, self.session.now()))
        nack = self.query_one("#nack")
        refusal = _rejection(proxy, self._last_rejection)
        nack.set_class(bool(refusal), "-any")
        nack.query_one(Static).update(refusal or Content(""))

    def apply_search(self, text: str) -> None:
        """Only what holds the text."""
        found = self.query_one(ConfigTree).filter_text(text)
        places = "1 place holds" if found == 1 else f"{found} places hold"
        words_of = f"{places} {text!r}" if text else "the whole configuration"
        self.query_one("#told", Static).update(format.sanitize(words_of))

    def action_again(self) -> None:
        """Ask it once more."""
        self.load()

    def action_service(self) -> None:
        """Whose it is."""
        for each in self.mesh_state.proxies or ():
            if each.name == self.proxy_name:
                self.session.go(ServiceLocation(each.service))

    def action_events(self) -> None:
        """What happened to it."""
        self.session.go(EventsLocation(subject=self.proxy_name))


def _summary(proxy: ProxyDetail, now: float) -> Content:
    expiry = table.expiry_cell(proxy.expires, now)
    parts = [
        paint(proxy.name, "strong"),
        paint(f"of {proxy.service}", "dim"),
        status_text(format.PROXY_LABELS.get(proxy.state, format.UNKNOWN_LABEL)),
        paint(f"rev {proxy.revision}"),
    ]
    if proxy.pending:
        parts.append(paint(f"{proxy.pending} unanswered", "partial"))
    if proxy.reported:
        parts += [
            Content.assemble("certificate ", paint(expiry.text, expiry.tone)),
            paint(f"Envoy {proxy.version}"),
            paint(format.format_mib(proxy.memory)),
            paint(f"up {format.format_age(proxy.uptime)}", "dim"),
        ]
    else:
        parts.append(paint("it tells nothing of itself", "partial"))
    return Content("  ").join(parts)


def _rejection(proxy: ProxyDetail, last: Event | None) -> Content | None:
    """What it refuses now, else what it refused last."""
    if proxy.error:
        return Content.assemble(paint("✖ refuses ", "bad"), words.clean(proxy.error))
    if last is None:
        return None
    when = paint(f"last refusal {format.format_time(last.time)} ", "dim")
    return Content.assemble(when, format.sanitize(last.message))
