"""What callers claim about a service, beside what the service itself received."""

from __future__ import annotations

import pytest

from meshwright.control_plane.telemetry.topology.claims import credible_callers, is_plausible
from meshwright.control_plane.telemetry.topology.traffic import CallResults

FINE, HALF_FAILS = CallResults(100, 0), CallResults(100, 50)


@pytest.mark.parametrize(
    ("claims", "received", "credible"),
    [
        ({"a": FINE, "evil": CallResults(100, 100)}, FINE, "a"),
        ({"a": FINE, "evil": CallResults(1e12, 1e12)}, FINE, "a"),
        ({"a": FINE, "evil": CallResults(1e12, 0)}, FINE, "a"),
        ({"a": FINE, "b": FINE, "evil": CallResults(50, 20)}, CallResults(300, 3), "ab"),
        ({"a": FINE, "b": CallResults(30, 0)}, CallResults(130, 0), "ab"),
        # the service confirms it
        ({"a": FINE, "b": HALF_FAILS}, CallResults(200, 100), "ab"),
        # most callers agree: a fault on the way
        ({"a": HALF_FAILS}, CallResults(50, 0), "a"),
        ({"a": HALF_FAILS, "b": HALF_FAILS, "c": FINE}, CallResults(200, 0), "abc"),
        (
            {"a": HALF_FAILS, "b": HALF_FAILS, "idle": CallResults(0, 0)},
            CallResults(100, 0),
            ["a", "b", "idle"],
        ),
        # its sidecars say nothing, or too little
        ({"a": HALF_FAILS, "b": FINE}, None, "ab"),
        ({"a": HALF_FAILS, "b": FINE}, CallResults(2, 0), "ab"),
        ({}, FINE, ""),
    ],
)
def test_claims_count_unless_the_service_contradicts_them(
    claims: dict[str, CallResults], received: CallResults | None, credible: str
) -> None:
    assert credible_callers(claims, received) == set(credible)


@pytest.mark.parametrize(
    ("calls", "seconds", "plausible"),
    [
        ([100_000], 2.0, True),
        ([1e12], 2.0, False),
        ([0, 1e9], 2.0, False),
        ([1e12], 1e9, True),
        ([9e5], 0, True),
    ],
)
def test_more_calls_than_an_envoy_can_make_are_implausible(
    calls: list[float], seconds: float, plausible: bool
) -> None:
    assert is_plausible(calls, seconds) is plausible
