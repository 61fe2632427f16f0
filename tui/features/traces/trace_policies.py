"""Which policies may have acted on a step of a trace, by Envoy's flags. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace

CLUSTER_ATTRIBUTES = ("upstream_cluster.name", "upstream_cluster")
"""Where Envoy names the cluster that a request was sent to; `orders/v2` and `orders:grpc` are of `orders`."""


@dataclass(frozen=True, slots=True)
class PossiblePolicy:
    """A policy whose kind causes a flag, and which is for the service that was called or for all."""

    kind: str
    name: str
    flag: ResponseFlag


def flagged_spans(trace: Trace, span: Span) -> tuple[Span, ...]:
    """The steps whose flags tell of a step: its own, else those that failed below it, else all that did."""
    if span.flags:
        return (span,)
    below = _descendants(trace, span)
    return tuple(one for one in below if one.flags) or tuple(one for one in trace.tree if one.flags)


def possible_policies(
    steps: Iterable[Span], documents: Iterable[Mapping[str, Any]]
) -> tuple[PossiblePolicy, ...]:
    """Policies that may have acted; those that name the service first, those for the whole mesh last."""
    known = tuple(documents)
    found: dict[tuple[str, str], tuple[int, PossiblePolicy]] = {}
    for step in steps:
        names = {step.service, _callee(step)} - {""}
        for flag in step.flags:
            for document in known:
                rank = _specificity(document, names) if document["kind"] in flag.kinds else None
                if rank is not None:
                    one = PossiblePolicy(document["kind"], document["metadata"]["name"], flag)
                    found.setdefault((one.kind, one.name), (rank, one))
    return tuple(
        one for _, one in sorted(found.values(), key=lambda each: (each[0], each[1].kind, each[1].name))
    )


def _descendants(trace: Trace, span: Span) -> Iterator[Span]:
    at = next((n for n, one in enumerate(trace.tree) if one.id == span.id), len(trace.tree))
    for one in trace.tree[at + 1 :]:
        if one.depth <= span.depth:
            return
        yield one


def _callee(span: Span) -> str:
    told = next((span.attributes[name] for name in CLUSTER_ATTRIBUTES if span.attributes.get(name)), "")
    return told.partition("/")[0].partition(":")[0]


def _specificity(document: Mapping[str, Any], names: set[str]) -> int | None:
    """How near a policy is: 0 names the service, 1 a route or gateway, 2 is for all; None: another's."""
    spec = document["spec"]
    refs = [*(spec.get("targetRefs") or ()), *(spec.get("parentRefs") or ())]
    if any(ref.get("name") in names for ref in refs) or spec.get("service") in names:
        return 0
    kinds = {ref.get("kind", "Gateway") for ref in refs}
    if kinds & {"HTTPRoute", "GRPCRoute", "Gateway"}:
        return 1
    return 2 if "Mesh" in kinds else None
