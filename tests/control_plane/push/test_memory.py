"""The last minute of each service, without what a revision on trial did."""

from __future__ import annotations

from typing import cast

from meshwright.control_plane.push.judge import ProxyTraffic
from meshwright.control_plane.push.memory import WINDOWS, TrafficMemory
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters


def test_the_last_minute_of_a_service_is_the_sum_of_its_proxies() -> None:
    per_window = 10.0

    def traffic(services: object, since: object) -> list[ProxyTraffic]:
        counters = UpstreamCounters(completed=per_window, failed=1)
        names = ("orders-1", "orders-2")
        return [ProxyTraffic("orders", name, per_window, counters) for name in names]

    memory = TrafficMemory(traffic, cast("ConfigReconciler", None))
    assert memory.before(["orders"]) == {}
    for _ in range(WINDOWS):
        memory.remember(["orders", "idle"])
    (total,) = memory.before(["orders", "idle", "unknown"]).values()
    assert (total.completed, total.failed) == (120, 12)
    per_window = 0.0
    for _ in range(WINDOWS):
        memory.remember(["orders"])
    assert memory.before(["orders"]) == {}, "what is older than a minute is forgotten"
