"""An explained call as lines of a given width, in colours. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from textual.content import Content

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.call_text import PART_WIDTH, call_lines
from meshwright.control_plane.api.models.authorization import AccessPolicy
from meshwright.control_plane.api.models.call_explanation import CallExplanation
from meshwright.tui.format import Tone, sanitize
from meshwright.tui.theme import paint

SIGN_TONES: Mapping[str, Tone] = {signs.GOOD: "good", signs.PARTIAL: "partial", signs.BAD: "bad"}


def explanation_lines(explanation: CallExplanation, width: int) -> Iterator[Content]:
    """What `mesh explain` prints. Long lines continue below their text."""
    for line in call_lines(explanation.model_dump(by_alias=True)):
        indent = len(line) - len(line.lstrip())
        is_step = 0 < indent < PART_WIDTH  # details and policies begin below the text of their step
        hanging = indent + (PART_WIDTH + 1 if is_step else 2)
        wrapped = textwrap.wrap(
            sanitize(line),
            max(width, 2 * hanging),
            subsequent_indent=" " * hanging,
            break_on_hyphens=False,
        )
        yield from (_painted(part, first=number == 0) for number, part in enumerate(wrapped or [""]))


def _painted(line: str, *, first: bool) -> Content:
    """One line: names of proxies stand out, policies step back, signs have the colour of their state."""
    sign = next((sign for sign in SIGN_TONES if sign in line), "")
    if line.lstrip().startswith("by "):
        return paint(line, "dim")
    before, _, after = line.partition(sign) if sign else (line, "", "")
    tone: Tone = "strong" if first and line and not line[0].isspace() else "plain"
    if not sign:
        return paint(before, tone)
    return Content.assemble(paint(before), paint(sign, SIGN_TONES[sign]), paint(after, tone))


def deciding_policies(explanation: CallExplanation) -> dict[str, AccessPolicy]:
    """The policies that decide a step, by `Kind/name`, in the order in which the request meets them."""
    steps = (
        step
        for hop in explanation.hops
        for step in (*hop.steps, *(step for route in hop.routes for step in route.steps))
    )
    return {policy.name: policy for step in steps for policy in step.policies}


def choices(policies: Iterable[AccessPolicy]) -> list[str]:
    """Policies with the place and the revision of their last change."""
    return [
        "  ".join(
            filter(
                None, (policy.name, policy.source, f"revision {policy.revision}" if policy.revision else "")
            )
        )
        for policy in policies
    ]
