"""Log records of traced requests become the spans that proxies would have sent, where those would be."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.traces.logged_spans import to_spans
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.span_exports import BASE_MS, SpanSpec, span_export

TRACE, CALLER_SPAN = 0x7A, 1
PARENT = f"00-{TRACE:032x}-{CALLER_SPAN:016x}-01"


def record(start: int, **attributes: str) -> tuple[int, dict[str, str]]:
    """A record that starts `start` ms after BASE_MS."""
    defaults = {
        "kind": "client",
        "parent": PARENT,
        "method": "GET",
        "host": "back",
        "path": "/x",
        "status": "200",
        "flags": "-",
        "upstream": "back",
        "upstream_host": "10.0.0.2:15006",
        "duration_ms": "2",
        "request_id": "r",
    }
    return start, defaults | attributes


def received(start: int, **attributes: str) -> tuple[int, dict[str, str]]:
    return record(start, kind="server", upstream="/app/http", sent_us="100", answered_us="900", **attributes)


def log(
    service: str, records: Iterable[tuple[int, dict[str, str]]], instance: str = "", name: str = "spans"
) -> bytes:
    """An export of the span log of `service`'s proxy."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    node = {"cluster_name": service, "node_name": instance or f"{service}-1", "log_name": name}
    for key, value in node.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_logs.add()
    for start, attributes in records:
        entry = scope.log_records.add(time_unix_nano=(BASE_MS + start) * 1_000_000)
        for key, value in attributes.items():
            entry.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def converted(body: bytes) -> bytes | None:
    steps = to_spans(body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: bytes | None = end.value
            return result


def store(traces: TraceStore, service: str, body: bytes | None) -> None:
    assert body is not None
    list(traces.handle(Identity("mesh.local", "service", service), body, 0.0))


def caller_span() -> bytes:
    proxy = {"component": "proxy", "http.status_code": "200"}
    return span_export("front", [SpanSpec(TRACE, CALLER_SPAN, name="ingress", end=30, attributes=proxy)])


def tree(traces: TraceStore) -> Trace:
    trace = traces.get(f"{TRACE:032x}")
    assert trace is not None
    return trace


def shape(trace: Trace) -> list[tuple[int, str, str, int]]:
    return [(span.depth, span.instance, span.kind, span.attempt) for span in trace.tree]


@pytest.mark.parametrize("order", [1, -1])
def test_attempts_what_they_reached_and_the_app_are_nested(order: int) -> None:
    traces = TraceStore()
    app = SpanSpec(TRACE, 99, CALLER_SPAN, start=23, end=24)
    exports = [
        ("front", caller_span()),
        ("front", converted(log("front", [record(1, status="503"), record(20)]))),
        ("back", converted(log("back", [received(2, status="503")], "back-1"))),
        ("back", converted(log("back", [received(21)], "back-2"))),
        ("back", span_export("back", [app], "back-2")),
    ]
    for service, body in exports[::order]:
        store(traces, service, body)
    assert shape(tree(traces)) == [
        (0, "", "server", 0),
        (1, "front-1", "client", 0),
        (2, "back-1", "server", 0),
        (3, "back-1", "client", 0),
        (1, "front-1", "client", 1),
        (2, "back-2", "server", 0),
        (3, "back-2", "client", 0),
        (4, "back-2", "server", 0),
    ]
    (dependency,) = traces.dependencies()
    assert (dependency.caller, dependency.callee, dependency.count) == ("front", "back", 2)


@pytest.mark.parametrize("skew", [-5, 0, 1, 5])
def test_attempts_close_together_are_nested_in_order_whatever_the_clocks_say(skew: int) -> None:
    traces = TraceStore()
    store(traces, "front", caller_span())
    store(traces, "front", converted(log("front", [record(6, status="503"), record(8)])))
    store(traces, "back", converted(log("back", [received(7 + skew, status="503")], "back-1")))
    store(traces, "back", converted(log("back", [received(9 + skew)], "back-2")))
    placed = [(span.instance, span.attempt) for span in tree(traces).tree if span.depth in (1, 2)]
    assert placed == [("front-1", 0), ("back-1", 0), ("front-1", 1), ("back-2", 0)]


def test_the_callees_side_of_an_attempt_that_failed_to_connect_is_not_invented() -> None:
    traces = TraceStore()
    store(traces, "front", caller_span())
    store(traces, "front", converted(log("front", [record(1, flags="UF"), record(20)])))
    store(traces, "back", converted(log("back", [received(21)], "back-2")))
    placed = [(span.instance, span.attempt) for span in tree(traces).tree if span.depth in (1, 2)]
    assert placed == [("front-1", 0), ("front-1", 1), ("back-2", 0)]


def test_a_span_has_the_attributes_and_times_of_envoys_own() -> None:
    traces = TraceStore()
    grpc = {"content_type": "application/grpc", "grpc_status": "14", "status": "200", "flags": "UF"}
    attempt = record(5, duration_us="1500", user_agent="curl", **grpc)
    store(traces, "front", converted(log("front", [attempt, record(9, first_byte_us="700")])))
    failed, other = tree(traces).tree
    assert failed.attributes == {
        "component": "proxy",
        "node_id": "front-1",
        "http.method": "GET",
        "http.url": "http://back/x",
        "http.status_code": "200",
        "grpc.status_code": "14",
        "response_flags": "UF",
        "guid:x-request-id": "r",
        "user_agent": "curl",
        "upstream_cluster.name": "back",
        "peer.address": "10.0.0.2:15006",
    }
    assert (failed.proxy, failed.error, failed.duration, failed.parent) == (True, True, 1.5, f"{1:016x}")
    assert (other.error, other.duration) == (False, 0.7)


def test_a_record_that_is_sent_twice_is_one_span() -> None:
    traces = TraceStore()
    for _ in range(2):
        store(traces, "back", converted(log("back", [received(2)])))
    assert len(tree(traces).tree) == 2
    assert traces.dropped == {"duplicate": 2}


@pytest.mark.parametrize(
    "attributes",
    [
        {"parent": ""},
        {"parent": "-"},
        {"parent": PARENT[:-1]},
        {"parent": PARENT.upper()},
        {"parent": f"{PARENT}-more"},
        {"parent": f"00-{0:032x}-{1:016x}-01"},
        {"kind": "internal"},
        {"kind": ""},
    ],
)
def test_a_record_without_a_trace_is_no_span(attributes: dict[str, str]) -> None:
    traces = TraceStore()
    store(traces, "back", converted(log("back", [record(1, **attributes), received(2)])))
    assert traces.span_count == 2


def test_a_sender_cannot_log_spans_of_another_service() -> None:
    traces = TraceStore()
    store(traces, "evil", converted(log("back", [received(2)])))
    assert (traces.span_count, traces.dropped) == (0, {"foreign": 2})


@pytest.mark.parametrize(
    "body",
    [
        log("back", [received(1)], name="requests"),
        log("back", [received(1)], name=""),
        log("back", [received(1, duration_us="x")]),
        b"\xff",
        log("back", [received(1)])[:-1],
    ],
)
def test_other_exports_are_left_to_the_handler_of_logs(body: bytes) -> None:
    assert converted(body) is None


def test_a_thousand_attempts_of_one_request_are_nested_at_once() -> None:
    spans = [record(start) for start in range(0, 800, 2)]
    calls = [received(start) for start in range(1, 800, 4)]
    traces = TraceStore()
    store(traces, "front", converted(log("front", spans)))
    store(traces, "back", converted(log("back", calls)))
    depths = [span.depth for span in tree(traces).tree]
    assert (depths.count(0), depths.count(1), depths.count(2)) == (400, 200, 200)
