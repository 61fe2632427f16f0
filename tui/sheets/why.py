"""Why a step of a trace failed: what the proxies tell, and the policies that explain it, a key away.

The control plane knows best, from the logs of every proxy on the way. Where it has none any more, Envoy's
flags in the spans say what happened, and which kinds of policy may have done it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from control_plane.api.requested import Blamed, Reason, Why
from control_plane.api.traced import Span, Trace
from control_plane.errors import MeshError
from tui import places, words
from tui.reasons import Suspect, explained, suspects
from tui.theme import paint, state
from tui.words import Said

if TYPE_CHECKING:
    from tui.app import Dash

VERDICT = {
    "failed": Said("✖", "failed", "bad"),
    "slow": Said("◐", "slow", "partial"),
    "fine": Said("●", "fine", "good"),
}


class Choice(NamedTuple):
    """A policy that may be opened, and what is said of it."""

    kind: str
    name: str
    said: str


class WhySheet(ModalScreen[places.Place | None]):
    """The policy that was chosen; None when none was."""

    DEFAULT_CSS = """
    WhySheet { align: center middle; background: $background 60%; }
    WhySheet > Vertical {
        width: 94%; max-width: 110; height: auto; max-height: 94%;
        border: round $accent; padding: 0 1; background: $background;
    }
    WhySheet VerticalScroll { height: auto; max-height: 1fr; }
    WhySheet VerticalScroll Static { height: auto; }
    WhySheet OptionList, WhySheet OptionList:focus {
        border: none; height: auto; max-height: 8; padding: 0; background: $background;
    }
    WhySheet OptionList > .option-list--option-highlighted,
    WhySheet OptionList:focus > .option-list--option-highlighted {
        background: $mesh-cursor; color: $foreground; text-style: bold;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, trace: Trace, span: Span) -> None:
        super().__init__()
        self._trace = trace
        self._span = span
        self._choices: list[Choice] = []

    def compose(self) -> ComposeResult:
        """What happened, and what explains it."""
        with Vertical() as sheet:
            sheet.border_title = Content(f"why: {words.clean(self._trace.request or self._trace.operation)}")
            sheet.border_subtitle = "Esc closes"
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
        try:
            why = await dash.source.ask(lambda client: client.why(self._trace.id))
        except MeshError:
            await self._guess()
            return
        chosen = {(one.kind, one.name): one for reason in why.reasons for one in reason.policies}
        self._show(
            list(told(why, dash.now())), [Choice(one.kind, one.name, one.says) for one in chosen.values()]
        )

    async def _guess(self) -> None:
        """By the spans alone."""
        dash = cast("Dash", self.app)
        policies = dash.picture.policies or await dash.ask(lambda client: client.policies())
        steps = explained(self._trace, self._span)
        found = suspects(steps, policies.documents if policies else ())
        self._show(list(seen(self._trace, self._span, steps)), [_choice(one) for one in found])

    def _show(self, lines: list[Content], choices: list[Choice]) -> None:
        self.query_one(Static).update(Content("\n").join(lines))
        self._choices = choices
        options = self.query_one(OptionList)
        for kind, name, said in choices:
            called = paint(f"→ {words.clean(kind)} {words.clean(name)}", "accent")
            options.add_option(Option(Content.assemble(called, paint(f"  {words.clean(said)}", "dim"))))
        options.display = bool(choices)
        if choices:
            self.query_one(Vertical).border_subtitle = "Enter opens the policy, Esc closes"
            options.highlighted = 0
            options.focus()
        else:
            self.query_one(VerticalScroll).focus()

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        chosen = self._choices[message.option_index]
        self.dismiss(places.Policy(chosen.kind, chosen.name))


def _choice(one: Suspect) -> Choice:
    return Choice(one.kind, one.name, f"may cause {one.flag.flag}")


def told(why: Why, now: float) -> Iterator[Content]:
    """What the control plane says."""
    verdict = VERDICT[why.verdict]
    yield Content.assemble(state(verdict), " ", words.clean(why.summary))
    for reason in why.reasons:
        yield Content("")
        yield from _reason(reason, now)


def _reason(reason: Reason, now: float) -> Iterator[Content]:
    flag = paint(f"{words.clean(reason.flag)} ", "bad") if reason.flag else Content("")
    yield Content.assemble(flag, words.clean(reason.words))
    ends = " → ".join(dict.fromkeys(words.clean(one) for one in (reason.caller, reason.callee) if one))
    by = words.clean(reason.proxy or reason.service)
    yield paint(f"  told by {by}{f', {ends}' if ends not in {'', by} else ''}", "dim")
    for policy in reason.policies:
        yield from _blamed(policy, now)


def _blamed(policy: Blamed, now: float) -> Iterator[Content]:
    says = f" ({words.clean(policy.says)})" if policy.says else ""
    called = f"{words.clean(policy.kind)} {words.clean(policy.name)}"
    yield Content.assemble("  ", paint(called, "strong"), says)
    if policy.revision:
        ago = f" · {words.age(now - policy.time)} ago" if policy.time else ""
        author = f" · {words.clean(policy.author)}" if policy.author else ""
        because = f" · {words.clean(policy.why)}" if policy.why else ""
        yield paint(f"    revision {policy.revision}{ago}{author}{because}", "dim")


def seen(trace: Trace, span: Span, steps: tuple[Span, ...]) -> Iterator[Content]:
    """What Envoy and the services say of a step in their spans."""
    if not trace.errors and not steps:
        yield Content.assemble(paint("●", "good"), " nothing failed in this trace")
        return
    if not steps:
        yield Content("No Envoy set a flag: the failure is a service's own answer, and no policy made it.")
    for step in steps:
        where = f" (at {words.clean(step.service)})" if step.id != span.id else ""
        for flag in step.flags:
            kinds = f" (by {', '.join(flag.kinds)})" if flag.kinds else " (no policy causes it)"
            said = f" {words.clean(flag.meaning)}{where}"
            yield Content.assemble(paint(flag.flag, "bad"), said, paint(kinds, "dim"))
    for step in trace.tree:
        if step.error and step.message and not step.proxy:
            said = f" says: {words.clean(step.message)}"
            yield Content.assemble(paint(words.clean(step.service), "strong"), said)
