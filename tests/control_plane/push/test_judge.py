"""What makes the proxies with a revision worse than the others."""

from __future__ import annotations

from meshwright.control_plane.push.judge import ProxyTraffic, compare
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters


def traffic(name: str, completed: float, failed: float = 0.0, ms: float = 5.0) -> ProxyTraffic:
    buckets = {(ms, ms * 1.1): completed}
    counters = UpstreamCounters(completed=completed, failed=failed, latency_buckets=buckets)
    return ProxyTraffic(name.partition("-")[0], name, completed, counters)


def test_a_fifth_of_the_requests_fails_with_the_revision() -> None:
    burn, _ = compare([traffic("orders-1", 60, 12), traffic("orders-2", 100)], ["orders/orders-1"], {})
    assert burn == "12 of 60 (20.0%) of the requests of orders failed with it, 0 of 100 (0.0%) on the others"


def test_as_many_fail_without_it() -> None:
    both = [traffic("orders-1", 60, 12), traffic("orders-2", 100, 17)]
    burn, figures = compare(both, ["orders/orders-1"], {})
    assert burn == ""
    assert figures == "orders: 12 of 60 (20.0%) failed, 17 of 100 (17.0%) on the others"


def test_few_requests_are_no_verdict() -> None:
    assert compare([traffic("orders-1", 10, 9), traffic("orders-2", 100)], ["orders/orders-1"], {})[0] == ""
    assert compare([traffic("orders-1", 20, 2), traffic("orders-2", 20)], ["orders/orders-1"], {})[0] == ""


def test_a_service_with_one_proxy_is_compared_with_its_own_past() -> None:
    now = [traffic("orders-1", 100, 30), traffic("users-1", 100)]
    before = {"orders": UpstreamCounters(completed=200, failed=2)}
    burn, _ = compare(now, ["orders/orders-1"], before)
    assert burn == "30 of 100 (30.0%) of the requests of orders failed with it, 2 of 200 (1.0%) before"
    assert compare(now, ["orders/orders-1"], {}) == ("", "")


def test_it_makes_requests_slow() -> None:
    both = [traffic("orders-1", 200, ms=300), traffic("orders-2", 200, ms=20)]
    burn, _ = compare(both, ["orders/orders-1"], {})
    assert burn == "p95 of orders is 328 ms with it, 22 ms on the others"
    few = [traffic("orders-1", 50, ms=300), traffic("orders-2", 200, ms=20)]
    assert compare(few, ["orders/orders-1"], {})[0] == ""


def test_a_busy_host_makes_nothing_slower_than_its_past() -> None:
    before = {"orders": traffic("orders-1", 200, ms=29).counters}
    assert compare([traffic("orders-1", 200, ms=86)], ["orders/orders-1"], before)[0] == ""
    burn, _ = compare([traffic("orders-1", 200, ms=500)], ["orders/orders-1"], before)
    assert burn == "p95 of orders is 548 ms with it, 32 ms before"
