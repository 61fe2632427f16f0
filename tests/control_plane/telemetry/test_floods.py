"""What a hostile or broken sender can do to the OTLP port: everything is dropped, counted and harmless."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest import server
from meshwright.control_plane.telemetry.ingest.queue import MAX_MESSAGE_BYTES, Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES, OtlpServer
from meshwright.control_plane.telemetry.requests.store import RequestStore
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.telemetry.traces.span import MAX_ATTRIBUTES, MAX_SPAN_BYTES
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.exports import SpanSpec, span_export
from tests.control_plane.telemetry.otlp import metrics_export
from tests.envoy.xds_lab import until
from tests.fakes.pki import DOMAIN, Pki, key_pem


@dataclass
class Port:
    """A port with all folds behind it."""

    intake: OtlpServer
    traces: TraceStore
    flows: TrafficWindows
    port: int
    pki: Pki

    def channel(self, name: str) -> grpc.aio.Channel:
        options = (
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.use_local_subchannel_pool", 1),
        )
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", self.pki.client(name), options)

    async def send(self, signal: Signal, body: bytes, name: str = "orders") -> grpc.StatusCode:
        """How an export ends."""
        async with self.channel(name) as channel:
            call = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
            try:
                await call(body, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    async def is_well(self) -> bool:
        """Whether what is right is still taken up."""
        before = self.traces.stored_total
        body = span_export("orders", [SpanSpec(before + 1, before + 1)])
        assert await self.send("traces", body) == grpc.StatusCode.OK
        await until(lambda: self.traces.stored_total == before + 1)
        return True


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def port(pki: Pki) -> AsyncIterator[Port]:
    traces, flows, requests = TraceStore(), TrafficWindows(), RequestStore()
    folds = {"metrics": flows.handle, "traces": traces.handle, "logs": requests.handle}
    intake = OtlpServer("127.0.0.1", 0, DOMAIN, pki.server(), folds)  # type: ignore[arg-type]
    yield Port(intake, traces, flows, await intake.start(), pki)
    await intake.stop()


def dropped() -> Counter[str]:
    """What was left out so far, by reason: messages, and spans."""
    found: Counter[str] = Counter()
    for metric in (metrics.DROPPED, metrics.SPANS_DROPPED, metrics.REQUESTS_DROPPED):
        for one in next(iter(metric.collect())).samples:
            if one.name.endswith("_total"):
                found[one.labels["reason"]] += int(one.value)
    return found


def nested(depth: int) -> AnyValue:
    value = AnyValue(string_value="the end")
    for _ in range(depth):
        outer = AnyValue()
        outer.array_value.values.add().CopyFrom(value)
        value = outer
    return value


def deep() -> bytes:
    """A span with a value a hundred levels deep, encoded by hand: protobuf would not write it."""
    body = nested(20).SerializeToString()
    for _ in range(500):
        for tag in (b"\x0a", b"\x2a"):
            body = tag + _length(len(body)) + body
    attribute = b"\x0a\x01a\x12" + _length(len(body)) + body
    span = b"\x0a\x10" + bytes(15) + b"\x07\x12\x08" + bytes(7) + b"\x07"
    return _wrapped(span + b"\x4a" + _length(len(attribute)) + attribute)


def bad_text() -> bytes:
    """A span whose name is no UTF-8."""
    span = b"\x0a\x10" + bytes(15) + b"\x07\x12\x08" + bytes(7) + b"\x07"
    return _wrapped(span + b"\x2a\x02\xff\xfe")


def _wrapped(span: bytes) -> bytes:
    """An export of orders with one encoded span."""
    scope = b"\x12" + _length(len(span)) + span
    request = ExportTraceServiceRequest.FromString(span_export("orders", []))
    resource = request.resource_spans[0].resource.SerializeToString()
    part = b"\x0a" + _length(len(resource)) + resource + b"\x12" + _length(len(scope)) + scope
    return b"\x0a" + _length(len(part)) + part


def _length(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize(
    ("signal", "body", "reason"),
    [
        ("traces", deep, "malformed"),
        ("traces", bad_text, "malformed"),
        (
            "traces",
            lambda: span_export("orders", [SpanSpec(1, 1, attributes={"a": "x" * MAX_SPAN_BYTES})]),
            "oversized",
        ),
        ("traces", lambda: span_export("orders", [SpanSpec(0, 1)]), "malformed"),
        ("traces", lambda: bytes(MAX_MESSAGE_BYTES), "malformed"),
        (
            "traces",
            lambda: metrics_export("orders", "orders-1", {"a": {"upstream_rq_total": 1}}),
            "malformed",
        ),
        ("traces", lambda: span_export("users", [SpanSpec(1, 1)]), "foreign"),
        ("metrics", lambda: span_export("orders", [SpanSpec(1, 1)]), "foreign"),
        (
            "metrics",
            lambda: metrics_export("orders", "orders-1", {"a": {"upstream_rq_total": -1}}),
            "malformed",
        ),
        ("metrics", lambda: b"\x0a\xff\xff\xff\xff\x0f", "malformed"),
        ("logs", lambda: b"\x0b" * 100, "malformed"),
    ],
)
async def test_a_bad_message_is_counted_and_harms_nothing(
    port: Port, signal: Signal, body: Callable[[], bytes], reason: str
) -> None:
    before = dropped()
    assert await port.send(signal, body()) == grpc.StatusCode.OK
    await until(lambda: dropped() - before == {reason: 1})
    assert len(port.traces) == 0
    assert not list(port.flows.samples(0.0))
    assert await port.is_well()


async def test_ten_thousand_attributes_are_told_in_part(port: Port) -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1)]))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for _ in range(10_000):
        span.attributes.add(key="a")
    for number in range(MAX_ATTRIBUTES):
        span.attributes[number].key = f"key {number}"
    assert await port.send("traces", request.SerializeToString()) == grpc.StatusCode.OK
    await until(lambda: len(port.traces) == 1)
    (trace,) = port.traces.search_full(TraceQuery(), 5)
    assert len(trace.tree[0].attributes) == MAX_ATTRIBUTES
    assert await port.is_well()


async def test_a_message_beyond_the_limit_is_refused_before_it_is_kept(port: Port) -> None:
    before = dropped()
    assert await port.send("traces", bytes(MAX_MESSAGE_BYTES + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dropped() - before == {"too large": 1}
    assert await port.send("traces", bytes(20 * MAX_MESSAGE_BYTES)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await port.is_well()


async def test_callers_who_send_nothing_leave_room_for_others(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT", 6.0)
    before = dropped()
    method = f"/{SERVICES['traces']}/Export"
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(port.channel("slow")) for _ in range(2)]
        calls = [channel.stream_unary(method, None, None)(_nothing()) for channel in channels * 90]
        await until(lambda: (dropped() - before)["identity's calls"] >= 180 - server.MAX_CALLS_PER_IDENTITY)
        assert await port.is_well()
        ends = await asyncio.gather(*(call.code() for call in calls))
    assert Counter(ends) == {
        grpc.StatusCode.RESOURCE_EXHAUSTED: 180 - server.MAX_CALLS_PER_IDENTITY,
        grpc.StatusCode.DEADLINE_EXCEEDED: server.MAX_CALLS_PER_IDENTITY,
    }
    assert (dropped() - before)["too slow"] == server.MAX_CALLS_PER_IDENTITY
    assert await port.is_well()


async def _nothing() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


async def test_connections_that_stand_half_open_keep_nobody_out(port: Port, tmp_path: Path) -> None:
    writers = []
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"\x16\x03\x01")
        writers.append(writer)
    context = _client(port.pki, tmp_path)
    for _ in range(20):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port.port, ssl=context, server_hostname=CONTROL_PLANE_DNS
        )
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00")
        writers.append(writer)
    assert await port.is_well()
    for writer in writers:
        writer.transport.abort()
    assert await port.is_well()


def _client(pki: Pki, folder: Path) -> ssl.SSLContext:
    signed, key = pki.svid("slow")
    file = folder / "client.pem"
    file.write_bytes(key_pem(key) + signed.certificate.encode())
    context = ssl.create_default_context(cadata=pki.roots.decode())
    context.load_cert_chain(file)
    context.set_alpn_protocols(["h2"])
    return context
