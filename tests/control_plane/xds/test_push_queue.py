"""Which streams a change reaches, how changes are merged, and who is waited for meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import CDS, EDS, LDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.push_queue import Peer, PushQueue, Stream
from tests.control_plane.xds.world import cluster, endpoints, listener, mesh
from tests.envoy.xds_lab import HandMade
from tests.fakes.envoy import EnvoyModel

PATIENCE = 20.0


class Client:
    """An Envoy at the other end of a stream, without sockets; it reads only while `reads` is set."""

    def __init__(self, queue: PushQueue, node: str) -> None:
        self.queue = queue
        self.model = EnvoyModel(node=node)
        self.inbox: asyncio.Queue[v3.DeltaDiscoveryResponse] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.written_to = asyncio.Event()
        self.stream: Stream

    async def connect(self) -> None:
        """Open a stream and take all that comes."""
        peer = Peer(Identity("mesh.local", "service", "orders"), self.model.node, Bindings())
        self.stream = await self.queue.join(peer, self._write)
        for kind in (CDS, LDS):
            await self.queue.receive(self.stream, self.model.open(kind))
        while self.stream.status().state != "synced":
            await self.hear()
        self.model.responses = 0
        self.written_to.clear()

    async def hear(self) -> None:
        """Take the next response and answer it."""
        response = await asyncio.wait_for(self.inbox.get(), PATIENCE)
        for request in self.model.handle(response):
            await self.queue.receive(self.stream, request)

    async def _write(self, data: bytes) -> None:
        self.written_to.set()
        await self.reads.wait()
        self.inbox.put_nowait(v3.DeltaDiscoveryResponse.FromString(data))

    @property
    def stands(self) -> tuple[str, int]:
        """State and revision as the control plane shows them."""
        status = self.stream.status()
        return status.state, status.revision


def config(
    revision: int, a: int = 1, b: int = 1, x: int = 1, listeners: tuple[str, ...] = ("in",)
) -> HandMade:
    """Clusters `a` and `b`, which everybody has, and `x`, which nobody asks for: weights of endpoints."""
    weights = {"a": a, "b": b, "x": x}
    resources = [
        each for name, weight in weights.items() for each in (cluster(name), endpoints(name, weight))
    ]
    resources += [listener(name) for name in listeners]
    return HandMade(mesh(*resources, revision=revision, pinned=[(CDS, "a"), (CDS, "b")]))


def version(snapshot: HandMade, name: str) -> str:
    return snapshot.config.resources[EDS, name].version


@pytest.fixture
async def queue() -> PushQueue:
    made = PushQueue()
    made.publish(config(1))
    return made


@pytest.fixture
async def clients(queue: PushQueue) -> list[Client]:
    """Three that have ACKed everything."""
    made = [Client(queue, f"orders-{each}") for each in range(3)]
    for each in made:
        await each.connect()
    return made


async def test_changes_of_one_turn_reach_each_stream_once(queue: PushQueue, clients: list[Client]) -> None:
    for snapshot in (config(2, a=2), config(3, a=3), config(4, a=3, b=2), newest := config(5, a=3, b=2, x=2)):
        queue.publish(snapshot)
    for each in clients:
        await each.hear()
        assert each.model.responses == 1
        assert {name: each.model.resources[EDS][name][0] for name in each.model.resources[EDS]} == {
            "a": version(newest, "a"),
            "b": version(newest, "b"),
        }
        assert each.stands == ("synced", 5)


async def test_changes_during_a_write_are_one_more_response(queue: PushQueue, clients: list[Client]) -> None:
    slow, quick, _ = clients
    slow.reads.clear()
    queue.publish(config(2, a=2))
    await asyncio.wait_for(slow.written_to.wait(), PATIENCE)
    await quick.hear()
    for weight in range(3, 50):
        queue.publish(config(weight, a=weight, b=weight // 2, x=weight))
    slow.reads.set()
    await slow.hear()
    assert slow.model.resources[EDS]["a"][0] == version(config(2, a=2), "a")
    await slow.hear()
    assert slow.model.resources[EDS]["a"][0] == version(config(49, a=49), "a")
    assert slow.model.resources[EDS]["b"][0] == version(config(49, b=24), "b")
    assert (slow.stands, slow.model.responses) == (("synced", 49), 2)


async def test_a_change_that_concerns_nobody_is_not_waited_for(
    queue: PushQueue, clients: list[Client]
) -> None:
    queue.publish(newer := config(2, x=2))
    assert queue.is_acked(EDS, "x", version(newer, "x"))
    assert [each.stands for each in clients] == [("synced", 2)] * 3
    assert not any(each.written_to.is_set() for each in clients)


@pytest.mark.parametrize(("newer", "reached"), [(config(2, a=2), 3), (config(2, x=2), 0), (config(2), 0)])
async def test_whom_a_change_would_reach_is_known_before_it_is_made(
    queue: PushQueue, clients: list[Client], newer: HandMade, reached: int
) -> None:
    found = queue.affected_nodes(config(1), newer)
    assert sorted(found) == [f"orders-{each}" for each in range(reached)]
    assert not any(each.written_to.is_set() for each in clients)


async def test_each_version_published_in_a_burst_can_be_waited_for(
    queue: PushQueue, clients: list[Client]
) -> None:
    snapshots = [config(2, a=2), config(3, a=2, x=2), config(4, a=2, b=2), config(5, a=3, b=2)]
    for snapshot in snapshots:
        queue.publish(snapshot)
    asked = [("a", version(snapshot, "a")) for snapshot in snapshots] + [("b", version(snapshots[2], "b"))]
    waits = [asyncio.create_task(queue.wait_acked(EDS, *each)) for each in asked]
    for each in clients:
        for name, wanted in asked:
            assert each.model.node in queue.unacked_nodes(EDS, name, wanted)
        assert not any(wait.done() for wait in waits)
        await each.hear()
        for name, wanted in asked:
            assert each.model.node not in queue.unacked_nodes(EDS, name, wanted)
    await asyncio.wait_for(asyncio.gather(*waits), PATIENCE)


async def test_a_listener_that_is_new_reaches_who_wants_them_all(
    queue: PushQueue, clients: list[Client]
) -> None:
    queue.publish(config(2, listeners=("in", "another")))
    for each in clients:
        await each.hear()
        assert each.model.resources[LDS].keys() == {"in", "another"}
        assert each.stands == ("synced", 2)
