"""Probes folded into a health state."""

from __future__ import annotations

from meshwright.sidecar.health_state import HealthState


def fold(*probes: bool) -> list[bool | None]:
    state, states = HealthState(), []
    for passed in probes:
        state = state.update(passed)
        states.append(state.healthy)
    return states


def test_unknown_until_the_first_good_probe() -> None:
    assert fold(False, False, True) == [None, None, True]


def test_unhealthy_after_three_consecutive_failures() -> None:
    assert fold(True, False, False, True, False, False, False) == [True, True, True, True, True, True, False]


def test_healthy_again_after_two_consecutive_good_probes() -> None:
    assert fold(True, False, False, False, True, False, True, True)[-4:] == [False, False, False, True]


def test_probes_are_rare_only_while_steadily_healthy() -> None:
    assert HealthState(True).next_check_in == 1.0
    assert HealthState().next_check_in == 0.2
    assert HealthState(True, 1).next_check_in == HealthState(False).next_check_in == 0.2
