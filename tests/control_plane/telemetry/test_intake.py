"""The OTLP port over real mutual TLS: who is let in, what is left out, and that nothing harms it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.queue import (
    MAX_MESSAGE_BYTES,
    MESSAGE_OVERHEAD,
    EnqueueResult,
    FairQueue,
    QueuedMessage,
)
from meshwright.control_plane.telemetry.ingest.server import SERVICES, OtlpServer
from meshwright.control_plane.telemetry.topology.traffic import TrafficSample
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.telemetry.otlp import metrics_export
from tests.envoy.xds_lab import until
from tests.fakes.pki import DOMAIN, Pki, key_pem

METRICS = f"/{SERVICES['metrics']}/Export"


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


class Slow:
    """A fold that waits until it may go on."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.flows = TrafficWindows()
        self.failing = False

    def take(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        if self.failing:
            raise ArithmeticError("a fault of the fold")
        while not self.open.is_set():
            yield
        yield from self.flows.handle(identity, body, now)


@pytest.fixture
async def fold() -> Slow:
    made = Slow()
    made.open.set()
    return made


@pytest.fixture
async def intake(pki: Pki, fold: Slow) -> AsyncIterator[OtlpServer]:
    made = OtlpServer("127.0.0.1", 0, DOMAIN, pki.server(), {"metrics": fold.take})
    made.port = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


def channel(intake: OtlpServer, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    return grpc.aio.secure_channel(f"127.0.0.1:{intake.port}", credentials, options)  # type: ignore[attr-defined]


async def code(intake: OtlpServer, credentials: grpc.ChannelCredentials, body: bytes) -> grpc.StatusCode:
    """How a call ends."""
    async with channel(intake, credentials) as open_channel:
        try:
            assert await open_channel.unary_unary(METRICS, None, None)(body, timeout=60) == b""
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def body_of(service: str, count: int = 10) -> bytes:
    return metrics_export(service, f"{service}-1", {"catalog": {"upstream_rq_completed": count}})


def dropped(reason: str) -> float:
    return float(metrics.DROPPED.labels(reason)._value.get())


async def test_what_a_sidecar_tells_is_folded(intake: OtlpServer, fold: Slow, pki: Pki) -> None:
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: [(one.caller.name, one.cluster) for one in _seen(fold)] == [("orders", "catalog")])
    assert await code(intake, pki.client("ingress", "gateway"), body_of("ingress")) == grpc.StatusCode.OK
    await until(lambda: {one.caller.role for one in _seen(fold)} == {"service", "gateway"})


def _seen(fold: Slow) -> list[TrafficSample]:
    return list(fold.flows.samples(time.monotonic()))


async def test_nobody_paints_for_another(intake: OtlpServer, fold: Slow, pki: Pki) -> None:
    before = dropped("foreign")
    assert await code(intake, pki.client("users"), body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: dropped("foreign") == before + 1)
    assert _seen(fold) == []


async def test_who_has_no_certificate_of_the_mesh_gets_nowhere(intake: OtlpServer, pki: Pki) -> None:
    stranger = Pki()
    signed, key = stranger.svid("orders")
    foreign = grpc.ssl_channel_credentials(pki.roots, key_pem(key), signed.certificate.encode())
    assert await code(intake, foreign, body_of("orders")) == grpc.StatusCode.UNAVAILABLE
    bare = grpc.ssl_channel_credentials(pki.roots)
    assert await code(intake, bare, body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_the_control_planes_own_certificate_tells_nothing(intake: OtlpServer, pki: Pki) -> None:
    own = pki.server()
    before = metrics.DENIED._value.get()
    credentials = grpc.ssl_channel_credentials(pki.roots, own.key, own.certificate)
    assert await code(intake, credentials, body_of("orders")) == grpc.StatusCode.PERMISSION_DENIED
    assert metrics.DENIED._value.get() == before + 1


async def test_garbage_and_oversize_are_counted_and_harm_nothing(
    intake: OtlpServer, fold: Slow, pki: Pki
) -> None:
    orders = pki.client("orders")
    malformed, large = dropped("malformed"), dropped("too large")
    assert await code(intake, orders, b"\xff" * 1000) == grpc.StatusCode.OK
    await until(lambda: dropped("malformed") == malformed + 1)
    assert await code(intake, orders, bytes(MAX_MESSAGE_BYTES + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dropped("too large") == large + 1
    assert await code(intake, orders, bytes(3 * MAX_MESSAGE_BYTES)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await code(intake, orders, body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: len(_seen(fold)) == 1)


async def test_a_flood_leaves_room_for_others(intake: OtlpServer, fold: Slow, pki: Pki) -> None:
    fold.open.clear()
    before = dropped("identity's share")
    flooding = pki.client("flood")
    async with channel(intake, flooding) as open_channel:
        export = open_channel.unary_unary(METRICS, None, None)
        calls = [export(bytes(MAX_MESSAGE_BYTES // 2), timeout=60) for _ in range(24)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in ends if isinstance(one, grpc.aio.AioRpcError)]
    assert {one.code() for one in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(refused) == dropped("identity's share") - before >= 7
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    fold.open.set()
    await until(lambda: len(_seen(fold)) == 1)
    await until(lambda: intake.queue.queued_bytes == 0)


async def test_a_fold_that_fails_does_not_end_the_intake(intake: OtlpServer, fold: Slow, pki: Pki) -> None:
    before = dropped("failed")
    fold.failing = True
    orders = pki.client("orders")
    await code(intake, orders, body_of("orders"))
    await until(lambda: dropped("failed") == before + 1)
    fold.failing = False
    await code(intake, orders, body_of("orders"))
    await until(lambda: len(_seen(fold)) == 1)


async def test_a_new_certificate_serves_new_connections(intake: OtlpServer, pki: Pki) -> None:
    other = Pki()
    intake.update_credentials(other.server())
    assert await code(intake, other.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_a_taken_port_is_an_error(intake: OtlpServer, fold: Slow, pki: Pki) -> None:
    second = OtlpServer("127.0.0.1", intake.port, DOMAIN, pki.server(), {"metrics": fold.take})  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        await second.start()
    await second.stop()


def waiting(name: str, size: int = 100) -> QueuedMessage:
    return QueuedMessage("metrics", Identity(DOMAIN, "service", name), bytes(size), 0.0)


def drained(backlog: FairQueue) -> str:
    """The names of who waited, in the order they are taken up."""
    return "".join(one.identity.name for one in iter(backlog.dequeue, None))


def test_the_backlog_is_bounded_in_all_and_gives_room_back() -> None:
    backlog = FairQueue(
        max_bytes=3 * (100 + MESSAGE_OVERHEAD), max_bytes_per_identity=2 * (100 + MESSAGE_OVERHEAD)
    )
    for name, answer in (("a", ""), ("a", ""), ("a", "identity's share"), ("b", "")):
        assert backlog.enqueue(waiting(name)).dropped == ((answer,) if answer else ())
    assert backlog.queued_bytes == 3 * (100 + MESSAGE_OVERHEAD)
    assert drained(backlog) == "aba"
    assert backlog.queued_bytes == 0
    assert backlog.enqueue(waiting("a", MAX_MESSAGE_BYTES + 1)) == EnqueueResult(False, ("too large",))
    assert backlog.enqueue(waiting("a")) == EnqueueResult(True)


def test_who_has_most_in_line_makes_room_for_who_has_less() -> None:
    backlog = FairQueue(max_bytes=4 * (100 + MESSAGE_OVERHEAD))
    for _ in range(4):
        assert backlog.enqueue(waiting("a")) == EnqueueResult(True)
    assert backlog.enqueue(waiting("a")) == EnqueueResult(False, ("overload",))
    assert backlog.enqueue(waiting("b")) == EnqueueResult(True, ("overload",))
    assert backlog.enqueue(waiting("b")) == EnqueueResult(True, ("overload",))
    assert backlog.enqueue(waiting("b")) == EnqueueResult(False, ("overload",))
    assert drained(backlog) == "abab"


def test_the_identities_have_their_turns() -> None:
    backlog = FairQueue()
    for name in "aaaaabbc":
        backlog.enqueue(waiting(name))
    assert drained(backlog) == "abcabaaa"
