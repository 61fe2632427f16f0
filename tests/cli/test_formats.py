"""The format of durations."""

from __future__ import annotations

import pytest

from meshwright.cli.traces import format_milliseconds


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "<1 ms"), (0.001, "<0.01 ms"), (0.127, "0.13 ms"), (1.0, "1.0 ms"), (47.469, "47.5 ms"),
        (200.778, "201 ms"), (9_999, "9999 ms"), (12_345, "12.3 s"),
    ],
)  # fmt: skip
def test_a_nonzero_duration_is_never_shown_as_zero(value: float, shown: str) -> None:
    assert format_milliseconds(value) == shown
