"""What becomes of a request in the end, in a word and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.call_explanation import ExplainedHop, ExplainedRoute
from meshwright.control_plane.api.percent_text import percent_text

ALL = 0.999_999
"""A share from which on it is all requests: Envoy counts in millionths."""

Outcome = Literal["forwarded", "refused", "answered", "may be refused"]


def outcome(hops: Sequence[ExplainedHop]) -> tuple[Outcome, str]:
    """The outcome of a request on its way through these proxies; one that is not certain is the worse one."""
    ends = list(_ends(hops))
    outcomes = {end.outcome for end in ends}
    word: Outcome = next(iter(outcomes)) if len(outcomes) == 1 else "forwarded"
    if len(outcomes) > 1 and outcomes & {"refused", "may be refused"}:
        word = "may be refused"
    shares: dict[str, float] = {}
    for end in ends:
        sentence = _sentence(end)
        shares[sentence] = shares.get(sentence, 0.0) + end.share
    parts = [f"{percent_text(share * 100)} {text}" if share < ALL else text for text, share in shares.items()]
    return word, "; ".join(parts)


@dataclass(frozen=True, slots=True)
class _End:
    """Where a share of such requests ends."""

    outcome: Outcome
    hop: ExplainedHop
    route: ExplainedRoute
    share: float


def _ends(hops: Sequence[ExplainedHop]) -> Iterator[_End]:
    """The last route of each way through the proxies. What may be refused earlier is so in the end."""
    first, *others = hops
    for number, route in enumerate(first.routes):
        onward = [hop for hop in others if number in hop.of_routes]
        if route.status or not onward:
            yield _End(_of_route(first, route), first, route, route.share)
        for hop in onward:
            for last in hop.routes:
                share, end = route.share * last.share, _of_route(hop, last)
                uncertain = end == "forwarded" and not route.certain
                yield (
                    _End("may be refused", first, route, share) if uncertain else _End(end, hop, last, share)
                )


def _of_route(hop: ExplainedHop, route: ExplainedRoute) -> Outcome:
    steps = route.steps or hop.steps
    if route.status:
        return "answered" if steps[-1].verdict == "answers" else "refused"
    return "forwarded" if route.certain else "may be refused"


def _sentence(end: _End) -> str:
    hop, route = end.hop, end.route
    if end.outcome == "forwarded":
        name = hop.proxy if hop.direction == "inbound" else cluster_names.displayed(route.cluster)
        return f"forwarded to {name}"
    if end.outcome == "may be refused":
        step = next(step for step in route.steps if step.verdict == "may refuse")
        return f"may be refused by the proxy of {hop.proxy}: {step.part}: {step.text}"
    step = (route.steps or hop.steps)[-1]
    return f"{end.outcome} by the proxy of {hop.proxy} with {route.status}: {step.part}: {step.text}"
