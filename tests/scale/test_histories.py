"""The delta protocol under more and longer random histories than a normal run can afford."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.control_plane.xds.test_random_histories import Protocol


@pytest.mark.long
def test_delta_protocol_survives_long_random_histories() -> None:
    long = settings(max_examples=3000, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(Protocol, settings=long)
