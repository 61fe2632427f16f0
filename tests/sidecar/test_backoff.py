"""Delays between retries."""

from __future__ import annotations

from meshwright.sidecar.backoff import Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff, delays = Backoff(base=0.2, cap=1.0), []
    for _ in range(5):
        backoff = backoff.failed()
        delays.append(backoff.delay(0.0))
    assert delays == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_healthy_run_resets_the_failures() -> None:
    backoff = Backoff(healthy=30.0, failures=6)
    assert backoff.failed(ran=29.9).failures == 7
    assert backoff.failed(ran=30.0).failures == 1


def test_jitter_shortens_a_delay_by_up_to_a_quarter() -> None:
    backoff = Backoff(base=4.0, cap=4.0, failures=1)
    assert (backoff.delay(0.0), backoff.delay(1.0)) == (4.0, 3.0)


def test_delay_is_zero_without_failures_and_capped_with_many() -> None:
    assert Backoff().delay(0.5) == 0.0
    backoff = Backoff(cap=10.0)
    for _ in range(5000):
        backoff = backoff.failed()
    assert backoff.delay(0.0) == 10.0
