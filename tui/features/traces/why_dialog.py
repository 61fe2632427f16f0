"""Explains why a request failed or was slow, and lists the responsible policies; Enter opens one.

The explanation comes from the control plane, which has the request logs of every proxy and the spans. While
it is unavailable the dialog shows the response flags of the trace's spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.requests import Cause, Explanation, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.control_plane.errors import MeshError
from meshwright.tui import keys, navigation
from meshwright.tui.format import StatusLabel, format_age, sanitize
from meshwright.tui.keys import bind
from meshwright.tui.screen import LOADING
from meshwright.tui.session import session_of
from meshwright.tui.theme import paint, status_text

VERDICT_LABELS = {
    "failed": StatusLabel(signs.BAD, "failed", "bad"),
    "refused": StatusLabel(signs.PARTIAL, "refused", "partial"),
    "slow": StatusLabel(signs.PARTIAL, "slow", "partial"),
    "fine": StatusLabel(signs.GOOD, "fine", "good"),
}


class WhyDialog(ModalScreen[navigation.Location | None]):
    """Returns the location of the chosen policy; None: closed without a choice."""

    DEFAULT_CSS = """
    WhyDialog { align: center middle; background: $background 60%; }
    WhyDialog > Vertical {
        width: 94%; max-width: 110; height: auto; max-height: 94%;
        border: round $accent; padding: 0 1; background: $background;
    }
    WhyDialog VerticalScroll { height: auto; max-height: 1fr; }
    WhyDialog VerticalScroll Static { height: auto; }
    WhyDialog OptionList, WhyDialog OptionList:focus {
        border: none; height: auto; max-height: 8; padding: 0; background: $background;
    }
    WhyDialog OptionList > .option-list--option-highlighted,
    WhyDialog OptionList:focus > .option-list--option-highlighted {
        background: $mesh-cursor; color: $foreground; text-style: bold;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.BACK, "dismiss(None)"),
        bind(keys.QUIT, "dismiss(None)"),
    ]

    def __init__(self, title: str, id: str, fallback: Iterable[Content] = ()) -> None:
        """`id`: of the request or its trace. `fallback` is shown while there is no explanation."""
        super().__init__()
        self._title = title
        self._request_id = id
        self._fallback = tuple(fallback)
        self._policies: list[ResponsiblePolicy] = []

    def compose(self) -> ComposeResult:
        """The explanation and the policies."""
        with Vertical() as box:
            box.border_title = Content(f"why: {sanitize(self._title)}")
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                yield Static(paint(LOADING, "dim"))
            yield OptionList()

    def on_mount(self) -> None:
        """Fetch the explanation."""
        self.query_one(OptionList).display = False
        self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        session = session_of(self)
        try:
            explanation = await session.poller.call(lambda client: client.explain(self._request_id))
        except MeshError as error:
            self._show([paint(sanitize(str(error)), "partial"), Content(""), *self._fallback])
            return
        policies = {
            (policy.kind, policy.name): policy for cause in explanation.causes for policy in cause.policies
        }
        self._policies = list(policies.values())
        self._show(list(explanation_lines(explanation, session.now())))

    def _show(self, lines: list[Content]) -> None:
        self.query_one(Static).update(Content("\n").join(lines))
        options = self.query_one(OptionList)
        for policy in self._policies:
            name = paint(f"→ {sanitize(policy.kind)} {sanitize(policy.name)}", "accent")
            excerpt = paint(f"  {sanitize(policy.excerpt)}", "dim")
            options.add_option(Option(Content.assemble(name, excerpt)))
        options.display = bool(self._policies)
        if self._policies:
            self.query_one(Vertical).border_subtitle = "Enter opens the policy, Esc closes"
            options.highlighted = 0
            options.focus()
        else:
            self.query_one(VerticalScroll).focus()

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the chosen policy."""
        policy = self._policies[message.option_index]
        self.dismiss(navigation.PolicyLocation(policy.kind, policy.name))


def why_trace(trace: Trace, span: Span) -> WhyDialog:
    """The dialog on a trace, or on one of its spans."""
    fallback = span_lines(trace, span, flagged_spans(trace, span))
    return WhyDialog(trace.request or trace.operation, trace.id, fallback)


def explanation_lines(explanation: Explanation, now: float) -> Iterator[Content]:
    """The verdict, and each cause with its policies."""
    verdict = VERDICT_LABELS[explanation.verdict]
    yield Content.assemble(status_text(verdict), " ", sanitize(explanation.summary))
    for cause in explanation.causes:
        yield Content("")
        yield from _cause_lines(cause, now)


def _cause_lines(cause: Cause, now: float) -> Iterator[Content]:
    flag = paint(f"{sanitize(cause.flag)} ", "bad") if cause.flag else Content("")
    yield Content.assemble(flag, sanitize(cause.message))
    edge = " → ".join(dict.fromkeys(sanitize(name) for name in (cause.caller, cause.callee) if name))
    reporter = sanitize(cause.proxy or cause.service)
    yield paint(f"  reported by {reporter}{f', {edge}' if edge not in {'', reporter} else ''}", "dim")
    yield from (Content(f"  {sanitize(instance)}") for instance in cause.instances)
    for policy in cause.policies:
        yield from _policy_lines(policy, now)


def _policy_lines(policy: ResponsiblePolicy, now: float) -> Iterator[Content]:
    excerpt = f" ({sanitize(policy.excerpt)})" if policy.excerpt else ""
    name = f"{sanitize(policy.kind)} {sanitize(policy.name)}"
    yield Content.assemble("  ", paint(name, "strong"), excerpt)
    if policy.revision:
        age = f" · {format_age(now - policy.time)} ago" if policy.time else ""
        author = f" · {sanitize(policy.author)}" if policy.author else ""
        message = f" · {sanitize(policy.message)}" if policy.message else ""
        yield paint(f"    revision {policy.revision}{age}{author}{message}", "dim")


def flagged_spans(trace: Trace, span: Span) -> tuple[Span, ...]:
    """Spans whose response flags concern a span: itself, else those below it, else all of the trace."""
    if span.flags:
        return (span,)
    below = tuple(child for child in _descendants(trace, span) if child.flags)
    return below or tuple(other for other in trace.tree if other.flags)


def _descendants(trace: Trace, span: Span) -> Iterator[Span]:
    index = next((n for n, other in enumerate(trace.tree) if other.id == span.id), len(trace.tree))
    for below in trace.tree[index + 1 :]:
        if below.depth <= span.depth:
            return
        yield below


def span_lines(trace: Trace, span: Span, flagged: tuple[Span, ...]) -> Iterator[Content]:
    """The response flags of some spans, and the error messages of the services."""
    if not trace.errors and not flagged:
        yield Content.assemble(paint(signs.GOOD, "good"), " nothing failed in this trace")
        return
    if not flagged:
        yield Content("No Envoy set a response flag: the service itself responded with the failure.")
    for flagged_span in flagged:
        where = f" (at {sanitize(flagged_span.service)})" if flagged_span.id != span.id else ""
        for flag in flagged_span.flags:
            kinds = f" (by {', '.join(flag.kinds)})" if flag.kinds else " (no policy causes it)"
            yield Content.assemble(
                paint(flag.flag, "bad"), f" {sanitize(flag.meaning)}{where}", paint(kinds, "dim")
            )
    for other in trace.tree:
        if other.error and other.message and not other.proxy:
            message = f" reports: {sanitize(other.message)}"
            yield Content.assemble(paint(sanitize(other.service), "strong"), message)
