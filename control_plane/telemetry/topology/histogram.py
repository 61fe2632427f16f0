"""Histograms with explicit buckets: adding them and computing quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

Buckets = dict[tuple[float, float], float]
"""Lower and upper bound → number of values between them; buckets without values are left out."""

MAX_BUCKETS = 256
"""Buckets of one histogram. All sidecars have the same 28; a sender with others must not make sums grow."""


def buckets(bounds: Sequence[float], counts: Sequence[int]) -> Buckets:
    """OTLP's explicit buckets. `counts` is one longer than `bounds`; the last bucket has no upper bound.

    Durations are never negative, so the first bucket begins at 0. Raises ValueError for bounds that do not
    increase or do not match the counts.
    """
    if not counts:
        return {}
    if len(counts) != len(bounds) + 1 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError("not the buckets of a histogram")
    edges = (min(0.0, bounds[0]) if bounds else 0.0, *bounds, math.inf)
    return {(edges[i], edges[i + 1]): float(count) for i, count in enumerate(counts) if count}


def add(into: Buckets, other: Mapping[tuple[float, float], float], fraction: float = 1.0) -> None:
    """Add a fraction of `other` to `into`; beyond MAX_BUCKETS values in new buckets are lost."""
    is_full = len(into) + len(other) > MAX_BUCKETS
    for bucket, count in other.items():
        if not is_full or bucket in into or len(into) < MAX_BUCKETS:
            into[bucket] = into.get(bucket, 0.0) + count * fraction


def remove_evenly(histogram: Buckets, count: float) -> None:
    """Remove `count` values, as many of each bucket as its share; whole numbers stay whole."""
    total = sum(histogram.values())
    share, seen, removed = min(1.0, count / total) if total else 0.0, 0.0, 0.0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        part = round(seen * share) - removed
        removed += part
        if part >= histogram[bucket]:
            del histogram[bucket]
        else:
            histogram[bucket] -= part


def quantile(histogram: Mapping[tuple[float, float], float], q: float) -> float:
    """A single value of `quantiles`."""
    return quantiles(histogram, (q,))[0]


def quantiles(histogram: Mapping[tuple[float, float], float], shares: Sequence[float]) -> list[float]:
    """The values below which these shares (0..1) of all values lie; zeros for an empty histogram.

    Values are assumed to be spread evenly within a bucket, as in Prometheus' histogram_quantile. In the last
    bucket, which has no upper bound, the result is its lower bound.
    """
    total, buckets_ = sum(histogram.values()), sorted(item for item in histogram.items() if item[1] > 0)
    if total <= 0:
        return [0.0] * len(shares)
    return [_value_at(buckets_, share * total) for share in shares]


def _value_at(ordered: Sequence[tuple[tuple[float, float], float]], rank: float) -> float:
    below = value = 0.0
    for (low, high), count in ordered:
        if below + count >= rank:
            inside = max(rank - below, 0.0) / count
            return low if math.isinf(high) else low + (high - low) * inside
        below += count
        value = low if math.isinf(high) else high
    return value
