"""The format of durations."""

from __future__ import annotations

import pytest

from meshwright.cli.traces import advice, format_milliseconds


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "<1 ms"), (0.001, "<0.01 ms"), (0.127, "0.13 ms"), (1.0, "1.0 ms"), (47.469, "47.5 ms"),
        (200.778, "201 ms"), (9_999, "9999 ms"), (12_345, "12.3 s"),
    ],
)  # fmt: skip
def test_a_nonzero_duration_is_never_shown_as_zero(value: float, shown: str) -> None:
    assert format_milliseconds(value) == shown


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("", "check the filters"),
        ("orders", "check the filters"),
        ("ordrs", "the mesh has no service or gateway ordrs: did you mean orders?"),
        ("nope", "the mesh has no service or gateway nope: see `mesh topology`"),
    ],
)
def test_search_without_a_trace_says_if_the_service_is_unknown(service: str, expected: str) -> None:
    assert advice(service, ["orders", "ingress"]).startswith(expected)
