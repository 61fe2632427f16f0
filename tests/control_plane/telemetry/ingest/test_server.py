"""The OTLP server over real mutual TLS: who may send, what is dropped, and that nothing stops it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import grpc
import pytest

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.queue import MAX_MESSAGE_BYTES
from meshwright.control_plane.telemetry.ingest.server import SERVICES, OtlpServer
from meshwright.control_plane.telemetry.topology.traffic import TrafficSample
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.envoy.xds_lab import until
from tests.fakes.pki import DOMAIN, Pki, key_pem

METRICS = f"/{SERVICES['metrics']}/Export"


class PausableHandler:
    """Handles metrics while `running` is set; raises while `failing`."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.windows = TrafficWindows()
        self.failing = False

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        if self.failing:
            raise ArithmeticError("a bug in the handler")
        while not self.running.is_set():
            yield
        yield from self.windows.handle(identity, body, now)

    def samples(self) -> list[TrafficSample]:
        return list(self.windows.samples(time.monotonic()))


@dataclass
class RunningServer:
    """A started server and its port."""

    server: OtlpServer
    port: int


@pytest.fixture
async def handler() -> PausableHandler:
    handler = PausableHandler()
    handler.running.set()
    return handler


@pytest.fixture
async def running(pki: Pki, handler: PausableHandler) -> AsyncIterator[RunningServer]:
    server = OtlpServer("127.0.0.1", 0, DOMAIN, pki.server(), {"metrics": handler.handle})
    yield RunningServer(server, await server.start())
    await server.stop()


def connect(running: RunningServer, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),)
    return grpc.aio.secure_channel(f"127.0.0.1:{running.port}", credentials, options)


async def send(running: RunningServer, credentials: grpc.ChannelCredentials, body: bytes) -> grpc.StatusCode:
    """Send an export; returns the status of the call."""
    async with connect(running, credentials) as channel:
        try:
            assert await channel.unary_unary(METRICS, None, None)(body, timeout=60) == b""
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def body_of(service: str, count: int = 10) -> bytes:
    return metrics_export(service, f"{service}-1", {"catalog": {"upstream_rq_completed": count}})


def dropped(reason: str) -> float:
    return float(metrics.DROPPED.labels(reason)._value.get())


async def test_metrics_of_a_sidecar_reach_the_handler(
    running: RunningServer, handler: PausableHandler, pki: Pki
) -> None:
    assert await send(running, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    await until(
        lambda: (
            [(sample.caller.name, sample.cluster) for sample in handler.samples()] == [("orders", "catalog")]
        )
    )
    assert await send(running, pki.client("ingress", "gateway"), body_of("ingress")) == grpc.StatusCode.OK
    await until(lambda: {sample.caller.role for sample in handler.samples()} == {"service", "gateway"})


async def test_metrics_of_another_service_are_dropped(
    running: RunningServer, handler: PausableHandler, pki: Pki
) -> None:
    before = dropped("foreign")
    assert await send(running, pki.client("users"), body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: dropped("foreign") == before + 1)
    assert handler.samples() == []


async def test_a_client_without_a_mesh_certificate_is_denied(running: RunningServer, pki: Pki) -> None:
    stranger = Pki()
    signed, key = stranger.svid("orders")
    foreign = grpc.ssl_channel_credentials(pki.roots, key_pem(key), signed.certificate.encode())
    assert await send(running, foreign, body_of("orders")) == grpc.StatusCode.UNAVAILABLE
    without_certificate = grpc.ssl_channel_credentials(pki.roots)
    assert await send(running, without_certificate, body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_the_control_planes_certificate_is_denied(running: RunningServer, pki: Pki) -> None:
    server_identity = pki.server()
    before = metrics.DENIED._value.get()
    credentials = grpc.ssl_channel_credentials(pki.roots, server_identity.key, server_identity.certificate)
    assert await send(running, credentials, body_of("orders")) == grpc.StatusCode.PERMISSION_DENIED
    assert metrics.DENIED._value.get() == before + 1


async def test_invalid_and_oversized_messages_are_counted(
    running: RunningServer, handler: PausableHandler, pki: Pki
) -> None:
    orders = pki.client("orders")
    malformed, large = dropped("malformed"), dropped("too large")
    assert await send(running, orders, b"\xff" * 1000) == grpc.StatusCode.OK
    await until(lambda: dropped("malformed") == malformed + 1)
    assert await send(running, orders, bytes(MAX_MESSAGE_BYTES + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dropped("too large") == large + 1
    assert await send(running, orders, bytes(3 * MAX_MESSAGE_BYTES)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await send(running, orders, body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: len(handler.samples()) == 1)


async def test_a_flood_of_one_sender_leaves_room_for_others(
    running: RunningServer, handler: PausableHandler, pki: Pki
) -> None:
    handler.running.clear()
    before = dropped("identity's share")
    flooding = pki.client("flood")
    async with connect(running, flooding) as channel:
        export = channel.unary_unary(METRICS, None, None)
        calls = [export(bytes(MAX_MESSAGE_BYTES // 2), timeout=60) for _ in range(24)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    rejected = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert {error.code() for error in rejected} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(rejected) == dropped("identity's share") - before >= 7
    assert await send(running, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    handler.running.set()
    await until(lambda: len(handler.samples()) == 1)
    await until(lambda: running.server.queue.queued_bytes == 0)


async def test_a_failing_handler_does_not_stop_the_server(
    running: RunningServer, handler: PausableHandler, pki: Pki
) -> None:
    before = dropped("failed")
    handler.failing = True
    orders = pki.client("orders")
    await send(running, orders, body_of("orders"))
    await until(lambda: dropped("failed") == before + 1)
    handler.failing = False
    await send(running, orders, body_of("orders"))
    await until(lambda: len(handler.samples()) == 1)


async def test_a_new_certificate_serves_new_connections(running: RunningServer, pki: Pki) -> None:
    other = Pki()
    running.server.update_credentials(other.server())
    assert await send(running, other.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    assert await send(running, pki.client("orders"), body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_a_port_in_use_is_an_error(running: RunningServer, handler: PausableHandler, pki: Pki) -> None:
    second = OtlpServer("127.0.0.1", running.port, DOMAIN, pki.server(), {"metrics": handler.handle})
    with pytest.raises(RuntimeError):
        await second.start()
    await second.stop()
