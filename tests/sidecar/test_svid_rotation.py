"""When and how an SVID is renewed."""

from __future__ import annotations

import pytest

from meshwright.sidecar.svid_rotation import (
    check_delay,
    is_due,
    next_rotation,
    renewal_method,
    retry_delay,
)


def test_rotation_is_at_half_of_the_lifetime_less_a_tenth_of_jitter() -> None:
    assert next_rotation(1000.0, 4600.0, 0.0) == 2800.0
    assert next_rotation(1000.0, 4600.0, 1.0) == pytest.approx(2440.0)


def test_retry_delays_grow_up_to_half_of_the_remaining_lifetime() -> None:
    assert retry_delay(1, 1800.0, 0.0) == 1.0
    assert retry_delay(4, 1800.0, 0.0) == 8.0
    assert retry_delay(20, 1800.0, 0.0) == 60.0
    assert retry_delay(20, 10.0, 0.0) == 5.0
    assert retry_delay(20, 0.01, 0.0) == 0.2


def test_retry_delay_after_expiry_is_a_second() -> None:
    assert retry_delay(20, -5.0, 0.0) == 1.0


def test_expired_svid_cannot_renew_itself() -> None:
    assert renewal_method(100.0, 99.9) == "renew"
    assert renewal_method(100.0, 100.0) == "enrol"


def test_renewal_is_due_by_the_time_of_day_and_when_the_clock_was_set_back() -> None:
    assert not is_due(1000.0, 2800.0, 2799.9)
    assert is_due(1000.0, 2800.0, 2800.0)
    assert not is_due(1000.0, 2800.0, 975.0), "small corrections of the clock change nothing"
    assert is_due(1000.0, 2800.0, 960.0)


def test_the_clock_is_read_every_few_seconds_however_far_the_renewal() -> None:
    assert check_delay(5000.0, 1000.0) == 5.0
    assert check_delay(1001.0, 1000.0) == 1.0
    assert check_delay(1000.0, 1000.0) == 0.2
