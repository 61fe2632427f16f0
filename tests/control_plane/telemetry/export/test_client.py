"""Exporting to a real collector that goes down, delays and rejects: only what is counted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.export import client
from meshwright.control_plane.telemetry.export.client import OtlpExporter, create_exporter
from meshwright.control_plane.telemetry.export.queue import MAX_BYTES
from meshwright.control_plane.telemetry.export.target import parse_target
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import OtlpServer
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.envoy.xds_lab import until
from tests.fakes.otlp_sink import OtlpSink, Refusal, otlp_sink
from tests.fakes.pki import DOMAIN, Pki

ORDERS = Identity(DOMAIN, "service", "orders")
SIGNALS: tuple[Signal, ...] = ("metrics", "traces", "logs")


class ExportCounters:
    """The growth of the export metrics since it was created."""

    def __init__(self) -> None:
        self._before: Counter[str] = self._read()

    def since(self) -> Counter[str]:
        """Growth by `sent traces`, `dropped traces full`, `retries traces`; zeros are left out."""
        return self._read() - self._before

    @staticmethod
    def _read() -> Counter[str]:
        counter: Counter[str] = Counter()
        for metric in (metrics.EXPORTED, metrics.EXPORT_DROPPED, metrics.EXPORT_RETRIES):
            for sample in next(iter(metric.collect())).samples:
                if sample.name.endswith("_total"):
                    what = sample.name.removeprefix("mesh_forward_").removesuffix("_total")
                    labels = [sample.labels[key] for key in ("signal", "reason") if key in sample.labels]
                    counter[" ".join([what, *labels])] = int(sample.value)
        return counter


class SpanSource:
    """Exports spans with IDs 1, 2, 3 and so on."""

    def __init__(self, exporter: OtlpExporter) -> None:
        self._exporter = exporter
        self._ids = count(1)
        self.sent = 0

    def spans(self, number: int, attribute: str = "") -> None:
        """One export with so many spans."""
        spans = [SpanSpec(1, next(self._ids), attributes={"a": attribute}) for _ in range(number)]
        self.sent += number
        export(self._exporter, "traces", span_export("orders", spans))


def export(exporter: OtlpExporter, signal: Signal, body: bytes) -> None:
    for _ in exporter.handle(signal, ORDERS, body):
        pass


@asynccontextmanager
async def exporting(
    address: str,
    *,
    max_bytes: int = MAX_BYTES,
    headers: tuple[tuple[str, str], ...] = (),
    roots: bytes | None = None,
) -> AsyncIterator[OtlpExporter]:
    target = parse_target(address)
    exporter = OtlpExporter(replace(target, headers=headers), SIGNALS, roots=roots, max_bytes=max_bytes)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop(0.0)


@pytest.fixture
def collector() -> Iterator[OtlpSink]:
    with otlp_sink() as sink:
        yield sink


@pytest.fixture(autouse=True)
def short_batch_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send batches almost at once, so that tests are short."""
    monkeypatch.setattr("meshwright.control_plane.telemetry.export.queue.BATCH_DELAY", 0.05)


async def test_every_signal_is_exported_unchanged(collector: OtlpSink) -> None:
    counters = ExportCounters()
    records = ExportLogsServiceRequest()
    part = records.resource_logs.add()
    part.resource.attributes.add(key="service.name").value.string_value = "orders"
    part.scope_logs.add().log_records.add().body.string_value = "a request"
    async with exporting(collector.address, headers=(("x-tenant", "blue"),)) as exporter:
        SpanSource(exporter).spans(3)
        export(
            exporter,
            "metrics",
            metrics_export("orders", "orders-1", {"catalog": {"upstream_rq_completed": 7}}),
        )
        export(exporter, "logs", records.SerializeToString())
        expected = {"sent traces": 3, "sent metrics": 1, "sent logs": 1}
        await until(lambda: counters.since() == expected)
    assert collector.calls == 3
    assert collector.spans == Counter([1, 2, 3])
    assert collector.points == Counter([7])
    assert collector.records == Counter(["a request"])
    assert collector.headers["x-tenant"] == "blue"


async def test_many_exports_are_sent_in_one_batch(collector: OtlpSink) -> None:
    async with exporting(collector.address) as exporter:
        source = SpanSource(exporter)
        for _ in range(50):
            source.spans(2)
        await until(lambda: collector.spans.total() == 100)
    assert collector.calls == 1


async def test_foreign_and_invalid_exports_are_skipped(collector: OtlpSink) -> None:
    good = span_export("orders", [SpanSpec(1, 1)])
    async with exporting(collector.address) as exporter:
        for body in (span_export("users", [SpanSpec(1, 2)]), b"\xff" * 50, good[:-3], good):
            export(exporter, "traces", body)
        await until(lambda: collector.spans)
    assert collector.spans == Counter([1])
    assert set(collector.senders) == {"traces orders"}


@pytest.mark.parametrize("down_for", [4.0, pytest.param(20.0, marks=pytest.mark.long)])
async def test_nothing_is_lost_while_the_collector_is_down(collector: OtlpSink, down_for: float) -> None:
    counters = ExportCounters()
    async with exporting(collector.address) as exporter:
        source = SpanSource(exporter)
        source.spans(10)
        await until(lambda: collector.spans.total() == 10)
        await asyncio.to_thread(collector.stop)
        started = time.monotonic()
        while time.monotonic() < started + down_for:
            source.spans(20)
            await asyncio.sleep(0.1)
        assert exporter.problem(time.monotonic()) == ""
        later = [time.monotonic() + client.PROBLEM_AFTER + seconds for seconds in (0, 60)]
        assert f"traces could not be exported to {collector.address} for over 30 s" in exporter.problem(
            later[0]
        )
        assert exporter.problem(later[0]) == exporter.problem(later[1])
        collector.start()
        source.spans(1)
        await until(lambda: len(collector.spans) == source.sent, 60)
        await until(lambda: counters.since()["sent traces"] == source.sent)
        assert exporter.problem(time.monotonic() + client.PROBLEM_AFTER) == ""
    assert set(collector.spans.values()) == {1}
    assert counters.since().keys() == {"sent traces", "retries traces"}


async def test_a_full_queue_drops_and_counts_the_oldest(collector: OtlpSink) -> None:
    counters = ExportCounters()
    collector.stop()
    async with exporting(collector.address, max_bytes=100_000) as exporter:
        source = SpanSource(exporter)
        for _ in range(300):
            source.spans(4, "x" * 200)
        await until(lambda: counters.since()["retries traces"])
        assert metrics.EXPORT_QUEUED._value.get() <= 100_000
        collector.start()
        dropped = counters.since()["dropped traces full"]
        await until(lambda: counters.since()["sent traces"] + dropped == source.sent)
    assert dropped > 0
    assert set(collector.spans) == set(range(dropped + 1, source.sent + 1))


@pytest.mark.parametrize(
    ("refusal", "retried"),
    [
        (Refusal(grpc.StatusCode.UNAVAILABLE), True),
        (Refusal(grpc.StatusCode.DATA_LOSS), True),
        (Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_delay=0.3), True),
        (Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED), False),
        (Refusal(grpc.StatusCode.INVALID_ARGUMENT), False),
        (Refusal(grpc.StatusCode.INVALID_ARGUMENT, retry_delay=0.1), False),
        (Refusal(grpc.StatusCode.PERMISSION_DENIED), False),
    ],
    ids=lambda value: f"{value.code.name}-{value.retry_delay}" if isinstance(value, Refusal) else "",
)
async def test_only_retryable_statuses_are_retried(
    collector: OtlpSink, refusal: Refusal, retried: bool
) -> None:
    counters = ExportCounters()
    collector.refusals.append(refusal)
    async with exporting(collector.address) as exporter:
        source = SpanSource(exporter)
        source.spans(5)
        began = time.monotonic()
        if retried:
            await until(lambda: collector.spans.total() == 5)
            assert time.monotonic() - began >= (refusal.retry_delay or 0.0)
            await until(lambda: counters.since() == {"sent traces": 5, "retries traces": 1})
        else:
            await until(lambda: counters.since() == {"dropped traces refused": 5})
            source.spans(2)
            await until(lambda: collector.spans == Counter([6, 7]))
    assert collector.calls == 2


async def test_a_partial_success_counts_rejected_spans(collector: OtlpSink) -> None:
    counters = ExportCounters()
    collector.reject_next = 3
    async with exporting(collector.address) as exporter:
        SpanSource(exporter).spans(10)
        await until(lambda: counters.since() == {"sent traces": 7, "dropped traces rejected": 3})
    assert collector.calls == 1


async def test_an_unimplemented_signal_does_not_delay_others() -> None:
    counters = ExportCounters()
    body = metrics_export("orders", "orders-1", {"catalog": {"upstream_rq_completed": 7}})
    with otlp_sink(unimplemented=frozenset({"metrics", "logs"})) as jaeger:
        async with exporting(jaeger.address) as exporter:
            export(exporter, "metrics", body)
            await until(lambda: counters.since() == {"dropped metrics unimplemented": 1})
            export(exporter, "metrics", body)
            assert counters.since() == {"dropped metrics unimplemented": 2}
            assert exporter.problem(time.monotonic() + client.PROBLEM_AFTER) == ""
            SpanSource(exporter).spans(2)
            await until(lambda: counters.since()["sent traces"] == 2)


async def test_a_silent_collector_does_not_delay_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_TIMEOUT", 0.3)
    silent = await asyncio.start_server(_swallow, "127.0.0.1", 0)
    counters = ExportCounters()
    async with silent, exporting(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}") as exporter:
        source = SpanSource(exporter)
        source.spans(1)
        await until(lambda: counters.since()["retries traces"])
        source.spans(1)
        began = time.monotonic()
        await exporter.stop(0.5)
        assert time.monotonic() - began < 10
    assert counters.since()["dropped traces stopped"] == 2


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while await reader.read(65536):
            pass
    writer.close()


async def test_tls_requires_a_certificate_of_the_roots() -> None:
    pki, stranger = Pki(), Pki()
    tls_credentials = pki.server()
    counters = ExportCounters()
    with otlp_sink(
        credentials=grpc.ssl_server_credentials([(tls_credentials.key, tls_credentials.certificate)])
    ) as collector:
        async with exporting(f"https://{collector.address}", roots=stranger.roots) as exporter:
            SpanSource(exporter).spans(1)
            await until(lambda: counters.since()["retries traces"])
        async with exporting(f"https://{collector.address}", roots=pki.roots) as exporter:
            SpanSource(exporter).spans(1)
            await until(lambda: collector.spans.total() == 1)
    assert counters.since()["dropped traces stopped"] == 1


async def test_stop_sends_the_queue(collector: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshwright.control_plane.telemetry.export.queue.BATCH_DELAY", 60.0)
    counters = ExportCounters()
    async with exporting(collector.address) as exporter:
        SpanSource(exporter).spans(10)
        assert collector.calls == 0
        await exporter.stop(20.0)
    assert collector.spans.total() == 10
    assert counters.since() == {"sent traces": 10}


async def test_stop_exports_messages_the_port_still_queues(collector: OtlpSink) -> None:
    pki = Pki()
    handled: list[int] = []

    def handler_of(exporter: OtlpExporter) -> Callable[[Identity, bytes, float], Iterator[None]]:
        def handle(identity: Identity, body: bytes, now: float) -> Iterator[None]:
            yield from exporter.handle("traces", identity, body)
            handled.append(len(body))

        return handle

    async with exporting(collector.address) as exporter:
        server = OtlpServer("127.0.0.1", 0, DOMAIN, pki.server(), {"traces": handler_of(exporter)})
        port = await server.start()
        options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
        body = span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)])
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", pki.client("orders"), options) as channel:
            method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            await channel.unary_unary(method, None, None)(body, timeout=20)
        await server.stop(20.0)
        assert handled == [len(body)]
        await exporter.stop(20.0)
    assert collector.spans.total() == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"otlp_forward": "collector.example:4317"}, "is not on this host"),
        ({"otlp_forward": "collector.example:4317"}, "or http://collector.example:4317 on a private network"),
        ({"otlp_forward": "https://collector.example"}, "is not a collector address"),
        ({"otlp_forward": "127.0.0.1:http"}, "is not a collector address"),
        (
            {"otlp_forward": "http://10.0.0.9:4317", "otlp_forward_headers_file": "/nowhere/h"},
            "would receive them unencrypted",
        ),
        ({"otlp_forward_ca": "/nowhere/ca.pem"}, "MESH_OTLP_FORWARD_CA: /nowhere/ca.pem: No such file"),
        ({"otlp_forward_ca": __file__}, "holds no certificate"),
        ({"otlp_forward_headers_file": "/nowhere/h"}, "MESH_OTLP_FORWARD_HEADERS_FILE: /nowhere/h: No such"),
    ],
)
def test_invalid_settings_are_rejected(values: dict[str, str], message: str) -> None:
    settings = Settings(Path("/nowhere"), **{"otlp_forward": "127.0.0.1:4317", **values})  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        create_exporter(settings, SIGNALS)
    assert message in str(caught.value)
    assert str(caught.value).startswith("MESH_OTLP_FORWARD")
    assert "\n" not in str(caught.value)


def test_headers_are_read_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# ours\nAuthorization: Bearer s3cret\n\nx-tenant: blue\n")
    settings = Settings(tmp_path, otlp_forward="[::1]:4317", otlp_forward_headers_file=str(file))
    exporter = create_exporter(settings, SIGNALS)
    assert exporter is not None
    assert exporter._target.headers == (("authorization", "Bearer s3cret"), ("x-tenant", "blue"))
    assert "s3cret" not in repr(exporter._target)
    file.write_text("authorization: a\nBearer s3cret\n")
    with pytest.raises(InputError) as caught:
        create_exporter(settings, SIGNALS)
    assert "line 2" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert create_exporter(Settings(tmp_path), SIGNALS) is None
