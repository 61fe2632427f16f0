"""Checks folded into a health state."""

from __future__ import annotations

import pytest

from meshwright.sidecar.health_settings import HealthSettings
from meshwright.sidecar.health_state import CheckResult, HealthState

PASSED, FAILED, SLOW = CheckResult(), CheckResult("returned 503"), CheckResult("no response", slow=True)


def fold(*results: CheckResult, age: float = 0.0, **settings: float) -> list[bool | None]:
    state, states = HealthState(), []
    for result in results:
        state = state.update(result, HealthSettings.model_validate(settings), age)
        states.append(state.healthy)
    return states


def test_starting_until_the_first_good_check() -> None:
    assert fold(FAILED, SLOW, PASSED) == [None, None, True]


def test_unhealthy_without_a_good_check_once_its_time_to_start_is_over() -> None:
    assert fold(FAILED, age=29.9) == [None]
    assert fold(FAILED, age=30.0) == [False]
    assert fold(FAILED, age=30.0, startup=60) == [None]


@pytest.mark.parametrize("bad", [FAILED, SLOW])
def test_unhealthy_after_three_consecutive_failures(bad: CheckResult) -> None:
    results = (PASSED, bad, bad, PASSED, bad, bad, bad)
    assert fold(*results) == [True, True, True, True, True, True, False]


def test_healthy_again_after_two_consecutive_good_checks() -> None:
    results = (PASSED, FAILED, FAILED, FAILED, PASSED, FAILED, PASSED, PASSED)
    assert fold(*results)[-4:] == [False, False, False, True]


def test_thresholds_are_settings() -> None:
    assert fold(PASSED, FAILED, PASSED, unhealthy_after=1, healthy_after=1) == [True, False, True]
    assert fold(PASSED, *[FAILED] * 5, unhealthy_after=6)[-1] is True


def test_an_app_that_is_slow_gets_the_whole_interval_one_that_fails_is_asked_again_soon() -> None:
    settings = HealthSettings(interval=10)
    assert HealthState(True).next_check_in(PASSED, settings) == 10
    assert HealthState(True, 1).next_check_in(SLOW, settings) == 10
    assert HealthState(True, 1).next_check_in(FAILED, settings) == 1
    assert HealthState(False).next_check_in(FAILED, settings) == 1
    assert HealthState().next_check_in(FAILED, settings) == 0.2
    assert HealthState(False).next_check_in(FAILED, HealthSettings(interval=0.5)) == 0.5
