"""`:`: to any place by its name, with completion that forgives."""

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
"""Hexadecimal digits from which a text may be a trace's id."""


class GoToTarget(NamedTuple):
    """Somewhere to jump to."""

    name: str
    kind: str
    location: Location


def go_to_targets(picture: DashboardState) -> Iterator[GoToTarget]:
    """Every place that the picture names."""
    for name in TABS:
        yield GoToTarget(name, "screen", TabLocation(name))
    if picture.topology:
        for node in picture.topology.nodes:
            yield GoToTarget(node.name, node.role, ServiceLocation(node.name))
    if picture.status:
        for proxy in picture.status.proxies:
            yield GoToTarget(proxy.name, "sidecar", ProxyLocation(proxy.name))
        for policy in picture.status.policies:
            yield GoToTarget(
                f"{policy.kind} {policy.name}", "policy", PolicyLocation(policy.kind, policy.name)
            )


def matching_targets(found: list[GoToTarget], text: str) -> list[GoToTarget]:
    """The best of them first, `SHOWN` at most; a number is a revision, hexadecimal digits a trace."""
    wanted = text.strip()
    best: list[GoToTarget] = []
    if wanted.isdigit() and len(wanted) < MIN_TRACE_DIGITS:
        best.append(GoToTarget(f"revision {wanted}", "revision", RevisionLocation(int(wanted))))
    elif len(wanted) >= MIN_TRACE_DIGITS and set(wanted.lower()) <= set("0123456789abcdef"):
        best.append(GoToTarget(f"trace {wanted}", "trace", TraceLocation(wanted.lower())))
    if not wanted:
        return found[:MATCH_LIMIT]
    search = FuzzySearch()
    scored = [(search.match(wanted, target.name)[0], target) for target in found]
    scored = sorted(
        (each for each in scored if each[0] > 0),
        key=lambda each: (not each[1].name.startswith(wanted), -each[0], each[1].name),
    )
    return (best + [target for _, target in scored])[:MATCH_LIMIT]


class GoTo(ModalScreen[Location | None]):
    """The place that was chosen; None when none was."""

    DEFAULT_CSS = """
    Jump { align: center top; background: $background 60%; }
    Jump > Vertical {
        width: 90%; max-width: 70; height: auto; max-height: 90%; margin-top: 1;
        border: round $accent; background: $background;
    }
    Jump Input, Jump Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
    Jump OptionList, Jump OptionList:focus { border: none; height: auto; max-height: 12; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close"),
        Binding("down", "move(1)", "next", priority=True),
        Binding("up", "move(-1)", "previous", priority=True),
    ]

    def __init__(self, picture: DashboardState) -> None:
        super().__init__()
        self._targets = list(go_to_targets(picture))
        self._matches: list[GoToTarget] = []

    def compose(self) -> ComposeResult:
        """A field and what matches."""
        with Vertical() as sheet:
            sheet.border_title = "jump to"
            yield Input(placeholder="service, sidecar, policy, revision or trace id", compact=True)
            yield OptionList()

    def on_mount(self) -> None:
        """The keys go to the field."""
        self.query_one(Input).focus()
        self._list("")

    def on_input_changed(self, message: Input.Changed) -> None:
        """Match anew."""
        self._list(message.value)

    def on_input_submitted(self, _message: Input.Submitted) -> None:
        """Enter: the one that is lit."""
        self._choose(self.query_one(OptionList).highlighted)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """A click."""
        self._choose(message.option_index)

    def action_move(self, step: int) -> None:
        """Light another."""
        shown = self.query_one(OptionList)
        if self._matches:
            shown.highlighted = ((shown.highlighted or 0) + step) % len(self._matches)

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)

    def _list(self, text: str) -> None:
        self._matches = matching_targets(self._targets, text)
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options(
            [
                Option(Content.assemble(f" {target.name}  ", paint(target.kind, "dim")))
                for target in self._matches
            ]
            or [Option(paint(" nothing has such a name", "dim"), disabled=True)]
        )
        shown.highlighted = 0 if self._matches else None

    def _choose(self, at: int | None) -> None:
        if at is not None and at < len(self._matches):
            self.dismiss(self._matches[at].location)
