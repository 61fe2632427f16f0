"""Log records of traced requests → spans, as proxies would have sent them (core/span_log.py).

The result is an export of spans, so that these are checked, stored and passed on like any other. Their
attributes have the names that Envoy gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from hashlib import blake2b

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from meshwright.control_plane.core import span_log
from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.requests import response_flags
from meshwright.control_plane.telemetry.requests.record import (
    GRPC_CONTENT_TYPE,
    MAX_RECORD_BYTES,
    milliseconds,
    number,
)
from meshwright.control_plane.telemetry.traces.span import PROXY_ATTRIBUTE
from meshwright.control_plane.telemetry.traces.tree import NODE_ATTRIBUTE

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

_KINDS = {"server": Span.SPAN_KIND_SERVER, "client": Span.SPAN_KIND_CLIENT}

RECEIVED, SENT = "ingress", "router {} egress"
"""Envoy's names of spans; the second has the cluster."""

_COPIED = {
    "method": "http.method",
    "status": "http.status_code",
    "flags": response_flags.SPAN_ATTRIBUTE,
    "request_id": "guid:x-request-id",
    "user_agent": "user_agent",
    "upstream": "upstream_cluster.name",
    "upstream_host": "peer.address",
}


OnReceived = Callable[[str, Mapping[str, str]], None]
"""Takes the service that sent a record, as it says, and the attributes of the request."""


def _ignore(_service: str, _logged: Mapping[str, str]) -> None:
    pass


def to_spans(body: bytes, on_received: OnReceived = _ignore) -> Generator[None, None, bytes | None]:
    """The spans of an export of log records, as an export; None if it is not of the span log.

    `on_received` gets the attributes of requests that a service received. Yields between steps. Records that
    say no trace are left out. Never raises: bytes that are no export are not of the span log, and are left to
    the handler of logs, which counts them.
    """
    exports = []
    try:
        for resource in otlp.read_export(body):
            yield
            if resource is None:
                continue
            if resource.attributes.get("log_name") != span_log.LOG_NAME:
                return None
            node, service = (resource.attributes.get(name, "") for name in ("node_name", "cluster_name"))
            spans: list[bytes] = []
            for encoded in resource.records():
                yield
                if encoded is None or len(encoded) > MAX_RECORD_BYTES:
                    continue
                record = LogRecord.FromString(encoded)
                logged = _logged(record)
                spans += _spans(record, logged, node)
                if logged.get("kind") == "server":
                    on_received(service, logged)
            sender = {"service.name": service, "service.instance.id": node}
            exports.append(otlp.encode_export(otlp.encode_attributes(sender), [otlp.encode_scope(spans)]))
    except (ValueError, DecodeError):
        return None
    return b"".join(exports)


def _logged(record: LogRecord) -> dict[str, str]:
    """The attributes that have a value."""
    logged = {pair.key: pair.value.string_value for pair in record.attributes}
    return {key: value for key, value in logged.items() if value not in ("", "-")}


def _spans(record: LogRecord, logged: dict[str, str], node: str) -> Iterator[bytes]:
    """The encoded spans of a record; none if it has no trace. Raises ValueError.

    A request that a service received is two: what the proxy did, and below it the call of the app.
    """
    parent = _TRACE_PARENT.fullmatch(logged.get("parent", ""))
    kind = logged.get("kind", "")
    if parent is None or kind not in _KINDS:
        return
    if "duration_us" not in logged and "first_byte_us" in logged:
        logged["duration_us"] = logged["first_byte_us"]
    start, upstream = record.time_unix_nano, logged.get("upstream", "")
    end = start + round(milliseconds(logged) * 1e6)
    attributes = _attributes(logged, node)
    span = Span(
        trace_id=bytes.fromhex(parent[1]),
        parent_span_id=bytes.fromhex(parent[2]),
        name=RECEIVED if kind == "server" else SENT.format(upstream),
        kind=_KINDS[kind],
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=(
            KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()
        ),
    )
    span.span_id = _id(span, node)
    yield span.SerializeToString()
    if kind == "server" and "sent_us" in logged:
        span.parent_span_id = span.span_id
        span.name, span.kind = SENT.format(upstream), _KINDS["client"]
        span.start_time_unix_nano = start + number(logged, "sent_us") * 1000
        if "answered_us" in logged:
            span.end_time_unix_nano = start + number(logged, "answered_us") * 1000
        span.span_id = _id(span, node)
        yield span.SerializeToString()


def _id(span: Span, node: str) -> bytes:
    """The same for the same span, so that one that is sent twice is stored once."""
    text = f"{node} {span.name} {span.start_time_unix_nano} {span.end_time_unix_nano}"
    key = span.trace_id + span.parent_span_id
    return blake2b(text.encode(), digest_size=8, key=key).digest()


def _attributes(logged: Mapping[str, str], node: str) -> dict[str, str]:
    attributes = dict([PROXY_ATTRIBUTE]) | {NODE_ATTRIBUTE: node}
    attributes |= {name: logged[key] for key, name in _COPIED.items() if key in logged}
    attributes["http.url"] = f"http://{logged.get('host', '')}{logged.get('path', '')}"
    if logged.get("content_type", "").startswith(GRPC_CONTENT_TYPE) and "grpc_status" in logged:
        attributes["grpc.status_code"] = logged["grpc_status"]
    return attributes
