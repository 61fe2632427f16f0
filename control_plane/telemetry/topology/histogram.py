"""Histograms as sidecars send them: counts between bounds, added up and asked for quantiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

Buckets = dict[tuple[float, float], float]
"""How many values lay between a lower and an upper bound; only ranges that have any."""


def buckets(bounds: Sequence[float], counts: Sequence[int]) -> Buckets:
    """OTLP's explicit buckets: `counts` has one more than `bounds`, the last of them without an upper bound.

    Durations have no values below 0, so that is where the first one begins. Raises ValueError for bounds
    that do not rise or do not fit.
    """
    if not counts:
        return {}
    if len(counts) != len(bounds) + 1 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError("not the buckets of a histogram")
    edges = (min(0.0, bounds[0]) if bounds else 0.0, *bounds, math.inf)
    return {(edges[i], edges[i + 1]): float(count) for i, count in enumerate(counts) if count}


def add(into: Buckets, other: Mapping[tuple[float, float], float], fraction: float = 1.0) -> None:
    """Add `share` of `more` to `into`."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0.0) + count * fraction


def quantile(histogram: Mapping[tuple[float, float], float], q: float) -> float:
    """One of `quantiles`."""
    return quantiles(histogram, (q,))[0]


def quantiles(histogram: Mapping[tuple[float, float], float], shares: Sequence[float]) -> list[float]:
    """The values below which shares (0..1) of all lie, in the histogram's unit; 0 when it is empty.

    Within a bucket values are taken to be spread evenly, as Prometheus's histogram_quantile does; in the last
    one, which has no end, it is the lower bound.
    """
    total, ordered = sum(histogram.values()), sorted(one for one in histogram.items() if one[1] > 0)
    return [_at(ordered, share * total) for share in shares] if total > 0 else [0.0] * len(shares)


def _at(ordered: Sequence[tuple[tuple[float, float], float]], rank: float) -> float:
    below = value = 0.0
    for (low, high), count in ordered:
        if below + count >= rank:
            inside = max(rank - below, 0.0) / count
            return low if math.isinf(high) else low + (high - low) * inside
        below += count
        value = low if math.isinf(high) else high
    return value
