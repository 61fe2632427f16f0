"""When an SVID is renewed."""

from __future__ import annotations

import pytest

from meshwright.sidecar import svid_rotation


def test_renewed_at_half_of_its_life_spread_by_a_tenth() -> None:
    assert svid_rotation.next_rotation(1000.0, 4600.0, 0.0) == 2800.0
    assert svid_rotation.next_rotation(1000.0, 4600.0, 1.0) == pytest.approx(2440.0)


def test_retries_grow_but_stay_within_what_is_left() -> None:
    assert svid_rotation.retry_delay(1, 1800.0, 0.0) == 1.0
    assert svid_rotation.retry_delay(4, 1800.0, 0.0) == 8.0
    assert svid_rotation.retry_delay(20, 1800.0, 0.0) == 60.0
    assert svid_rotation.retry_delay(20, 10.0, 0.0) == 5.0
    assert svid_rotation.retry_delay(20, 0.01, 0.0) == 0.2


def test_after_the_end_it_is_tried_every_second() -> None:
    assert svid_rotation.retry_delay(20, -5.0, 0.0) == 1.0


def test_an_expired_svid_cannot_renew_itself() -> None:
    assert svid_rotation.renewal_method(100.0, 99.9) == "renew"
    assert svid_rotation.renewal_method(100.0, 100.0) == "enrol"
