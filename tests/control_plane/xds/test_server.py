"""The xDS port over real mutual TLS: which clients it accepts, what it pushes, how ACKs are tracked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import grpc
import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.server import XdsServer
from tests.control_plane.xds.resources import cluster, endpoints, listener
from tests.envoy.xds_lab import until
from tests.fakes.envoy import EnvoyModel, FakeEnvoy
from tests.fakes.pki import DOMAIN, Pki
from tests.fakes.snapshot import HandMadeSnapshot, node_snapshot

PINNED = [(CDS, "a")]

ONE_TYPE = (CDS,)
"""For clients that are denied: a second request could arrive after the call has ended."""


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[XdsServer]:
    """A server without a snapshot yet; its port is in `port`."""
    server = XdsServer("127.0.0.1", 0, DOMAIN, pki.server())
    server.port = await server.start()  # type: ignore[attr-defined]
    yield server
    await server.stop()


Connect = Callable[..., FakeEnvoy]


@pytest.fixture
async def connect(server: XdsServer, pki: Pki) -> AsyncIterator[Connect]:
    """Creates fake Envoys and closes them at the end."""
    envoys: list[FakeEnvoy] = []

    def new(
        name: str = "orders-1",
        service: str = "orders",
        cluster: str | None = None,
        ca: Pki = pki,
        opening: Iterable[str] = (CDS, LDS),
    ) -> FakeEnvoy:
        model = EnvoyModel(node=name, cluster=service if cluster is None else cluster)
        address = f"127.0.0.1:{server.port}"  # type: ignore[attr-defined]
        envoy = FakeEnvoy(address, ca.client(service), model, opening)
        envoys.append(envoy)
        return envoy

    yield new
    for envoy in envoys:
        await envoy.close()


def snapshot(weight: int = 1, revision: int = 1) -> HandMadeSnapshot:
    """One pinned service and a listener."""
    resources = (cluster("a"), endpoints("a", weight), listener("inbound"))
    return HandMadeSnapshot(node_snapshot(*resources, revision=revision, pinned=PINNED))


def states(server: XdsServer) -> list[tuple[str, str, int]]:
    return [(proxy.name, proxy.state, proxy.revision) for proxy in server.proxies()]


async def test_stream_waits_for_the_first_snapshot(server: XdsServer, connect: Connect) -> None:
    envoy = connect()
    await envoy.start()
    await until(lambda: server.queue._per_node)
    assert envoy.model.responses == 0
    server.publish(snapshot())
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    assert envoy.model.resources[LDS].keys() == {"inbound"}
    assert envoy.model.resources[EDS].keys() == {"a"}


async def test_change_is_pushed_and_its_ack_can_be_waited_for(server: XdsServer, connect: Connect) -> None:
    server.publish(snapshot())
    envoy = connect()
    await envoy.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    newer = snapshot(2, 2)
    server.publish(newer)
    version = newer.hand_made.resources[EDS, "a"].version
    assert server.queue.unacked_nodes(EDS, "a", version) == ("orders-1",)
    await asyncio.wait_for(server.queue.wait_acked(EDS, "a", version), 30)
    assert envoy.model.resources[EDS]["a"][0] == version
    await until(lambda: states(server) == [("orders-1", "synced", 2)])


@pytest.mark.parametrize(
    ("name", "cluster", "message"),
    [("orders-1", "users", "node.cluster"), ("Orders 1", "orders", "node.id"), ("", "orders", "node.id")],
)
async def test_node_that_contradicts_its_certificate_is_denied(
    server: XdsServer, connect: Connect, name: str, cluster: str, message: str
) -> None:
    server.publish(snapshot())
    before = metrics.REFUSALS._value.get()
    envoy = connect(name, cluster=cluster, opening=ONE_TYPE)
    await envoy.start()
    assert await envoy.final_code() == grpc.StatusCode.PERMISSION_DENIED
    assert message in await envoy.final_details()
    assert metrics.REFUSALS._value.get() == before + 1
    assert server.proxies() == ()


async def test_certificate_of_another_root_is_denied(server: XdsServer, connect: Connect, pki: Pki) -> None:
    stranger = Pki()
    envoy = connect(ca=stranger)
    envoy._credentials = grpc.ssl_channel_credentials(pki.roots, *_pair(stranger))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await envoy.start()
        await envoy.subscribe(LDS, "inbound")
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def _pair(ca: Pki) -> tuple[bytes, bytes]:
    credentials = ca.server()
    return credentials.key, credentials.certificate


async def test_both_streams_of_one_node_are_served(server: XdsServer, connect: Connect) -> None:
    server.publish(snapshot())
    old, new = connect(), connect()
    await old.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    await new.start()
    await until(lambda: "a" in new.model.resources[EDS])
    server.publish(snapshot(2, 2))
    await until(
        lambda: old.model.resources[EDS] == new.model.resources[EDS] and server.queue.is_acked(EDS, "a")
    )
    await old.close()
    await until(lambda: states(server) == [("orders-1", "synced", 2)])
    await new.close()
    await until(lambda: states(server) == [("orders-1", "disconnected", 2)])


async def test_replaced_certificate_serves_new_connections(
    server: XdsServer, connect: Connect, pki: Pki
) -> None:
    server.publish(snapshot())
    first = connect()
    await first.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    other = Pki()
    server.replace_credentials(other.server())
    second = connect("users-1", "users", ca=other)
    await second.start()
    await until(lambda: ("users-1", "synced", 1) in states(server))
    server.publish(snapshot(2, 2))
    await until(lambda: states(server) == [("orders-1", "synced", 2), ("users-1", "synced", 2)])


async def test_nack_is_shown_with_envoys_error(server: XdsServer, connect: Connect) -> None:
    server.publish(snapshot())
    envoy = connect()
    envoy.model.reject = lambda type_url, name, body: "no such port" if type_url == LDS else ""
    await envoy.start()
    await until(lambda: states(server) == [("orders-1", "rejected", 0)])
    assert server.proxies()[0].error == "Listener inbound: inbound: no such port"


async def test_client_that_does_not_read_delays_no_other(server: XdsServer, connect: Connect) -> None:
    server.publish(snapshot())
    slow, quick = connect("slow-1"), connect("quick-1")
    await slow.start()
    await quick.start()
    await until(lambda: len(states(server)) == 2 and all(state == "synced" for _, state, _ in states(server)))
    assert slow._reader is not None
    slow._reader.cancel()
    for revision in range(2, 300):
        server.publish(snapshot(revision, revision))
        if revision % 50 == 0:
            await until(partial(_is_synced, server, "quick-1", revision))
    await until(lambda: ("quick-1", "synced", 299) in states(server))
    assert ("slow-1", "synced", 299) not in states(server)


def _is_synced(server: XdsServer, name: str, revision: int) -> bool:
    return (name, "synced", revision) in states(server)


async def test_streams_of_one_node_are_limited(server: XdsServer, connect: Connect) -> None:
    server.publish(HandMadeSnapshot(node_snapshot()))
    envoys = [*(connect() for _ in range(8)), connect(opening=ONE_TYPE)]
    for envoy in envoys[:8]:
        await envoy.start()
    await until(lambda: len(server.queue._streams) == 8)
    await envoys[8].start()
    assert await envoys[8].final_code() == grpc.StatusCode.RESOURCE_EXHAUSTED
