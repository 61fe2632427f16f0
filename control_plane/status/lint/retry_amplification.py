"""Retries at several places of a call path: their numbers multiply when the last service fails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from math import prod

from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.status.lint.call_limits import CallLimits

CALLS_TOLERATED = 8
"""Calls of a service that one request may become. Two places with one retry each make 4, three make 8."""

LONGEST_PATH = 8
"""Retrying calls of a path that are followed."""

Path = tuple[CallLimits, ...]


def amplified_retries(limits: Iterable[CallLimits]) -> Iterator[LintFinding]:
    """The worst path from each service or gateway where retries begin, if it exceeds CALLS_TOLERATED."""
    retrying: defaultdict[str, list[CallLimits]] = defaultdict(list)
    called = set()
    for each in limits:
        if each.tries > 1:
            retrying[each.caller].append(each)
            called.add(each.service)
    worst = _worst_paths(retrying)
    for start in sorted(retrying.keys() - called or retrying.keys()):
        path = worst[start]
        if len(path) > 1 and _calls(path) > CALLS_TOLERATED:
            yield _finding(path)


def _worst_paths(retrying: Mapping[str, list[CallLimits]]) -> Mapping[str, Path]:
    """The path of retrying calls from each caller that makes the most calls, without a service twice."""
    worst: dict[str, Path] = {}
    for _ in range(LONGEST_PATH):
        longer = dict(worst)
        for caller, edges in retrying.items():
            paths = [(edge, *_before(caller, worst.get(edge.service, ()))) for edge in edges]
            longer[caller] = max(paths, key=_calls, default=())
        worst = longer
    return worst


def _before(service: str, path: Path) -> Path:
    """The part of a path before it leads to a service."""
    return tuple(takewhile(lambda step: step.service != service, path))


def _calls(path: Path) -> int:
    return prod(step.tries for step in path)


def _finding(path: Path) -> LintFinding:
    steps = "".join(f" → {step.service} ({step.tries} tries)" for step in path)
    factors = " × ".join(str(step.tries) for step in path)
    message = (
        f"one request of {path[0].caller} may become {_calls(path)} calls of {path[-1].service} while it "
        f"fails: {path[0].caller}{steps}: {factors}: retry in one place only"
    )
    policies = tuple(
        dict.fromkeys(ref for step in path for ref in step.policies if ref.split("/")[0] != "Timeout")
    )
    return LintFinding(rule="retry-amplification", severity="warning", policies=policies, message=message)
