"""An eviction takes effect at every control plane, wherever the proxy is connected and its agent calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from meshwright.control_plane.agents.enrolments import TTL, SeenEnrolments
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Caller, Eviction, Evictions
from meshwright.control_plane.cluster.evictions import EvictionService, EvictionTargets
from meshwright.control_plane.errors import InputError, NotFoundError, PermissionDeniedError
from tests.fakes.members import FakeMembers, connected_members

EVIL, ORDERS = (Identity("mesh.local", "service", name) for name in ("evil", "orders"))
FIRST, SECOND = Caller(EVIL, "00000000000000a1"), Caller(EVIL, "00000000000000a2")


@dataclass
class SharedStore:
    """The evictions of a mesh, in memory."""

    evictions: list[Eviction] = field(default_factory=list)

    async def add(self, evictions: Sequence[Eviction]) -> None:
        self.evictions += evictions

    async def list(self) -> tuple[Eviction, ...]:
        return tuple(self.evictions)


@dataclass
class Streams:
    """Streams of one control plane by node, and what was evicted."""

    open: dict[str, Caller] = field(default_factory=dict)
    evicted: list[str] = field(default_factory=list)

    def callers(self, node: str, service: str) -> frozenset[Caller]:
        caller = self.open.get(node)
        return frozenset({caller} if caller and service in ("", caller.identity.name) else ())

    def evict(self, enrolment: str, reason: str) -> None:
        self.evicted.append(enrolment)


class Leases:
    """Records what was deregistered."""

    def __init__(self) -> None:
        self.removed: list[tuple[str, str, str]] = []

    async def deregister(self, instance: str, service: str, failure: str) -> bool:
        self.removed.append((service, instance, failure))
        return True


class Plane:
    """One control plane."""

    def __init__(self, store: SharedStore, members: FakeMembers) -> None:
        self.streams, self.leases = Streams(), Leases()
        self.seen, self.evictions = SeenEnrolments(), Evictions()
        self.events: list[Eviction] = []
        targets = EvictionTargets(self.streams, self.leases, self.seen)
        self.service = EvictionService(
            store,
            self.evictions,
            targets,
            members,
            self.events.append,
        )


def planes() -> tuple[Plane, Plane]:
    store = SharedStore()
    here, there = connected_members(2)
    return Plane(store, here), Plane(store, there)


async def test_a_proxy_of_another_control_plane_is_evicted_at_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    here, there = planes()
    there.streams.open["evil-1"] = FIRST
    here.seen.record(SECOND, "evil-1", 1000.0)
    here.seen.record(SECOND, "evil-2", 1000.0)
    result = await here.service.evict("evil-1", "", "ana", "why")
    assert (result.service, result.enrolments) == ("evil", 2)
    await there.service.refresh()
    for plane in (here, there):
        assert sorted(plane.streams.evicted) == [FIRST.enrolment, SECOND.enrolment]
        for caller in (FIRST, SECOND):
            with pytest.raises(PermissionDeniedError, match="evil-1 was evicted by ana: why"):
                plane.evictions.check(caller)
        plane.evictions.check(Caller(EVIL, "00000000000000a3"))
    failure = here.events[0].failure
    assert failure.startswith("evicted by ana at 20")
    assert sorted(here.leases.removed) == [("evil", "evil-1", failure), ("evil", "evil-2", failure)]
    assert (len(here.events), there.events) == (1, [])
    await here.service.refresh()
    assert len(here.streams.evicted) == 2


async def test_an_evicted_gateway_gets_no_more_calls_of_sidecars() -> None:
    plane, _ = planes()
    gateway = Caller(Identity("mesh.local", "gateway", "egress"), "00000000000000b1")
    plane.streams.open["egress-1"] = gateway
    plane.seen.record(gateway, "egress-1", time.monotonic())
    await plane.service.evict("egress-1", "", "ann", "")
    (removed,) = plane.leases.removed
    assert removed[:2] == ("gateway/egress", "egress-1")


async def test_unknown_and_ambiguous_names_are_refused() -> None:
    here, there = planes()
    with pytest.raises(NotFoundError):
        await here.service.evict("evil-1", "", "", "")
    here.streams.open["shared"], there.streams.open["shared"] = FIRST, Caller(ORDERS, "00000000000000b1")
    with pytest.raises(InputError, match=r"several proxies have this name, of .*evil and .*orders"):
        await here.service.evict("shared", "", "", "")
    assert (await here.service.evict("shared", "orders", "", "")).service == "orders"


def test_enrolments_are_seen_for_a_minute_and_bounded() -> None:
    seen = SeenEnrolments()
    seen.record(Caller(EVIL), "evil-0", 0.0)
    assert seen.of_node("evil-0", "", 0.0) == frozenset()
    seen.record(FIRST, "evil-1", 0.0)
    seen.record(SECOND, "evil-1", 50.0)
    assert seen.of_node("evil-1", "evil", 50.0) == {FIRST, SECOND}
    assert seen.of_node("evil-1", "orders", 50.0) == frozenset()
    assert seen.of_node("evil-1", "", TTL + 1) == {SECOND}
    for number in range(10_000):
        seen.record(FIRST, f"evil-{number}", 50.0)
    assert len(seen.nodes_of(FIRST.enrolment, 50.0)) <= 4000
