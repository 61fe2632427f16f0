"""Request records: the access log entries that proxies send as OTLP log records.

`core.access_log` configures them: string attributes, `-` for a missing value. A record is accepted only from
the service or gateway of the sender's certificate.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from meshwright.control_plane.api.cluster_names import parse_cluster_name
from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains, service_in
from meshwright.control_plane.api.models.requests import Direction, Request
from meshwright.control_plane.api.spiffe import parse as parse_spiffe_id
from meshwright.control_plane.core.span_log import SAMPLED_FLAGS
from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.ingest.otlp import DropReason
from meshwright.control_plane.telemetry.requests import handshake, response_flags
from meshwright.control_plane.telemetry.requests.failure import is_failure

MAX_RECORD_BYTES = 16 * 1024
"""Size of one encoded record. Envoy's are below 2 kB, most of it the path."""

MAX_LENGTHS = {"path": 512, "host": 255, "failure": 500, "request_id": 128, "policies": 4096}
MAX_VALUE_LENGTH = 200
"""Characters kept of an attribute that is not in MAX_LENGTHS."""

MAX_POLICIES = 32
"""Policies kept of one route."""

GRPC_CONTENT_TYPE = "application/grpc"

_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_INTERNAL = frozenset({"flags", "sampled", "grpc"})
"""Fields that the API shows in another form, or not."""

TUNNEL_CLUSTER = "/connect"
"""The cluster of tunnels. The requests inside a tunnel have their own records."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as one proxy logged it. The fields are those of `api.models.requests.Request`.

    Besides, `sampled`: it is traced; `grpc`: it is a gRPC call.
    """

    id: str
    trace: str
    time: float
    service: str
    proxy: str
    direction: Direction
    caller: str
    callee: str
    method: str
    host: str
    path: str
    status: int
    grpc_status: str
    flags: str
    details: str
    transport_failure: str
    duration: float
    attempts: int
    upstream: str
    upstream_host: str
    route: str
    policies: tuple[str, ...]
    sampled: bool
    grpc: bool

    @property
    def failed(self) -> bool:
        """5xx, a gRPC status of a server error, or a response flag that means failure."""
        return is_failure(self.status, self.grpc_status, self.flags)

    @property
    def size(self) -> int:
        """Estimated bytes of memory: the object, and the strings that are rarely shared with others."""
        texts = (self.id, self.trace, self.path, self.details, self.transport_failure, self.upstream_host)
        return 700 + sum(map(len, texts))

    def to_api(self, seq: int = 0) -> Request:
        """The record as an API model."""
        return Request(
            **{name: getattr(self, name) for name in self.__slots__ if name not in _INTERNAL},
            seq=seq,
            flags=response_flags.describe(self.flags),
            failed=self.failed,
        )


def parse_records(
    body: bytes, service: str, domains: Domains = DOMAINS
) -> Iterator[RequestRecord | DropReason | None]:
    """Parse an export that `service` sent: records, reasons why one is dropped, None after other steps.

    `domains` are those in which services have names.
    Never raises: after invalid bytes it yields `malformed` and ends.
    """
    try:
        for resource in otlp.read_export(body):
            if resource is None:
                yield None
                continue
            is_own = resource.attributes.get("cluster_name") == service
            proxy = sys.intern(resource.attributes.get("node_name", "")[:63])
            for encoded in resource.records():
                if encoded is None:
                    yield None
                else:
                    yield _parse_record(encoded, service, proxy, domains) if is_own else "foreign"
    except otlp.TooManyRecordsError:
        yield "oversized"
    except (ValueError, DecodeError):
        yield "malformed"


def _parse_record(
    encoded: bytes, service: str, proxy: str, domains: Domains
) -> RequestRecord | DropReason | None:
    """One record; None for a tunnel that was established."""
    if len(encoded) > MAX_RECORD_BYTES:
        return "oversized"
    try:
        message = LogRecord.FromString(encoded)
        attributes = {pair.key: _value(pair.key, pair.value.string_value) for pair in message.attributes}
        attributes = handshake.described(attributes)
        direction = attributes.get("direction", "")
        if direction not in ("inbound", "outbound", "ingress"):
            return "malformed"
        if attributes.get("upstream") == TUNNEL_CLUSTER and not attributes.get("flags"):
            return None
        return RequestRecord(
            **_record_fields(attributes, cast("Direction", direction), service, domains),
            time=message.time_unix_nano / 1e9,
            trace=attributes.get("trace") or _trace_of(attributes.get("parent", "")),
            service=sys.intern(service),
            proxy=proxy,
        )
    except (ValueError, DecodeError):
        return "malformed"


def _value(name: str, value: str) -> str:
    return "" if value == "-" else value[: MAX_LENGTHS.get(name, MAX_VALUE_LENGTH)]


def _record_fields(
    attributes: Mapping[str, str], direction: Direction, service: str, domains: Domains
) -> dict[str, Any]:
    """The fields that come from attributes. Raises ValueError for values Envoy does not write."""
    unique = {name: attributes.get(name, "") for name in ("details", "path", "upstream_host")}
    shared = {
        name: sys.intern(attributes.get(name, ""))
        for name in ("method", "host", "flags", "upstream", "route")
    }
    is_grpc = attributes.get("content_type", "").startswith(GRPC_CONTENT_TYPE)
    return {
        **unique,
        **shared,
        "id": attributes.get("request_id") or attributes.get("fallback_id", ""),
        "direction": direction,
        "caller": caller_of(direction, service, attributes.get("peer", "")),
        "callee": callee_of(direction, service, shared["upstream"], shared["host"], domains),
        "status": number(attributes, "status"),
        "grpc_status": sys.intern(attributes.get("grpc_status", "")) if is_grpc else "",
        "transport_failure": attributes.get("failure", ""),
        "duration": milliseconds(attributes),
        "attempts": number(attributes, "attempts"),
        "policies": _policies(attributes.get("policies", "")),
        "sampled": attributes.get("parent", "").endswith(SAMPLED_FLAGS),
        "grpc": is_grpc,
    }


def caller_of(direction: Direction, service: str, peer: str) -> str:
    """Who sent a request: the proxy's own service, or for an inbound one the SPIFFE ID of the peer."""
    if direction != "inbound":
        return service
    try:
        return sys.intern(parse_spiffe_id(peer).name) if peer else ""
    except ValueError:
        return ""


def callee_of(direction: Direction, service: str, cluster: str, host: str, domains: Domains = DOMAINS) -> str:
    """The service a request is for: the proxy's own for an inbound one, else that of the cluster.

    Without a cluster it is the host that a sidecar's app asked for, or the service that this names.
    """
    if direction == "inbound":
        return service
    name = parse_cluster_name(cluster).service
    if name:
        return sys.intern(name)
    if direction == "ingress":
        return ""
    return sys.intern(service_in(host, domains))


def _trace_of(parent: str) -> str:
    """The trace in a `traceparent`: a proxy that makes no span of a request writes no trace of its own."""
    match = _TRACE_PARENT.fullmatch(parent)
    return match[1] if match else ""


def number(attributes: Mapping[str, str], name: str) -> int:
    """An attribute of digits; 0 if it is missing. Raises ValueError."""
    text = attributes.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12):
        raise ValueError(f"{name}: {text!r}")
    return int(text or 0)


def milliseconds(attributes: Mapping[str, str]) -> float:
    """The duration: to the microsecond where Envoy knows it, else rounded down to whole milliseconds."""
    microseconds = number(attributes, "duration_us")
    return microseconds / 1000 if microseconds else float(number(attributes, "duration_ms"))


def _policies(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    refs = json.loads(text)
    return tuple(sys.intern(ref) for ref in refs[:MAX_POLICIES] if isinstance(ref, str) and len(ref) < 200)
