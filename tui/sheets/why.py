"""Why a step of a trace failed: Envoy's words, and the policies that explain it, a key away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from control_plane.api.traced import Span, Trace
from tui import places, words
from tui.reasons import explained, suspects
from tui.theme import paint

if TYPE_CHECKING:
    from tui.app import Dash


class WhySheet(ModalScreen[places.Place | None]):
    """The policy that was chosen; None when none was."""

    DEFAULT_CSS = """
    WhySheet { align: center middle; background: $background 60%; }
    WhySheet > Vertical {
        width: 90%; max-width: 96; height: auto; max-height: 90%;
        border: round $accent; padding: 0 1; background: $background;
    }
    WhySheet VerticalScroll { height: auto; max-height: 1fr; }
    WhySheet OptionList, WhySheet OptionList:focus {
        border: none; height: auto; max-height: 10; padding: 0; background: $background;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, trace: Trace, span: Span) -> None:
        super().__init__()
        self._trace = trace
        self._span = span
        self._targets: list[places.Place] = []

    def compose(self) -> ComposeResult:
        """What happened, and what explains it."""
        with Vertical() as sheet:
            sheet.border_title = Content(f"why: {words.clean(self._span.service)}")
            sheet.border_subtitle = "Enter opens a policy, Esc closes"
            with VerticalScroll():
                yield Static(paint("looking", "dim"))
            yield OptionList()

    def on_mount(self) -> None:
        """Look for what explains it."""
        self.query_one(OptionList).display = False
        self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        dash = cast("Dash", self.app)
        policies = dash.picture.policies or await dash.ask(lambda client: client.policies())
        steps = explained(self._trace, self._span)
        found = suspects(steps, policies.documents if policies else ())
        self.query_one(Static).update(Content("\n").join(told(self._trace, self._span, steps)))
        options = self.query_one(OptionList)
        for one in found:
            self._targets.append(places.Policy(one.kind, one.name))
            name = f"{words.clean(one.kind)} {words.clean(one.name)}"
            options.add_option(
                Option(Content.assemble(paint(name, "accent"), paint(f"  may cause {one.flag.flag}", "dim")))
            )
        options.display = bool(found)
        if found:
            options.highlighted = 0
            options.focus()

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        self.dismiss(self._targets[message.option_index])


def told(trace: Trace, span: Span, steps: tuple[Span, ...]) -> Iterator[Content]:
    """What Envoy and the services say of a step."""
    if not trace.errors and not steps:
        yield Content.assemble(paint("●", "good"), " nothing failed in this trace")
        return
    if not steps:
        yield Content(
            "No Envoy set a flag: the failure is an answer of a service, and no policy of the mesh made it."
        )
    for step in steps:
        where = f" (at {words.clean(step.service)})" if step.id != span.id else ""
        for flag in step.flags:
            kinds = f": {', '.join(flag.kinds)}" if flag.kinds else ": no policy causes it"
            said = f" {words.clean(flag.meaning)}{where}"
            yield Content.assemble(paint(flag.flag, "bad"), said, paint(kinds, "dim"))
    for step in trace.tree:
        if step.error and step.message and not step.proxy:
            yield Content.assemble(
                paint(words.clean(step.service), "strong"), f" says: {words.clean(step.message)}"
            )
