"""Health checks folded into a verdict."""

from __future__ import annotations

from meshwright.sidecar.health_state import HealthState


def fold(*checks: bool) -> list[bool | None]:
    verdict, seen = HealthState(), []
    for good in checks:
        verdict = verdict.update(good)
        seen.append(verdict.healthy)
    return seen


def test_unknown_until_the_first_good_check_which_is_enough() -> None:
    assert fold(False, False, True) == [None, None, True]


def test_falls_ill_after_three_bad_checks_in_a_row() -> None:
    assert fold(True, False, False, True, False, False, False) == [True, True, True, True, True, True, False]


def test_is_trusted_again_after_two_good_ones() -> None:
    assert fold(True, False, False, False, True, False, True, True)[-4:] == [False, False, False, True]


def test_asks_seldom_only_while_all_is_well() -> None:
    assert HealthState(True).next_check_in == 1.0
    assert (
        HealthState().next_check_in
        == HealthState(True, 1).next_check_in
        == HealthState(False).next_check_in
        == 0.2
    )
