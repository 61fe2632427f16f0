"""The xDS port over real mutual TLS: who is let in, what is pushed, how it is followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import grpc
import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.server import XdsServer
from tests.control_plane.xds.world import HandMadeNode, cluster, endpoints, listener, mesh
from tests.envoy.xds_lab import HandMade, until
from tests.fakes.envoy import EnvoyModel, FakeEnvoy
from tests.fakes.pki import DOMAIN, Pki

PINNED = [(CDS, "a")]

FIRST = (CDS,)
"""What somebody opens who is refused on it: a second request could meet a call that has ended."""


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[XdsServer]:
    """A server without a snapshot yet; its port is in `port`."""
    made = XdsServer("127.0.0.1", 0, DOMAIN, pki.server())
    made.port = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


Connect = Callable[..., FakeEnvoy]


@pytest.fixture
async def connect(server: XdsServer, pki: Pki) -> AsyncIterator[Connect]:
    """Makes fake Envoys; they are closed in the end."""
    made: list[FakeEnvoy] = []

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
        made.append(envoy)
        return envoy

    yield new
    for each in made:
        await each.close()


def config(weight: int = 1, revision: int = 1) -> HandMade:
    """One pinned service and a listener."""
    return HandMade(
        mesh(cluster("a"), endpoints("a", weight), listener("inbound"), revision=revision, pinned=PINNED)
    )


def states(server: XdsServer) -> list[tuple[str, str, int]]:
    return [(each.name, each.state, each.revision) for each in server.proxies()]


async def test_nobody_is_answered_before_the_first_snapshot(server: XdsServer, connect: Connect) -> None:
    envoy = connect()
    await envoy.start()
    await asyncio.sleep(0.2)
    assert envoy.model.responses == 0
    server.publish(config())
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    assert envoy.model.resources[LDS].keys() == {"inbound"}
    assert envoy.model.resources[EDS].keys() == {"a"}


async def test_a_change_is_pushed_and_its_ack_can_be_waited_for(server: XdsServer, connect: Connect) -> None:
    server.publish(config())
    envoy = connect()
    await envoy.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    newer = config(2, 2)
    server.publish(newer)
    version = newer.config.resources[EDS, "a"].version
    assert server.queue.unacked_nodes(EDS, "a", version) == ("orders-1",)
    await asyncio.wait_for(server.queue.wait_acked(EDS, "a", version), 30)
    assert envoy.model.resources[EDS]["a"][0] == version
    await until(lambda: states(server) == [("orders-1", "synced", 2)])


@pytest.mark.parametrize(
    ("name", "claimed", "words"),
    [("orders-1", "users", "node.cluster"), ("Orders 1", "orders", "node.id"), ("", "orders", "node.id")],
)
async def test_a_node_that_is_not_what_its_certificate_says_is_refused(
    server: XdsServer, connect: Connect, name: str, claimed: str, words: str
) -> None:
    server.publish(config())
    before = metrics.REFUSALS._value.get()
    envoy = connect(name, cluster=claimed, opening=FIRST)
    await envoy.start()
    assert await envoy.final_code() == grpc.StatusCode.PERMISSION_DENIED
    assert words in await envoy.final_details()
    assert metrics.REFUSALS._value.get() == before + 1
    assert server.proxies() == ()


async def test_a_certificate_of_another_root_is_refused(
    server: XdsServer, connect: Connect, pki: Pki
) -> None:
    stranger = Pki()
    envoy = connect(ca=stranger)
    envoy._credentials = grpc.ssl_channel_credentials(pki.roots, *_pair(stranger))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await envoy.start()
        await envoy.subscribe(LDS, "inbound")
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def _pair(ca: Pki) -> tuple[bytes, bytes]:
    own = ca.server()
    return own.key, own.certificate


async def test_two_streams_of_one_node_are_both_served(server: XdsServer, connect: Connect) -> None:
    server.publish(config())
    old, new = connect(), connect()
    await old.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    await new.start()
    await until(lambda: "a" in new.model.resources[EDS])
    server.publish(config(2, 2))
    await until(
        lambda: old.model.resources[EDS] == new.model.resources[EDS] and server.queue.is_acked(EDS, "a")
    )
    await old.close()
    await until(lambda: states(server) == [("orders-1", "synced", 2)])
    await new.close()
    await until(lambda: states(server) == [("orders-1", "disconnected", 2)])


async def test_a_new_certificate_serves_new_connections(
    server: XdsServer, connect: Connect, pki: Pki
) -> None:
    server.publish(config())
    first = connect()
    await first.start()
    await until(lambda: states(server) == [("orders-1", "synced", 1)])
    other = Pki()
    server.replace_credentials(other.server())
    second = connect("users-1", "users", ca=other)
    await second.start()
    await until(lambda: ("users-1", "synced", 1) in states(server))
    server.publish(config(2, 2))
    await until(lambda: states(server) == [("orders-1", "synced", 2), ("users-1", "synced", 2)])


async def test_a_refusal_is_shown_in_envoys_words(server: XdsServer, connect: Connect) -> None:
    server.publish(config())
    envoy = connect()
    envoy.model.reject = lambda kind, name, body: "no such port" if kind == LDS else ""
    await envoy.start()
    await until(lambda: states(server) == [("orders-1", "rejected", 0)])
    assert server.proxies()[0].error == "Listener inbound: inbound: no such port"


async def test_a_client_that_reads_nothing_holds_up_nobody(server: XdsServer, connect: Connect) -> None:
    server.publish(config())
    slow, quick = connect("slow-1"), connect("quick-1")
    await slow.start()
    await quick.start()
    await until(lambda: len(states(server)) == 2 and all(each[1] == "synced" for each in states(server)))
    assert slow._reader is not None
    slow._reader.cancel()
    for revision in range(2, 300):
        server.publish(config(revision, revision))
        if revision % 50 == 0:
            await until(partial(_is_synced, server, "quick-1", revision))
    await until(lambda: ("quick-1", "synced", 299) in states(server))
    assert ("slow-1", "synced", 299) not in states(server)


def _is_synced(server: XdsServer, name: str, revision: int) -> bool:
    return (name, "synced", revision) in states(server)


async def test_a_node_has_a_bounded_number_of_streams(server: XdsServer, connect: Connect) -> None:
    server.publish(HandMade(HandMadeNode()))
    envoys = [*(connect() for _ in range(8)), connect(opening=FIRST)]
    for each in envoys[:8]:
        await each.start()
    await until(lambda: len(server.queue._streams) == 8)
    await envoys[8].start()
    assert await envoys[8].final_code() == grpc.StatusCode.RESOURCE_EXHAUSTED
