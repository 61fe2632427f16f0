"""One Envoy: how it is, what it refused last in its own words, and its whole configuration as a tree."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from control_plane.api.happened import Event
from control_plane.api.types import ProxyDetail
from tui import sidecar_table, words
from tui.picture import Part, Picture
from tui.places import Happenings, Place, Service
from tui.screens.base import MeshScreen
from tui.theme import paint, state
from tui.widgets.config import ConfigTree

LOOKED = 500
"""Events among which its last refusal is looked for."""


class ProxyScreen(MeshScreen):
    """A sidecar, or a gateway's proxy, in detail."""

    NEEDS: ClassVar[frozenset[Part]] = frozenset({"proxies"})
    SEARCH: ClassVar[str] = "part of a key, name or value of the configuration"
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

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place)
        self.subject = name
        self._refused: Event | None = None

    def body(self) -> ComposeResult:
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
        events = await self.dash.ask(lambda client: client.events(LOOKED, kind="nack"), quiet=True)
        self._refused = next((each for each in events or () if each.subject == self.subject), None)
        self.show_picture(self.picture)
        found = await self.dash.ask(lambda client: client.proxy_config(self.subject))
        if found is None:
            told.update("its configuration could not be had: a asks anew")
            return
        self.query_one(ConfigTree).show(found)
        told.update(f"configuration, as it told at {words.clock(self.dash.now())}")

    def show_picture(self, picture: Picture) -> None:
        """How it is now."""
        if picture.proxies is None:
            return
        proxy = next((each for each in picture.proxies if each.name == self.subject), None)
        how = self.query_one("#how", Static)
        if proxy is None:
            how.update(paint(f"{self.subject} is not connected (any more): Esc goes back", "partial"))
            return
        how.update(_how(proxy, self.dash.now()))
        nack = self.query_one("#nack")
        refusal = _refusal(proxy, self._refused)
        nack.set_class(bool(refusal), "-any")
        nack.query_one(Static).update(refusal or Content(""))

    def find(self, text: str) -> None:
        """Only what holds the text."""
        found = self.query_one(ConfigTree).find(text)
        places = "1 place holds" if found == 1 else f"{found} places hold"
        words_of = f"{places} {text!r}" if text else "the whole configuration"
        self.query_one("#told", Static).update(words.clean(words_of))

    def action_again(self) -> None:
        """Ask it once more."""
        self.load()

    def action_service(self) -> None:
        """Whose it is."""
        for each in self.picture.proxies or ():
            if each.name == self.subject:
                self.dash.go(Service(each.service))

    def action_events(self) -> None:
        """What happened to it."""
        self.dash.go(Happenings(subject=self.subject))


def _how(proxy: ProxyDetail, now: float) -> Content:
    expiry = sidecar_table.expiry(proxy.expires, now)
    parts = [
        paint(proxy.name, "strong"),
        paint(f"of {proxy.service}", "dim"),
        state(words.PROXY.get(proxy.state, words.UNKNOWN)),
        paint(f"rev {proxy.revision}"),
    ]
    if proxy.pending:
        parts.append(paint(f"{proxy.pending} unanswered", "partial"))
    if proxy.reported:
        parts += [
            Content.assemble("certificate ", paint(expiry.text, expiry.tone)),
            paint(f"Envoy {proxy.version}"),
            paint(words.size(proxy.memory)),
            paint(f"up {words.age(proxy.uptime)}", "dim"),
        ]
    else:
        parts.append(paint("it tells nothing of itself", "partial"))
    return Content("  ").join(parts)


def _refusal(proxy: ProxyDetail, last: Event | None) -> Content | None:
    """What it refuses now, else what it refused last."""
    if proxy.error:
        return Content.assemble(paint("✖ refuses ", "bad"), words.clean(proxy.error))
    if last is None:
        return None
    when = paint(f"last refusal {words.clock(last.time)} ", "dim")
    return Content.assemble(when, words.clean(last.message))
