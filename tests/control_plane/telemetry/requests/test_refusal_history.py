"""How often policies refuse, by caller, service and policy."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.telemetry.requests.refusal_history import (
    KEPT_SECONDS,
    RefusalHistory,
    merged,
    outcome,
)
from meshwright.control_plane.telemetry.requests.refusals import Refusal
from meshwright.control_plane.telemetry.topology.traffic import WINDOW

NOW = 1_000_000.0


def refusal(count: int = 1, **changes: Any) -> Refusal:
    fields: dict[str, Any] = {
        "service": "back",
        "caller": "front",
        "callee": "back",
        "policies": ("RateLimit/back",),
        "code": "429",
        "message": "too many requests",
        "time": NOW,
        "request": "r-1",
    }
    return Refusal(**{**fields, "count": count, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"code": "429"}, "limited"),
        ({"code": "ResourceExhausted"}, "limited"),
        ({"code": "401"}, "unauthenticated"),
        ({"code": "Unauthenticated"}, "unauthenticated"),
        ({"code": "403"}, "denied"),
        ({"code": "PermissionDenied"}, "denied"),
        ({"code": ""}, "denied"),
        ({"code": "413"}, "rejected"),
        ({"code": "503"}, "rejected"),
        ({"code": "", "policies": (), "reason": "plaintext"}, "handshake"),
    ],
)
def test_outcome_follows_from_the_status(changes: dict[str, Any], expected: str) -> None:
    assert outcome(refusal(**changes)) == expected


def test_rate_is_of_the_window_and_total_of_all() -> None:
    history = RefusalHistory()
    for second in range(20):
        history.add([refusal(3, request=f"r-{second}")], NOW + second)
    (count,) = history.counts(NOW + 19)
    assert (count.per_s, count.total) == (3.0, 60)
    assert (count.since, count.last, count.request) == (NOW, NOW + 19, "r-19")
    (later,) = history.counts(NOW + 19 + WINDOW)
    assert (later.per_s, later.total) == (0.0, 60)


def test_callers_policies_and_outcomes_are_counted_apart() -> None:
    history = RefusalHistory()
    others = ({"caller": "web"}, {"policies": ("Authorization/back",), "code": "403"}, {"code": "503"})
    history.add([refusal(), *(refusal(**changes) for changes in others)], NOW)
    assert [count.total for count in history.counts(NOW)] == [1, 1, 1, 1]


def test_what_stopped_is_forgotten() -> None:
    history = RefusalHistory()
    history.add([refusal()], NOW)
    assert history.counts(NOW + KEPT_SECONDS - 1)
    assert not history.counts(NOW + KEPT_SECONDS)
    history.add([refusal()], NOW + KEPT_SECONDS + 1)
    assert [count.total for count in history.counts(NOW + KEPT_SECONDS + 1)] == [1]


def test_counts_are_bounded_and_the_idle_one_goes_first() -> None:
    history = RefusalHistory(max_counts=2)
    for caller in ("a", "b", "a", "c"):
        history.add([refusal(caller=caller)], NOW)
    assert {count.caller: count.total for count in history.counts(NOW)} == {"a": 2, "c": 1}


def test_counts_of_several_control_planes_are_added_up() -> None:
    first, second = RefusalHistory(), RefusalHistory()
    first.add([refusal(10), refusal(caller="web")], NOW)
    second.add([refusal(30, request="r-2")], NOW + 5)
    total, other = merged([*first.counts(NOW + 5), *second.counts(NOW + 5)])
    assert (total.per_s, total.total, total.since, total.last) == (4.0, 40, NOW, NOW + 5)
    assert total.request == "r-2"
    assert other.caller == "web"
