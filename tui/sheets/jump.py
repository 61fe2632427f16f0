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

from tui.picture import Picture
from tui.places import TABS, Place, Policy, Proxy, Revision, Service, Tab, Trace
from tui.theme import paint

SHOWN = 12
"""Matches that are listed."""

TRACE_DIGITS = 6
"""Hexadecimal digits from which a text may be a trace's id."""


class Target(NamedTuple):
    """Somewhere to jump to."""

    name: str
    kind: str
    place: Place


def targets(picture: Picture) -> Iterator[Target]:
    """Every place that the picture names."""
    for name in TABS:
        yield Target(name, "screen", Tab(name))
    if picture.topology:
        for node in picture.topology.nodes:
            yield Target(node.name, node.role, Service(node.name))
    if picture.status:
        for proxy in picture.status.proxies:
            yield Target(proxy.name, "sidecar", Proxy(proxy.name))
        for policy in picture.status.policies:
            yield Target(f"{policy.kind} {policy.name}", "policy", Policy(policy.kind, policy.name))


def matching(found: list[Target], text: str) -> list[Target]:
    """The best of them first, `SHOWN` at most; a number is a revision, hexadecimal digits a trace."""
    wanted = text.strip()
    best: list[Target] = []
    if wanted.isdigit() and len(wanted) < TRACE_DIGITS:
        best.append(Target(f"revision {wanted}", "revision", Revision(int(wanted))))
    elif len(wanted) >= TRACE_DIGITS and set(wanted.lower()) <= set("0123456789abcdef"):
        best.append(Target(f"trace {wanted}", "trace", Trace(wanted.lower())))
    if not wanted:
        return found[:SHOWN]
    search = FuzzySearch()
    scored = [(search.match(wanted, target.name)[0], target) for target in found]
    scored = sorted(
        (each for each in scored if each[0] > 0),
        key=lambda each: (not each[1].name.startswith(wanted), -each[0], each[1].name),
    )
    return (best + [target for _, target in scored])[:SHOWN]


class Jump(ModalScreen[Place | None]):
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

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        self._all = list(targets(picture))
        self._matches: list[Target] = []

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
        self._matches = matching(self._all, text)
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
            self.dismiss(self._matches[at].place)
