"""Hostile and broken clients of the OTLP port: what they send is dropped and counted, and harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest import otlp, server
from meshwright.control_plane.telemetry.ingest.otlp import MAX_RECORDS
from meshwright.control_plane.telemetry.ingest.queue import MAX_MESSAGE_BYTES, Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES
from meshwright.control_plane.telemetry.traces.span import MAX_ATTRIBUTES, MAX_SPAN_BYTES
from tests.control_plane.telemetry.ingest.otlp_port import OtlpPort
from tests.control_plane.telemetry.ingest.wire_format import field
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.envoy.xds_lab import until
from tests.fakes.pki import Pki, key_pem


def dropped() -> Counter[str]:
    """Messages, spans and records dropped so far, by reason."""
    counter: Counter[str] = Counter()
    for metric in (metrics.DROPPED, metrics.SPANS_DROPPED, metrics.REQUESTS_DROPPED):
        for sample in next(iter(metric.collect())).samples:
            if sample.name.endswith("_total"):
                counter[sample.labels["reason"]] += int(sample.value)
    return counter


IDS = field(1, bytes(15) + b"\x07") + field(2, bytes(7) + b"\x07")
"""Trace and span ID of a span."""


def deeply_nested() -> bytes:
    """A span whose attribute holds arrays five hundred levels deep, which protobuf would not write."""
    value = field(1, b"the end")
    for _ in range(500):
        value = field(5, field(1, value))
    return _export(IDS + field(9, field(1, b"a") + field(2, value)))


def invalid_utf8() -> bytes:
    """A span whose name is not UTF-8."""
    return _export(IDS + field(5, b"\xff\xfe"))


def _export(span: bytes) -> bytes:
    """An export of orders with one encoded span."""
    resource = otlp.encode_attributes({"service.name": "orders"})
    return otlp.encode_export(resource, [otlp.encode_scope([span])])


@pytest.mark.parametrize(
    ("signal", "body", "reason"),
    [
        ("traces", deeply_nested, "malformed"),
        ("traces", invalid_utf8, "malformed"),
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
        ("traces", lambda: b"\x0a\x00" * (MAX_RECORDS + 1), "oversized"),
        ("metrics", lambda: b"\x0a\x00" * (MAX_RECORDS + 1), "malformed"),
        ("logs", lambda: b"\x0a\x00" * (MAX_RECORDS + 1), "oversized"),
    ],
)
async def test_an_invalid_message_is_counted_once(
    port: OtlpPort, signal: Signal, body: Callable[[], bytes], reason: str
) -> None:
    before = dropped()
    assert await port.send(signal, body()) == grpc.StatusCode.OK
    await until(lambda: dropped() - before == {reason: 1})
    assert len(port.traces) == 0
    assert not list(port.windows.samples(0.0))
    assert await port.accepts_spans()


async def test_ten_thousand_attributes_are_returned_in_part(port: OtlpPort) -> None:
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
    assert await port.accepts_spans()


async def test_a_message_above_the_limit_is_rejected(port: OtlpPort) -> None:
    before = dropped()
    assert await port.send("traces", bytes(MAX_MESSAGE_BYTES + 1)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dropped() - before == {"too large": 1}
    assert await port.send("traces", bytes(20 * MAX_MESSAGE_BYTES)) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await port.accepts_spans()


async def test_calls_without_a_message_leave_room_for_others(
    port: OtlpPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT", 6.0)
    before = dropped()
    method = f"/{SERVICES['traces']}/Export"
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(port.channel("slow")) for _ in range(2)]
        calls = [channel.stream_unary(method, None, None)(_nothing()) for channel in channels * 90]
        await until(lambda: (dropped() - before)["identity's calls"] >= 180 - server.MAX_CALLS_PER_IDENTITY)
        assert await port.accepts_spans()
        statuses = await asyncio.gather(*(call.code() for call in calls))
    assert Counter(statuses) == {
        grpc.StatusCode.RESOURCE_EXHAUSTED: 180 - server.MAX_CALLS_PER_IDENTITY,
        grpc.StatusCode.DEADLINE_EXCEEDED: server.MAX_CALLS_PER_IDENTITY,
    }
    assert (dropped() - before)["too slow"] == server.MAX_CALLS_PER_IDENTITY
    assert await port.accepts_spans()


async def _nothing() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


async def test_half_open_connections_lock_nobody_out(port: OtlpPort, tmp_path: Path) -> None:
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
    assert await port.accepts_spans()
    for writer in writers:
        writer.transport.abort()
    assert await port.accepts_spans()


def _client(pki: Pki, folder: Path) -> ssl.SSLContext:
    signed, key = pki.svid("slow")
    file = folder / "client.pem"
    file.write_bytes(key_pem(key) + signed.certificate.encode())
    context = ssl.create_default_context(cadata=pki.roots.decode())
    context.load_cert_chain(file)
    context.set_alpn_protocols(["h2"])
    return context
