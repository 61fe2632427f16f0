"""What policies refuse, in words and figures, as several screens show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.refusals import RefusalCount, RefusalOutcome
from meshwright.tui.format import StatusLabel, format_count, format_number, format_time, sanitize

OUTCOME_TEXTS: Mapping[RefusalOutcome, str] = {
    "limited": "limited",
    "unauthenticated": "no auth",
    "denied": "denied",
    "rejected": "rejected",
    "handshake": "no mTLS",
}
"""Short words for a column."""

CALLERS_SHOWN = 3
"""Callers of a policy's refusals that are named; further ones are counted."""


def refusals_at(refusals: Iterable[RefusalCount], service: str) -> list[RefusalCount]:
    """What the proxies of a service or gateway refused, and what others refused of the calls to it."""
    return [count for count in refusals if service in (count.service, count.callee)]


def refused_per_second(refusals: Iterable[RefusalCount]) -> dict[str, float]:
    """The rate of `refusals_at` of every service and gateway that has some."""
    rates: dict[str, float] = {}
    for count in refusals:
        for name in {count.service, count.callee or count.service}:
            rates[name] = rates.get(name, 0.0) + count.per_s
    return rates


def refusals_by(refusals: Iterable[RefusalCount], policy: str) -> list[RefusalCount]:
    """What a policy (`Kind/name`) refused, alone or with others."""
    return [count for count in refusals if policy in count.policies]


def rate_of(refusals: Iterable[RefusalCount]) -> float:
    """Refusals per second."""
    return sum(count.per_s for count in refusals)


def refusal_labels(refusals: Sequence[RefusalCount]) -> list[StatusLabel]:
    """What a policy refused: a line for each outcome with rate and total, then who was refused most."""
    labels = []
    for outcome, text in OUTCOME_TEXTS.items():
        counts = [count for count in refusals if count.outcome == outcome]
        if not counts:
            continue
        total, since = sum(count.total for count in counts), min(count.since for count in counts)
        line = f"{text} {format_number(rate_of(counts))}/s, {format_count(total)} since {format_time(since)}"
        labels.append(StatusLabel(signs.BLOCKED, f"{line}: {_callers(counts)}", "partial"))
    return labels


def _callers(counts: Iterable[RefusalCount]) -> str:
    totals: dict[str, int] = {}
    for count in counts:
        call = f"{sanitize(count.caller) or 'unknown'} → {sanitize(count.callee or count.service)}"
        totals[call] = totals.get(call, 0) + count.total
    calls = sorted(totals, key=lambda call: (-totals[call], call))
    more = [f"{len(calls) - CALLERS_SHOWN} more"] if len(calls) > CALLERS_SHOWN else []
    return ", ".join([*(f"{call} {format_count(totals[call])}" for call in calls[:CALLERS_SHOWN]), *more])
