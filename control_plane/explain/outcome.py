"""What becomes of a request in the end, in a word and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.call_explanation import ExplainedHop, ExplainedRoute, ExplainedStep

Outcome = Literal["forwarded", "refused", "answered", "may be refused"]


def outcome(hops: Sequence[ExplainedHop]) -> tuple[Outcome, str]:
    """The outcome of a request on its way through these proxies; one that is not certain is the worse one."""
    ends = list(_ends(hops))
    outcomes = {end for end, _, _ in ends}
    word: Outcome = next(iter(outcomes)) if len(outcomes) == 1 else "forwarded"
    if len(outcomes) > 1 and outcomes & {"refused", "may be refused"}:
        word = "may be refused"
    sentences = [_sentence(end, hop, route) for end, hop, route in ends]
    return word, "; ".join(dict.fromkeys(sentences))


def _ends(hops: Sequence[ExplainedHop]) -> Iterator[tuple[Outcome, ExplainedHop, ExplainedRoute]]:
    """The last route of each way through the proxies. What may be refused earlier is so in the end."""
    first, *others = hops
    for number, route in enumerate(first.routes):
        onward = [hop for hop in others if number in hop.of_routes]
        if route.status or not onward:
            yield _of_route(first, route), first, route
        for hop in onward:
            for last in hop.routes:
                end = _of_route(hop, last)
                uncertain = end == "forwarded" and not route.certain
                yield ("may be refused", first, route) if uncertain else (end, hop, last)


def _of_route(hop: ExplainedHop, route: ExplainedRoute) -> Outcome:
    steps = route.steps or hop.steps
    if route.status:
        return "answered" if steps[-1].verdict == "answers" else "refused"
    return "forwarded" if route.certain else "may be refused"


def _sentence(end: Outcome, hop: ExplainedHop, route: ExplainedRoute) -> str:
    share = f"{route.share * 100:g} % " if route.share < 1 else ""
    if end == "forwarded":
        name = hop.proxy if hop.direction == "inbound" else cluster_names.displayed(route.cluster)
        return f"{share}forwarded to {name}"
    if end == "may be refused":
        step = next(step for step in route.steps if step.verdict == "may refuse")
        return f"{share}may be refused by the proxy of {hop.proxy}: {step.part}: {step.text}"
    step = _deciding(hop, route)
    word = "answered" if end == "answered" else "refused"
    return f"{share}{word} by the proxy of {hop.proxy} with {route.status}: {step.part}: {step.text}"


def _deciding(hop: ExplainedHop, route: ExplainedRoute) -> ExplainedStep:
    return (route.steps or hop.steps)[-1]
