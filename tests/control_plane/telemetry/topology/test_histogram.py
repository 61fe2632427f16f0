"""Histograms: buckets, quantiles, sums."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.telemetry.topology import histogram

BOUNDS = (1.0, 2.0, 5.0, 10.0, 100.0)


def test_values_are_spread_evenly_within_a_bucket() -> None:
    buckets = histogram.buckets(BOUNDS, (0, 10, 0, 10, 0, 0))
    assert histogram.quantile(buckets, 0.25) == 1.5
    assert histogram.quantile(buckets, 0.5) == 2.0
    assert histogram.quantile(buckets, 0.75) == 7.5
    assert histogram.quantile(buckets, 1.0) == 10.0


def test_the_last_bucket_yields_its_lower_bound() -> None:
    assert histogram.quantile(histogram.buckets(BOUNDS, (0, 0, 0, 0, 0, 3)), 0.99) == 100.0
    assert histogram.quantile({}, 0.5) == 0.0


@pytest.mark.parametrize(
    ("bounds", "counts"), [((1.0, 2.0), (1, 1)), ((2.0, 1.0), (1, 1, 1)), ((1.0, 1.0), (1, 1, 1))]
)
def test_invalid_buckets_are_rejected(bounds: tuple[float, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="buckets"):
        histogram.buckets(bounds, counts)


@given(st.lists(st.floats(0, 99), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_exact_value(values: list[float], q: float) -> None:
    edges = (0.0, *BOUNDS, math.inf)
    counts = [0] * (len(BOUNDS) + 1)
    for value in values:
        counts[next(i for i, bound in enumerate((*BOUNDS, math.inf)) if value <= bound)] += 1
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    at = next(i for i, bound in enumerate((*BOUNDS, math.inf)) if exact <= bound)
    quantile = histogram.quantile(histogram.buckets(BOUNDS, counts), q)
    assert edges[at] <= quantile <= edges[at + 1]


@given(st.lists(st.lists(st.integers(0, 50), min_size=6, max_size=6), min_size=1))
def test_adding_keeps_every_value(histograms: list[list[int]]) -> None:
    total: histogram.Buckets = {}
    for counts in histograms:
        histogram.add(total, histogram.buckets(BOUNDS, counts))
    assert sum(total.values()) == sum(map(sum, histograms))


def test_a_sum_has_a_limited_number_of_buckets() -> None:
    total: histogram.Buckets = {}
    for number in range(histogram.MAX_BUCKETS + 50):
        histogram.add(total, {(float(number), number + 1.0): 1.0})
    histogram.add(total, {(0.0, 1.0): 5.0})
    assert len(total) == histogram.MAX_BUCKETS
    assert total[0.0, 1.0] == 6.0
