"""The OTLP port over real mutual TLS: who is let in, what is left out, and that nothing harms it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from control_plane.api.spiffe import Identity
from control_plane.telemetry import metrics
from control_plane.telemetry.flows import Flows, Seen
from control_plane.telemetry.intake import MESSAGE_LIMIT, OVERHEAD, Backlog, Offer, Waiting
from control_plane.telemetry.server import SERVICES, Intake
from tests.envoy.xds_lab import until
from tests.fakes.pki import DOMAIN, Pki, key_pem
from tests.unit.telemetry.otlp import flush

METRICS = f"/{SERVICES['metrics']}/Export"


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


class Slow:
    """A fold that waits until it may go on."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.flows = Flows()
        self.failing = False

    def take(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        if self.failing:
            raise ArithmeticError("a fault of the fold")
        while not self.open.is_set():
            yield
        yield from self.flows.take(identity, body, now)


@pytest.fixture
async def fold() -> Slow:
    made = Slow()
    made.open.set()
    return made


@pytest.fixture
async def intake(pki: Pki, fold: Slow) -> AsyncIterator[Intake]:
    made = Intake("127.0.0.1", 0, DOMAIN, pki.server(), {"metrics": fold.take})
    made.port = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


def channel(intake: Intake, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    return grpc.aio.secure_channel(f"127.0.0.1:{intake.port}", credentials, options)  # type: ignore[attr-defined]


async def code(intake: Intake, credentials: grpc.ChannelCredentials, body: bytes) -> grpc.StatusCode:
    """How a call ends."""
    async with channel(intake, credentials) as open_channel:
        try:
            assert await open_channel.unary_unary(METRICS, None, None)(body, timeout=60) == b""
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def body_of(service: str, count: int = 10) -> bytes:
    return flush(service, f"{service}-1", {"catalog": {"upstream_rq_completed": count}})


def dropped(reason: str) -> float:
    return float(metrics.DROPPED.labels(reason)._value.get())


async def test_what_a_sidecar_tells_is_folded(intake: Intake, fold: Slow, pki: Pki) -> None:
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: [(one.caller.name, one.cluster) for one in _seen(fold)] == [("orders", "catalog")])
    assert await code(intake, pki.client("ingress", "gateway"), body_of("ingress")) == grpc.StatusCode.OK
    await until(lambda: {one.caller.role for one in _seen(fold)} == {"service", "gateway"})


def _seen(fold: Slow) -> list[Seen]:
    return list(fold.flows.seen(time.monotonic()))


async def test_nobody_paints_for_another(intake: Intake, fold: Slow, pki: Pki) -> None:
    before = dropped("foreign")
    assert await code(intake, pki.client("users"), body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: dropped("foreign") == before + 1)
    assert _seen(fold) == []


async def test_who_has_no_certificate_of_the_mesh_gets_nowhere(intake: Intake, pki: Pki) -> None:
    stranger = Pki()
    signed, key = stranger.svid("orders")
    foreign = grpc.ssl_channel_credentials(pki.roots, key_pem(key), signed.certificate.encode())
    assert await code(intake, foreign, body_of("orders")) == grpc.StatusCode.UNAVAILABLE
    bare = grpc.ssl_channel_credentials(pki.roots)
    assert await code(intake, bare, body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_the_control_planes_own_certificate_tells_nothing(intake: Intake, pki: Pki) -> None:
    own = pki.server()
    before = metrics.REFUSED._value.get()
    credentials = grpc.ssl_channel_credentials(pki.roots, own.key, own.certificate)
    assert await code(intake, credentials, body_of("orders")) == grpc.StatusCode.PERMISSION_DENIED
    assert metrics.REFUSED._value.get() == before + 1


async def test_garbage_and_oversize_are_counted_and_harm_nothing(
    intake: Intake, fold: Slow, pki: Pki
) -> None:
    orders = pki.client("orders")
    malformed, large = dropped("malformed"), dropped("too large")
    assert await code(intake, orders, b"\xff" * 1000) == grpc.StatusCode.OK
    await until(lambda: dropped("malformed") == malformed + 1)
    assert await code(intake, orders, bytes(MESSAGE_LIMIT + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dropped("too large") == large + 1
    assert await code(intake, orders, bytes(3 * MESSAGE_LIMIT)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await code(intake, orders, body_of("orders")) == grpc.StatusCode.OK
    await until(lambda: len(_seen(fold)) == 1)


async def test_a_flood_leaves_room_for_others(intake: Intake, fold: Slow, pki: Pki) -> None:
    fold.open.clear()
    before = dropped("identity's share")
    flooding = pki.client("flood")
    async with channel(intake, flooding) as open_channel:
        export = open_channel.unary_unary(METRICS, None, None)
        calls = [export(bytes(MESSAGE_LIMIT // 2), timeout=60) for _ in range(24)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in ends if isinstance(one, grpc.aio.AioRpcError)]
    assert {one.code() for one in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(refused) == dropped("identity's share") - before >= 7
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    fold.open.set()
    await until(lambda: len(_seen(fold)) == 1)
    await until(lambda: intake.backlog.queued == 0)


async def test_a_fold_that_fails_does_not_end_the_intake(intake: Intake, fold: Slow, pki: Pki) -> None:
    before = dropped("failed")
    fold.failing = True
    orders = pki.client("orders")
    await code(intake, orders, body_of("orders"))
    await until(lambda: dropped("failed") == before + 1)
    fold.failing = False
    await code(intake, orders, body_of("orders"))
    await until(lambda: len(_seen(fold)) == 1)


async def test_a_new_certificate_serves_new_connections(intake: Intake, pki: Pki) -> None:
    other = Pki()
    intake.renew(other.server())
    assert await code(intake, other.client("orders"), body_of("orders")) == grpc.StatusCode.OK
    assert await code(intake, pki.client("orders"), body_of("orders")) == grpc.StatusCode.UNAVAILABLE


async def test_a_taken_port_is_an_error(intake: Intake, fold: Slow, pki: Pki) -> None:
    second = Intake("127.0.0.1", intake.port, DOMAIN, pki.server(), {"metrics": fold.take})  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        await second.start()
    await second.stop()


def waiting(name: str, size: int = 100) -> Waiting:
    return Waiting("metrics", Identity(DOMAIN, "service", name), bytes(size), 0.0)


def drained(backlog: Backlog) -> str:
    """The names of who waited, in the order they are taken up."""
    return "".join(one.identity.name for one in iter(backlog.next, None))


def test_the_backlog_is_bounded_in_all_and_gives_room_back() -> None:
    backlog = Backlog(total=3 * (100 + OVERHEAD), share=2 * (100 + OVERHEAD))
    for name, answer in (("a", ""), ("a", ""), ("a", "identity's share"), ("b", "")):
        assert backlog.offer(waiting(name)).left_out == ((answer,) if answer else ())
    assert backlog.queued == 3 * (100 + OVERHEAD)
    assert drained(backlog) == "aba"
    assert backlog.queued == 0
    assert backlog.offer(waiting("a", MESSAGE_LIMIT + 1)) == Offer(False, ("too large",))
    assert backlog.offer(waiting("a")) == Offer(True)


def test_who_has_most_in_line_makes_room_for_who_has_less() -> None:
    backlog = Backlog(total=4 * (100 + OVERHEAD))
    for _ in range(4):
        assert backlog.offer(waiting("a")) == Offer(True)
    assert backlog.offer(waiting("a")) == Offer(False, ("overload",))
    assert backlog.offer(waiting("b")) == Offer(True, ("overload",))
    assert backlog.offer(waiting("b")) == Offer(True, ("overload",))
    assert backlog.offer(waiting("b")) == Offer(False, ("overload",))
    assert drained(backlog) == "abab"


def test_the_identities_have_their_turns() -> None:
    backlog = Backlog()
    for name in "aaaaabbc":
        backlog.offer(waiting(name))
    assert drained(backlog) == "abcabaaa"
