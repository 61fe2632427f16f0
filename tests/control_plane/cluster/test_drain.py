"""A drain waits for the sidecars of every control plane."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from meshwright.control_plane.api.models.instances import InstanceHealth, Port
from meshwright.control_plane.cluster.drain import ClusterDrain
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import Instance, Service, World
from tests.fakes.members import FakeMembers, connected_members


@dataclass
class Acks:
    """The ACKs of one control plane's sidecars, and what is waited for."""

    acked: asyncio.Event = field(default_factory=asyncio.Event)
    waited_for: list[str] = field(default_factory=list)

    async def wait_acked(self, _type_url: str, name: str, _version: str | None = None) -> None:
        self.waited_for.append(name)
        await self.acked.wait()


def world(health: InstanceHealth) -> Translation:
    instance = Instance("orders-1", "127.0.0.1", 1, health=health)
    return translate(World(1, {"orders": Service("orders", (Port(),), (instance,))}), None)


class ControlPlane:
    def __init__(self, members: FakeMembers) -> None:
        self.served: Translation | None = world("healthy")
        self.acks = Acks()
        self.sleeps = 0
        self.drain = ClusterDrain(lambda: self.served, self.acks, members, self.sleep)

    async def sleep(self, _seconds: float) -> None:
        """The instance is served as draining after a while."""
        self.sleeps += 1
        if self.sleeps == 3:
            self.served = world("draining")
        await asyncio.sleep(0)


@pytest.fixture
def members() -> list[FakeMembers]:
    return connected_members(2)


async def test_wait_returns_when_the_sidecars_of_all_control_planes_have_acked(
    members: list[FakeMembers],
) -> None:
    here, there = (ControlPlane(member) for member in members)
    waiting = asyncio.create_task(here.drain.wait("orders", "orders-1"))
    here.acks.acked.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert here.acks.waited_for == there.acks.waited_for == ["orders"]
    assert not waiting.done()
    there.acks.acked.set()
    assert (await waiting).drained
    assert here.sleeps == 3


async def test_wait_peer_fails_is_not_drained(members: list[FakeMembers]) -> None:
    here, _ = (ControlPlane(member) for member in members)
    here.acks.acked.set()
    members[1].silent.add("WaitUntilDrained")
    assert not (await here.drain.wait("orders", "orders-1")).drained


async def test_wait_unknown_instance_has_nothing_to_wait_for() -> None:
    here = ControlPlane(FakeMembers())
    assert (await here.drain.wait("orders", "orders-9")).drained
    assert here.acks.waited_for == []
