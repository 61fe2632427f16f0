"""Rate limits for limiter, per peer and in total."""

from __future__ import annotations

from meshwright.control_plane.rate_limit import PEER_LIMIT, Rate, RefusalRateLimiter


def test_each_peer_has_a_burst_and_then_a_rate() -> None:
    limiter = RefusalRateLimiter(per_peer=Rate(2, 0.5), total=Rate(100, 100))
    assert [limiter.allow("a", 10.0) for _ in range(3)] == [True, True, False]
    assert limiter.allow("b", 10.0)
    assert not limiter.allow("a", 11.0)
    assert limiter.allow("a", 12.5)
    assert not limiter.allow("a", 12.5)


def test_total_rate_limits_all_peers() -> None:
    limiter = RefusalRateLimiter(per_peer=Rate(2, 1), total=Rate(3, 1))
    assert [limiter.allow(f"peer-{number}", 5.0) for number in range(5)] == [True] * 3 + [False] * 2
    assert limiter.allow("peer-9", 6.0)


def test_idle_peer_never_has_more_than_a_burst() -> None:
    limiter = RefusalRateLimiter(per_peer=Rate(2, 1), total=Rate(100, 1))
    limiter.allow("a", 0.0)
    assert [limiter.allow("a", 1e6) for _ in range(3)] == [True, True, False]


def test_most_idle_peer_is_dropped_first() -> None:
    limiter = RefusalRateLimiter(per_peer=Rate(1, 0), total=Rate(1e9, 0))
    assert limiter.allow("busy", 0.0)
    assert limiter.allow("quiet", 0.0)
    for number in range(PEER_LIMIT - 1):
        limiter.allow(f"peer-{number}", 0.0)
        assert not limiter.allow("busy", 0.0)
    assert limiter.allow("quiet", 0.0)
