"""Access logs and traces of sidecars, with a real trace collector."""

from __future__ import annotations

import json
import re
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
    with trace_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, sink: TraceCollector) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("telemetry")
    with running_mesh(folder, [service("front"), service("back")], MESH_OTLP=sink.address) as running:
        running.apply(ROUTE)
        yield running


def access_log(mesh: Mesh, proxy: str, path: str) -> list[dict[str, object]]:
    """The entries of a proxy's access log for a path."""
    entries = []
    for line in mesh.log(f"{proxy}.proxy").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            entry = json.loads(line)
            if entry.get("path") == path:
                entries.append(entry)
    return entries


def send_traced(mesh: Mesh, flags: str = "") -> str:
    """Send a request with a new trace id through the ingress. Flags 01: sampled; empty: no traceparent."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-{flags}"} if flags else {}
    assert mesh.outside("/echo", headers=headers).status_code == 200
    return trace


def test_access_log_has_errors_without_queries_and_no_successes(mesh: Mesh) -> None:
    path = f"/status/503/{secrets.token_hex(4)}"
    good = f"/{secrets.token_hex(4)}"
    assert mesh.outside(good).status_code == 200
    mesh.outside("/status/503?secret=1", headers={"x-request-id": path})
    (entry,) = until(lambda: access_log(mesh, "ingress", "/status/503"), "a line in the log of the ingress")[
        -1:
    ]
    assert (entry["status"], entry["method"], entry["upstream"]) == (503, "GET", "back")
    assert "secret" not in mesh.log("ingress.proxy"), "queries may contain secrets"
    (inbound,) = until(lambda: access_log(mesh, "back-1", "/status/503"), "a line in the log of the callee")[
        -1:
    ]
    assert inbound["peer"] == "spiffe://mesh.local/gateway/ingress"
    assert not access_log(mesh, "ingress", good)


def burst(mesh: Mesh) -> list[requests.Response]:
    """Send eight requests at once. Returns the rejected ones."""
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: mesh.outside("/delay?ms=500"), range(8)))
    return [response for response in responses if response.status_code == 503]


def test_request_over_the_limit_is_logged_with_flag_uo(mesh: Mesh) -> None:
    mesh.apply(LIMIT)
    try:
        rejected = until(lambda: burst(mesh), "a request beyond the limit")
        assert all(response.headers["x-envoy-overloaded"] == "true" for response in rejected)
        entries = until(lambda: access_log(mesh, "ingress", "/delay"), "log lines of the rejected requests")
        assert {entry["flags"] for entry in entries} == {"UO"}
    finally:
        mesh.delete("circuitbreaker", "back")


def test_incoming_trace_continues_through_every_sidecar(mesh: Mesh, sink: TraceCollector) -> None:
    trace = send_traced(mesh, "01")
    senders = until(
        lambda: len(names := {name for name, _ in sink.of_trace(trace)}) > 1 and names, "spans of both"
    )
    assert senders == {"ingress", "back"}
    kinds = [span.kind for _, span in sink.of_trace(trace)]
    assert {1, 2, 3} & set(kinds)


def export(mesh: Mesh, name: str) -> SpanExportResult:
    """Send a span of an app with OpenTelemetry's exporter to the span port of front-1's sidecar."""
    provider = TracerProvider(resource=Resource({"service.name": name}))
    span = provider.get_tracer("app").start_span("work")
    span.end()
    assert isinstance(span, ReadableSpan)
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{mesh.ports('front-1')['otlp']}", insecure=True)
    try:
        return exporter.export([span])
    finally:
        exporter.shutdown()


def test_spans_of_an_app_reach_the_collector_through_its_sidecar(mesh: Mesh, sink: TraceCollector) -> None:
    assert export(mesh, "worker") is SpanExportResult.SUCCESS
    until(lambda: "worker" in {name for name, _ in sink.spans}, "the app's span")


def test_control_plane_accepts_spans_without_a_collector(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front"), service("back")]) as mesh:
        assert export(mesh, "front") is SpanExportResult.SUCCESS


PARENT = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
TRACE, SPAN = PARENT.split("-")[1:3]
MALFORMED = (
    "", "junk", PARENT[:-1], f"{PARENT}-more", f"{PARENT},{PARENT}", PARENT.upper().replace("0", "A"),
    f"00-{TRACE[:-1]}g-{SPAN}-01", f"00-{TRACE}-{SPAN}-zz", f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01", f"00-{SPAN}-{TRACE}-01", f"00{TRACE}-{SPAN}-01-",
    "\x80", "0" * 9000,
)  # fmt: skip
"""Values of traceparent that W3C Trace Context (sections 3.2 and 4.3) calls invalid."""


@pytest.mark.parametrize("door", ["ingress", "sidecar"])
def test_malformed_trace_parent_starts_a_new_trace(mesh: Mesh, sink: TraceCollector, door: str) -> None:
    def sent(headers: dict[str, str]) -> tuple[str, str]:
        """The trace and its state that reach the app."""
        if door == "ingress":
            response = mesh.outside("/echo", headers=headers)
        else:
            response = mesh.get("front-1", "http://back/echo", headers=headers)
        received = response.json()["headers"]
        return str(received["traceparent"]), str(received["tracestate"])

    mesh.apply(TELEMETRY % ("Mesh", 100, "Off"))
    try:
        until(lambda: sent({})[0].endswith("-01"), "requests are sampled")
        assert sent({"traceparent": PARENT, "tracestate": "a=1"})[0].split("-")[1] == TRACE
        for value in MALFORMED:
            forged = {"x-meshwright-traceparent": PARENT, "x-meshwright-no-traceparent": "1"}
            parent, state = sent({"traceparent": value, "tracestate": "a=1", "b3": "junk", **forged})
            assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent), value
            assert parent.split("-")[1] != TRACE, value
            assert state == "", value
        names = {"ingress" if door == "ingress" else "front", "back"}
        until(lambda: {name for name, _ in sink.of_trace(parent.split("-")[1])} == names, "its spans")
    finally:
        mesh.delete("telemetry", "lab")


def test_sampling_follows_the_policy(mesh: Mesh, sink: TraceCollector) -> None:
    """Connections switch to a new listener one by one, so the test polls."""
    try:
        mesh.apply(TELEMETRY % ("Mesh", 100, "Off"))
        until(lambda: _count_traced(mesh, sink, 10) == 10, "every request traced")
        mesh.apply(TELEMETRY % ("Mesh", 0, "Off"))
        until(lambda: _count_traced(mesh, sink, 10) == 0, "no request traced")
    finally:
        mesh.delete("telemetry", "lab")


def _count_traced(mesh: Mesh, sink: TraceCollector, count: int) -> int:
    """The number of traced requests among `count`. The spans of a sampled one after them mark the end."""
    before = {span.trace_id.hex() for _, span in sink.spans}
    for _ in range(count):
        send_traced(mesh)
    marker = send_traced(mesh, "01")
    until(lambda: {name for name, _ in sink.of_trace(marker)} == {"ingress", "back"}, "the marker's spans")
    return len({span.trace_id.hex() for _, span in sink.spans} - before - {marker})


def test_access_log_of_all_requests_applies_to_its_target_only(mesh: Mesh) -> None:
    try:
        mesh.apply(TELEMETRY % ("Service, name: back", 0, "All"))
        path = f"/{secrets.token_hex(4)}"

        def logged() -> list[dict[str, object]]:
            assert mesh.outside(path).status_code == 200
            return access_log(mesh, "back-1", path)

        assert until(logged, "a line of a successful request", every=0.3)[0]["status"] == 200
        assert not access_log(mesh, "ingress", path)
    finally:
        mesh.delete("telemetry", "lab")
