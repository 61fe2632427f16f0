"""How many refusals a peer, and all together, may cause."""

from __future__ import annotations

from meshwright.control_plane.ca.rate_limit import PEER_LIMIT, Rate, RefusalRateLimiter


def test_each_peer_has_its_burst_and_then_its_rate() -> None:
    refusals = RefusalRateLimiter(per_peer=Rate(2, 0.5), total=Rate(100, 100))
    assert [refusals.allow("a", 10.0) for _ in range(3)] == [True, True, False]
    assert refusals.allow("b", 10.0)
    assert not refusals.allow("a", 11.0)
    assert refusals.allow("a", 12.5)
    assert not refusals.allow("a", 12.5)


def test_all_together_are_bounded_too() -> None:
    refusals = RefusalRateLimiter(per_peer=Rate(2, 1), total=Rate(3, 1))
    assert [refusals.allow(f"peer-{number}", 5.0) for number in range(5)] == [True] * 3 + [False] * 2
    assert refusals.allow("peer-9", 6.0)


def test_rest_never_gathers_more_than_a_burst() -> None:
    refusals = RefusalRateLimiter(per_peer=Rate(2, 1), total=Rate(100, 1))
    refusals.allow("a", 0.0)
    assert [refusals.allow("a", 1e6) for _ in range(3)] == [True, True, False]


def test_peers_are_forgotten_the_quietest_first() -> None:
    refusals = RefusalRateLimiter(per_peer=Rate(1, 0), total=Rate(1e9, 0))
    assert refusals.allow("busy", 0.0)
    assert refusals.allow("quiet", 0.0)
    for number in range(PEER_LIMIT - 1):
        refusals.allow(f"peer-{number}", 0.0)
        assert not refusals.allow("busy", 0.0)
    assert refusals.allow("quiet", 0.0)
