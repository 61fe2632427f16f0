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

from meshwright.control_plane.api.models.requests import Cause, Explanation, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.control_plane.errors import MeshError
from meshwright.tui import format, navigation
from meshwright.tui.features.traces.trace_policies import PossiblePolicy, flagged_spans, possible_policies
from meshwright.tui.format import StatusLabel
from meshwright.tui.theme import paint, status_text

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp

VERDICT_LABELS = {
    "failed": StatusLabel("✖", "failed", "bad"),
    "slow": StatusLabel("◐", "slow", "partial"),
    "fine": StatusLabel("●", "fine", "good"),
}


class PolicyChoice(NamedTuple):
    """A policy that may be opened, and what is said of it."""

    kind: str
    name: str
    note: str


class WhyDialog(ModalScreen[navigation.Location | None]):
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
        self._choices: list[PolicyChoice] = []

    def compose(self) -> ComposeResult:
        """What happened, and what explains it."""
        with Vertical() as sheet:
            sheet.border_title = Content(
                f"why: {format.sanitize(self._trace.request or self._trace.operation)}"
            )
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
        dash = cast("DashboardApp", self.app)
        try:
            why = await dash.poller.call(lambda client: client.explain(self._trace.id))
        except MeshError:
            await self._load_from_spans()
            return
        chosen = {(one.kind, one.name): one for reason in why.causes for one in reason.policies}
        self._show(
            list(explanation_lines(why, dash.now())),
            [PolicyChoice(one.kind, one.name, one.excerpt) for one in chosen.values()],
        )

    async def _load_from_spans(self) -> None:
        """By the spans alone."""
        dash = cast("DashboardApp", self.app)
        policies = dash.mesh_state.policies or await dash.call(lambda client: client.policies())
        steps = flagged_spans(self._trace, self._span)
        found = possible_policies(steps, policies.documents if policies else ())
        self._show(list(span_lines(self._trace, self._span, steps)), [_policy_choice(one) for one in found])

    def _show(self, lines: list[Content], choices: list[PolicyChoice]) -> None:
        self.query_one(Static).update(Content("\n").join(lines))
        self._choices = choices
        options = self.query_one(OptionList)
        for kind, name, said in choices:
            called = paint(f"→ {format.sanitize(kind)} {format.sanitize(name)}", "accent")
            options.add_option(Option(Content.assemble(called, paint(f"  {format.sanitize(said)}", "dim"))))
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
        self.dismiss(navigation.PolicyLocation(chosen.kind, chosen.name))


def _policy_choice(one: PossiblePolicy) -> PolicyChoice:
    return PolicyChoice(one.kind, one.name, f"may cause {one.flag.flag}")


def explanation_lines(why: Explanation, now: float) -> Iterator[Content]:
    """What the control plane says."""
    verdict = VERDICT_LABELS[why.verdict]
    yield Content.assemble(status_text(verdict), " ", format.sanitize(why.summary))
    for reason in why.causes:
        yield Content("")
        yield from _cause_lines(reason, now)


def _cause_lines(reason: Cause, now: float) -> Iterator[Content]:
    flag = paint(f"{format.sanitize(reason.flag)} ", "bad") if reason.flag else Content("")
    yield Content.assemble(flag, format.sanitize(reason.message))
    ends = " → ".join(dict.fromkeys(words.clean(one) for one in (reason.caller, reason.callee) if one))
    by = format.sanitize(reason.proxy or reason.service)
    yield paint(f"  told by {by}{f', {ends}' if ends not in {'', by} else ''}", "dim")
    for policy in reason.policies:
        yield from _policy_lines(policy, now)


def _policy_lines(policy: ResponsiblePolicy, now: float) -> Iterator[Content]:
    says = f" ({format.sanitize(policy.excerpt)})" if policy.excerpt else ""
    called = f"{format.sanitize(policy.kind)} {format.sanitize(policy.name)}"
    yield Content.assemble("  ", paint(called, "strong"), says)
    if policy.revision:
        ago = f" · {format.format_age(now - policy.time)} ago" if policy.time else ""
        author = f" · {format.sanitize(policy.author)}" if policy.author else ""
        because = f" · {format.sanitize(policy.message)}" if policy.why else ""
        yield paint(f"    revision {policy.revision}{ago}{author}{because}", "dim")


def span_lines(trace: Trace, span: Span, steps: tuple[Span, ...]) -> Iterator[Content]:
    """What Envoy and the services say of a step in their spans."""
    if not trace.errors and not steps:
        yield Content.assemble(paint("●", "good"), " nothing failed in this trace")
        return
    if not steps:
        yield Content("No Envoy set a flag: the failure is a service's own answer, and no policy made it.")
    for step in steps:
        where = f" (at {format.sanitize(step.service)})" if step.id != span.id else ""
        for flag in step.flags:
            kinds = f" (by {', '.join(flag.kinds)})" if flag.kinds else " (no policy causes it)"
            said = f" {format.sanitize(flag.meaning)}{where}"
            yield Content.assemble(paint(flag.flag, "bad"), said, paint(kinds, "dim"))
    for step in trace.tree:
        if step.error and step.message and not step.proxy:
            said = f" says: {format.sanitize(step.message)}"
            yield Content.assemble(paint(format.sanitize(step.service), "strong"), said)
