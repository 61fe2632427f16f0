"""The adaptive cache: how long a value lives."""

from __future__ import annotations

from meshwright.control_plane.telemetry.adaptive_cache import MAX_TTL, MIN_TTL, AdaptiveCache


def test_a_cheap_value_lives_for_a_moment_and_an_expensive_one_longer() -> None:
    clock, cost, computed = [0.0], [0.0], []

    def compute() -> int:
        computed.append(clock[0])
        clock[0] += cost[0]
        return len(computed)

    cache = AdaptiveCache(compute, lambda: clock[0])
    assert [cache(), cache()] == [1, 1]
    clock[0] = MIN_TTL
    cost[0] = 1.0
    assert cache() == 2
    clock[0] += MAX_TTL - 0.01
    assert cache() == 2
    clock[0] += 0.01
    assert cache() == 3
