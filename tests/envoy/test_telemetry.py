"""Telemetry: what sidecars log of requests, and which requests they trace, seen by a real collector."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.fakes.otlp import TraceCollector, trace_collector

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: back}]}]
"""

TELEMETRY = """
apiVersion: meshwright.io/v1
kind: Telemetry
metadata: {name: lab}
spec: {targetRefs: [{kind: %s}], sampling: %s, accessLog: %s}
"""

LIMIT = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], maxRequests: 1}
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[TraceCollector]:
    with trace_collector() as actual_trace_collector:
        yield actual_trace_collector


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, sink: TraceCollector) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("telemetry")
    with running_mesh(folder, [service("front"), service("back")], MESH_OTLP=sink.address) as actual_mesh:
        actual_mesh.apply(ROUTE)
        yield actual_mesh


def lines(mesh: Mesh, proxy: str, path: str) -> list[dict[str, object]]:
    """The access log of one proxy about one path."""
    values = []
    for line in mesh.log(f"{proxy}.proxy").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            entry = json.loads(line)
            if entry.get("path") == path:
                values.append(entry)
    return values


def traced(mesh: Mesh, flags: str = "") -> str:
    """Send one request through the ingress with a trace id of its own; `flags` 01 says that it is sampled."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-{flags}"} if flags else {}
    assert mesh.outside("/echo", headers=headers).status_code == 200
    return trace


def test_errors_are_logged_and_successes_are_not(mesh: Mesh) -> None:
    path = f"/status/503/{secrets.token_hex(4)}"
    good = f"/{secrets.token_hex(4)}"
    assert mesh.outside(good).status_code == 200
    mesh.outside("/status/503?secret=1", headers={"x-request-id": path})
    (entry,) = until(lambda: lines(mesh, "ingress", "/status/503"), "a line in the ingress's log")[-1:]
    assert (entry["status"], entry["method"], entry["upstream"]) == (503, "GET", "back")
    assert "secret" not in mesh.log("ingress.proxy"), "queries are nobody's business"
    (seen,) = until(lambda: lines(mesh, "back-1", "/status/503"), "a line in the callee's log")[-1:]
    assert seen["peer"] == "spiffe://mesh.local/gateway/ingress"
    assert not lines(mesh, "ingress", good)


def burst(mesh: Mesh) -> list[requests.Response]:
    """What was refused of eight requests at once."""
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: mesh.outside("/delay?ms=500"), range(8)))
    return [response for response in done if response.status_code == 503]


def test_an_overflow_is_logged_with_flag_uo(mesh: Mesh) -> None:
    mesh.apply(LIMIT)
    try:
        refused = until(lambda: burst(mesh), "a request beyond the limit")
        assert all(item.headers["x-envoy-overloaded"] == "true" for item in refused)
        result = until(lambda: lines(mesh, "ingress", "/delay"), "lines about the overflow")
        assert {entry["flags"] for entry in result} == {"UO"}
    finally:
        mesh.delete("circuitbreaker", "back")


def test_a_trace_that_comes_in_goes_on_through_every_sidecar(mesh: Mesh, sink: TraceCollector) -> None:
    trace = traced(mesh, "01")
    result = until(
        lambda: len(names := {name for name, _ in sink.of_trace(trace)}) > 1 and names, "spans of both"
    )
    assert result == {"ingress", "back"}
    kinds = [span.kind for _, span in sink.of_trace(trace)]
    assert {1, 2, 3} & set(kinds)


def export(mesh: Mesh, name: str) -> SpanExportResult:
    """Send one span of an app of that name as OpenTelemetry's own exporter does, to front-1's sidecar."""
    provider = TracerProvider(resource=Resource({"service.name": name}))
    span = provider.get_tracer("app").start_span("work")
    span.end()
    assert isinstance(span, ReadableSpan)
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{mesh.ports('front-1')['otlp']}", insecure=True)
    try:
        return exporter.export([span])
    finally:
        exporter.shutdown()


def test_an_apps_own_spans_go_through_its_sidecar(mesh: Mesh, sink: TraceCollector) -> None:
    assert export(mesh, "own") is SpanExportResult.SUCCESS
    until(lambda: "own" in {name for name, _ in sink.spans}, "the app's span")


def test_without_a_collector_the_control_plane_takes_spans(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front"), service("back")]) as mesh:
        assert export(mesh, "front") is SpanExportResult.SUCCESS


def test_sampling_follows_the_policy(mesh: Mesh, sink: TraceCollector) -> None:
    """Connections go over to what is new one by one, so it is asked until it shows."""
    try:
        mesh.apply(TELEMETRY % ("Mesh", 100, "Off"))
        until(lambda: _roots(mesh, sink, 10) == 10, "every request traced")
        mesh.apply(TELEMETRY % ("Mesh", 0, "Off"))
        until(lambda: _roots(mesh, sink, 10) == 0, "no request traced")
    finally:
        mesh.delete("telemetry", "lab")


def _roots(mesh: Mesh, sink: TraceCollector, count: int) -> int:
    """How many of `count` requests were traced: a sampled one after them tells when all spans have come."""
    before = {span.trace_id.hex() for _, span in sink.spans}
    for _ in range(count):
        traced(mesh)
    marker = traced(mesh, "01")
    until(lambda: {name for name, _ in sink.of_trace(marker)} == {"ingress", "back"}, "the marker's spans")
    return len({span.trace_id.hex() for _, span in sink.spans} - before - {marker})


def test_all_requests_are_logged_where_it_is_asked_for(mesh: Mesh) -> None:
    try:
        mesh.apply(TELEMETRY % ("Service, name: back", 0, "All"))
        path = f"/{secrets.token_hex(4)}"

        def logged() -> list[dict[str, object]]:
            assert mesh.outside(path).status_code == 200
            return lines(mesh, "back-1", path)

        assert until(logged, "a line of a good request", every=0.3)[0]["status"] == 200
        assert not lines(mesh, "ingress", path)
    finally:
        mesh.delete("telemetry", "lab")
