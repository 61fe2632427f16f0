"""Which streams a change reaches, how changes are merged, and which streams a waiter waits for."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import CDS, EDS, LDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.node_identity import Peer
from meshwright.control_plane.xds.push_queue import DISCONNECTED_TTL, PushQueue
from meshwright.control_plane.xds.stream import IDLE_DELAY, IDLE_LIMIT, Stream
from tests.control_plane.xds.resources import cluster, endpoints, listener
from tests.fakes.clock import FakeClock
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import HandMadeSnapshot, node_snapshot

TIMEOUT = 60.0


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
        """Open a stream and receive everything."""
        peer = Peer(Identity("mesh.local", "service", "orders"), self.model.node, Bindings())
        self.stream = await self.queue.join(peer, self._write)
        for type_url in (CDS, LDS):
            await self.queue.receive(self.stream, self.model.open(type_url))
        while self.stream.status().state != "synced":
            await self.receive()
        self.model.responses = 0
        self.written_to.clear()

    async def receive(self) -> None:
        """Receive the next response and reply to it."""
        response = await asyncio.wait_for(self.inbox.get(), TIMEOUT)
        for request in self.model.handle(response):
            await self.queue.receive(self.stream, request)

    async def _write(self, data: bytes) -> None:
        self.written_to.set()
        await self.reads.wait()
        self.inbox.put_nowait(v3.DeltaDiscoveryResponse.FromString(data))

    def endpoints(self) -> dict[str, str]:
        """Versions of the endpoints that it has."""
        return {name: version for name, (version, _) in self.model.resources[EDS].items()}

    @property
    def state(self) -> tuple[str, int]:
        """State and revision that the control plane shows."""
        status = self.stream.status()
        return status.state, status.revision


def snapshot(
    revision: int, a: int = 1, b: int = 1, x: int = 1, listeners: tuple[str, ...] = ("in",)
) -> HandMadeSnapshot:
    """Pinned clusters `a` and `b`, and a cluster `x` without subscribers, with weights of their endpoints."""
    weights = {"a": a, "b": b, "x": x}
    resources = [
        resource for name, weight in weights.items() for resource in (cluster(name), endpoints(name, weight))
    ]
    resources += [listener(name) for name in listeners]
    pinned = [(CDS, "a"), (CDS, "b")]
    return HandMadeSnapshot(node_snapshot(*resources, revision=revision, pinned=pinned))


def version(of: HandMadeSnapshot, name: str) -> str:
    return of.hand_made.resources[EDS, name].version


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(clock: FakeClock) -> PushQueue:
    queue = PushQueue(clock)
    queue.publish(snapshot(1))
    return queue


@pytest.fixture
async def clients(queue: PushQueue) -> list[Client]:
    """Three clients that have ACKed everything."""
    clients = [Client(queue, f"orders-{number}") for number in range(3)]
    for client in clients:
        await client.connect()
    return clients


async def test_changes_within_one_loop_turn_reach_each_stream_once(
    queue: PushQueue, clients: list[Client]
) -> None:
    newest = snapshot(5, a=3, b=2, x=2)
    for published in (snapshot(2, a=2), snapshot(3, a=3), snapshot(4, a=3, b=2), newest):
        queue.publish(published)
    for client in clients:
        await client.receive()
        assert client.model.responses == 1
        assert client.endpoints() == {"a": version(newest, "a"), "b": version(newest, "b")}
        assert client.state == ("synced", 5)


async def test_changes_during_a_write_are_merged_into_one_response(
    queue: PushQueue, clients: list[Client]
) -> None:
    slow, quick, _ = clients
    slow.reads.clear()
    queue.publish(snapshot(2, a=2))
    await asyncio.wait_for(slow.written_to.wait(), TIMEOUT)
    await quick.receive()
    for weight in range(3, 50):
        queue.publish(snapshot(weight, a=weight, b=weight // 2, x=weight))
    slow.reads.set()
    await slow.receive()
    assert slow.endpoints()["a"] == version(snapshot(2, a=2), "a")
    await slow.receive()
    assert slow.endpoints()["a"] == version(snapshot(49, a=49), "a")
    assert slow.endpoints()["b"] == version(snapshot(49, b=24), "b")
    assert (slow.state, slow.model.responses) == (("synced", 49), 2)


async def test_change_without_subscribers_is_acked_at_once(queue: PushQueue, clients: list[Client]) -> None:
    queue.publish(newer := snapshot(2, x=2))
    assert queue.is_acked(EDS, "x", version(newer, "x"))
    assert [client.state for client in clients] == [("synced", 2)] * 3
    assert not any(client.written_to.is_set() for client in clients)


@pytest.mark.parametrize(
    ("newer", "affected"), [(snapshot(2, a=2), 3), (snapshot(2, x=2), 0), (snapshot(2), 0)]
)
async def test_affected_proxies_are_known_before_a_change_is_published(
    queue: PushQueue, clients: list[Client], newer: HandMadeSnapshot, affected: int
) -> None:
    changed = newer.changed_from(snapshot(1))
    proxies = queue.affected_proxies(dict.fromkeys(queue.viewers(), changed))
    assert sorted(proxies) == [("orders", f"orders-{number}") for number in range(affected)]
    assert queue.affected_proxies({}) == ()
    assert not any(client.written_to.is_set() for client in clients)


async def test_each_version_published_in_a_burst_can_be_waited_for(
    queue: PushQueue, clients: list[Client]
) -> None:
    snapshots = [snapshot(2, a=2), snapshot(3, a=2, x=2), snapshot(4, a=2, b=2), snapshot(5, a=3, b=2)]
    for published in snapshots:
        queue.publish(published)
    versions = [("a", version(published, "a")) for published in snapshots]
    versions.append(("b", version(snapshots[2], "b")))
    waits = [asyncio.create_task(queue.wait_acked(EDS, *name_and_version)) for name_and_version in versions]
    for client in clients:
        for name, awaited in versions:
            assert client.model.node in queue.unacked_nodes(EDS, name, awaited)
        assert not any(wait.done() for wait in waits)
        await client.receive()
        for name, awaited in versions:
            assert client.model.node not in queue.unacked_nodes(EDS, name, awaited)
    await asyncio.wait_for(asyncio.gather(*waits), TIMEOUT)


async def test_new_listener_reaches_wildcard_subscribers(queue: PushQueue, clients: list[Client]) -> None:
    queue.publish(snapshot(2, listeners=("in", "another")))
    for client in clients:
        await client.receive()
        assert client.model.resources[LDS].keys() == {"in", "another"}
        assert client.state == ("synced", 2)


async def test_disconnected_proxy_is_listed_for_a_minute(
    queue: PushQueue, clients: list[Client], clock: FakeClock
) -> None:
    queue.leave(clients[0].stream)
    clock.advance(DISCONNECTED_TTL - 1)
    states = [(proxy.name, proxy.state) for proxy in queue.proxies()]
    assert states == [("orders-0", "disconnected"), ("orders-1", "synced"), ("orders-2", "synced")]
    clock.advance(1)
    assert [proxy.name for proxy in queue.proxies()] == ["orders-1", "orders-2"]


async def test_idle_work_waits_for_quiet_after_the_last_push(
    queue: PushQueue, clients: list[Client], clock: FakeClock
) -> None:
    client = clients[0]
    await remove_cluster_b(queue, client)
    clock.advance(IDLE_DELAY * 0.9)
    queue.publish(without_b(3, a=2))
    await client.receive()
    clock.advance(IDLE_DELAY * 0.2)
    client.stream._on_idle()
    assert client.inbox.empty()
    assert client.stream.delta.has_idle_work
    clock.advance(IDLE_DELAY)
    client.stream._on_idle()
    await client.receive()
    assert set(client.model.resources[CDS]) == {"a"}


async def test_idle_work_is_done_in_spite_of_constant_pushes(
    queue: PushQueue, clients: list[Client], clock: FakeClock
) -> None:
    client = clients[0]
    await remove_cluster_b(queue, client)
    passed, revision = 0.0, 3
    while client.stream.delta.has_idle_work:
        assert passed <= IDLE_LIMIT + IDLE_DELAY
        queue.publish(without_b(revision, a=revision))
        await client.receive()
        clock.advance(IDLE_DELAY / 2)
        passed, revision = passed + IDLE_DELAY / 2, revision + 1
        client.stream._on_idle()
    assert passed >= IDLE_LIMIT
    await client.receive()
    assert set(client.model.resources[CDS]) == {"a"}


def without_b(revision: int, a: int = 1) -> HandMadeSnapshot:
    """The snapshot without cluster `b`."""
    resources = (cluster("a"), endpoints("a", a), cluster("x"), endpoints("x"), listener("in"))
    return HandMadeSnapshot(node_snapshot(*resources, revision=revision, pinned=[(CDS, "a")]))


async def remove_cluster_b(queue: PushQueue, client: Client) -> None:
    """Publish the removal of cluster `b`, which is work for an idle stream."""
    queue.publish(without_b(2, a=9))
    await client.receive()
    assert client.stream.delta.has_idle_work
