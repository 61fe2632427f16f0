"""`:` goes to any location by name, with fuzzy completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.fuzzy import FuzzySearch
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from meshwright.tui import keys
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import (
    TABS,
    Location,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
)
from meshwright.tui.theme import paint

MATCH_LIMIT = 12
"""Matches that are listed."""

MIN_TRACE_DIGITS = 6
"""Hexadecimal digits from which a text may be a trace ID."""


class GoToTarget(NamedTuple):
    """A location with its name and kind."""

    name: str
    kind: str
    location: Location


def go_to_targets(state: DashboardState) -> Iterator[GoToTarget]:
    """Every location that the state names."""
    for name in TABS:
        yield GoToTarget(name, "screen", TabLocation(name))
    if state.topology:
        for node in state.topology.nodes:
            yield GoToTarget(node.name, node.role, ServiceLocation(node.name))
    if state.status:
        for proxy in state.status.proxies:
            yield GoToTarget(proxy.name, "sidecar", ProxyLocation(proxy.name, proxy.service))
        for policy in state.status.policies:
            location = PolicyLocation(policy.kind, policy.name)
            yield GoToTarget(f"{policy.kind} {policy.name}", "policy", location)


def matching_targets(targets: list[GoToTarget], text: str) -> list[GoToTarget]:
    """The best `MATCH_LIMIT` matches. A number is also a revision, hexadecimal digits also a trace ID."""
    query = text.strip()
    if not query:
        return targets[:MATCH_LIMIT]
    best: list[GoToTarget] = []
    if query.isdigit() and len(query) < MIN_TRACE_DIGITS:
        best.append(GoToTarget(f"revision {query}", "revision", RevisionLocation(int(query))))
    elif len(query) >= MIN_TRACE_DIGITS and set(query.lower()) <= set("0123456789abcdef"):
        best.append(GoToTarget(f"trace {query}", "trace", TraceLocation(query.lower())))
    search = FuzzySearch()
    scored = [(search.match(query, target.name)[0], target) for target in targets]
    matches = sorted(
        ((score, target) for score, target in scored if score > 0),
        key=lambda match: (not match[1].name.startswith(query), -match[0], match[1].name),
    )
    return (best + [target for _, target in matches])[:MATCH_LIMIT]


class GoTo(ModalScreen[Location | None]):
    """Returns the chosen location; None: closed without a choice."""

    DEFAULT_CSS = """
    GoTo { align: center top; background: $background 60%; }
    GoTo > Vertical {
        width: 90%; max-width: 70; height: auto; max-height: 90%; margin-top: 1;
        border: round $accent; background: $background;
    }
    GoTo Input, GoTo Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
    GoTo OptionList, GoTo OptionList:focus { border: none; height: auto; max-height: 12; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.BACK, "cancel"),
        Binding("down", "move(1)", keys.DOWN.word, priority=True),
        Binding("up", "move(-1)", keys.UP.word, priority=True),
    ]

    def __init__(self, state: DashboardState) -> None:
        super().__init__()
        self._targets = list(go_to_targets(state))
        self._matches: list[GoToTarget] = []

    def compose(self) -> ComposeResult:
        """The input and the matches."""
        with Vertical() as box:
            box.border_title = "go to"
            yield Input(placeholder="service, sidecar, policy, revision or trace ID", compact=True)
            yield OptionList()

    def on_mount(self) -> None:
        """Focus the input."""
        self.query_one(Input).focus()
        self._list_matches("")

    def on_input_changed(self, message: Input.Changed) -> None:
        """Update the matches."""
        self._list_matches(message.value)

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        """Enter: return the highlighted match."""
        self._choose(self.query_one(OptionList).highlighted)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the clicked match."""
        self._choose(message.option_index)

    def action_move(self, step: int) -> None:
        """Highlight another match."""
        options = self.query_one(OptionList)
        if self._matches:
            options.highlighted = ((options.highlighted or 0) + step) % len(self._matches)

    def action_cancel(self) -> None:
        """Close without a choice."""
        self.dismiss(None)

    def _list_matches(self, text: str) -> None:
        self._matches = matching_targets(self._targets, text)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            [
                Option(Content.assemble(f" {target.name}  ", paint(target.kind, "dim")))
                for target in self._matches
            ]
            or [Option(paint(" no match", "dim"), disabled=True)]
        )
        options.highlighted = 0 if self._matches else None

    def _choose(self, index: int | None) -> None:
        if index is not None and index < len(self._matches):
            self.dismiss(self._matches[index].location)
