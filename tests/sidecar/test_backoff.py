"""Delays between attempts."""

from __future__ import annotations

from meshwright.sidecar.backoff import Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff, seen = Backoff(base=0.2, cap=1.0), []
    for _ in range(5):
        backoff = backoff.failed()
        seen.append(backoff.delay(0.0))
    assert seen == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_healthy_run_forgets_the_failures() -> None:
    backoff = Backoff(healthy=30.0, failures=6)
    assert backoff.failed(ran=29.9).failures == 7
    assert backoff.failed(ran=30.0).failures == 1


def test_jitter_takes_off_up_to_a_quarter() -> None:
    backoff = Backoff(base=4.0, cap=4.0, failures=1)
    assert (backoff.delay(0.0), backoff.delay(1.0)) == (4.0, 3.0)


def test_no_failure_no_delay_and_very_many_do_not_overflow() -> None:
    assert Backoff().delay(0.5) == 0.0
    many = Backoff(cap=10.0)
    for _ in range(5000):
        many = many.failed()
    assert many.delay(0.0) == 10.0
