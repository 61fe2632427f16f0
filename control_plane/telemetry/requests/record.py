"""From the bytes of an OTLP export of logs to requests, as proxies tell them. Pure.

The records are those that `core.request_log` configures: attributes that are texts, `-` where Envoy knows
nothing. A record counts only for the service or gateway whose certificate sent it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.requests import Direction, Request
from meshwright.control_plane.api.spiffe import parse
from meshwright.control_plane.telemetry import wire
from meshwright.control_plane.telemetry.requests import failure as failure_module
from meshwright.control_plane.telemetry.requests import response_flags

MAX_RECORD_BYTES = 16 * 1024
"""Of one encoded record: Envoy's have less than 2 KB, most of it the path."""

MAX_LENGTHS = {"path": 512, "host": 255, "failure": 500, "request_id": 128}
MAX_VALUE_LENGTH = 200
"""Characters of an attribute that are kept."""

MAX_POLICIES = 32
"""Policies that are kept of one route."""

GRPC_CONTENT_TYPE = "application/grpc"

TUNNEL_CLUSTER = "/connect"
"""The cluster of tunnels: what goes through one is told by itself."""

DropReason = Literal["foreign", "oversized", "malformed"]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as one proxy told it; the fields are those of `api.requested.Request`."""

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

    @property
    def failed(self) -> bool:
        """5xx, a gRPC failure by the server's fault, or a flag that is no success."""
        return failure_module.is_failure(self.status, self.grpc_status, self.flags)

    @property
    def size(self) -> int:
        """Bytes of memory, estimated: the record's own, and of texts those that are seldom shared."""
        own = (self.id, self.trace, self.path, self.details, self.transport_failure, self.upstream_host)
        return 700 + sum(map(len, own))

    def to_api(self, seq: int = 0) -> Request:
        """The record as the API tells it."""
        return Request(
            **{name: getattr(self, name) for name in self.__slots__ if name != "flags"},
            seq=seq,
            flags=response_flags.describe(self.flags),
            failed=self.failed,
        )


def parse_records(body: bytes, service: str) -> Iterator[RequestRecord | DropReason | None]:
    """The records of an export that `service` sent, or why one is dropped; None where a step found nothing.

    Every step is short. Nothing is raised: what follows a mistake in the bytes is given up as `malformed`.
    """
    try:
        for part in wire.parts(body):
            if part is None:
                yield None
                continue
            known = part.attributes.get("cluster_name") == service
            proxy = sys.intern(part.attributes.get("node_name", "")[:63])
            for item in part.items():
                if item is None:
                    yield None
                else:
                    yield _record(item, service, proxy) if known else "foreign"
    except (ValueError, DecodeError):
        yield "malformed"


def _record(encoded: memoryview, service: str, proxy: str) -> RequestRecord | DropReason | None:
    """One record; None for a tunnel that was made."""
    if len(encoded) > MAX_RECORD_BYTES:
        return "oversized"
    try:
        told = LogRecord.FromString(bytes(encoded))
        values = {one.key: _text(one.key, one.value.string_value) for one in told.attributes}
        direction = values.get("direction", "")
        if direction not in ("inbound", "outbound", "ingress"):
            return "malformed"
        if values.get("upstream") == TUNNEL_CLUSTER and not values.get("flags"):
            return None
        made = _record_fields(values, cast("Direction", direction), service)
        return RequestRecord(
            **made,
            time=told.time_unix_nano / 1e9,
            trace=values.get("trace") or told.trace_id.hex(),
            service=sys.intern(service),
            proxy=proxy,
        )
    except (ValueError, DecodeError):
        return "malformed"


def _text(name: str, value: str) -> str:
    return (
        ""
        if value == "-"
        else value[: MAX_LENGTHS.get(name, MAX_VALUE_LENGTH if name != "policies" else 4096)]
    )


def _record_fields(values: Mapping[str, str], direction: Direction, service: str) -> dict[str, Any]:
    """The fields that come from attributes; raises ValueError for what no Envoy writes."""
    own = {name: values.get(name, "") for name in ("details", "failure", "path", "upstream_host")}
    shared = {
        name: sys.intern(values.get(name, "")) for name in ("method", "host", "flags", "upstream", "route")
    }
    grpc = values.get("content_type", "").startswith(GRPC_CONTENT_TYPE)
    return {
        **own,
        **shared,
        "id": values.get("request_id", ""),
        "direction": direction,
        "caller": caller_of(direction, service, values.get("peer", "")),
        "callee": callee_of(direction, service, shared["upstream"], shared["host"]),
        "status": _number(values, "status"),
        "grpc_status": sys.intern(values.get("grpc_status", "")) if grpc else "",
        "duration": _milliseconds(values),
        "attempts": _number(values, "attempts"),
        "policies": _policies(values.get("policies", "")),
    }


def caller_of(direction: Direction, service: str, peer: str) -> str:
    """Who sent a request: whose proxy it is, or who came in by a certificate (`peer`, its URI)."""
    if direction != "inbound":
        return service
    try:
        return sys.intern(parse(peer).name) if peer else ""
    except ValueError:
        return ""


def callee_of(direction: Direction, service: str, cluster: str, host: str) -> str:
    """The service that a request is for: whose inbound proxy has it, else that of its cluster (`orders`,
    `orders:grpc`, `orders/v2`), else the host that a sidecar's app named."""
    if direction == "inbound":
        return service
    if cluster and not cluster.startswith("/"):
        return sys.intern(cluster.partition("/")[0].partition(":")[0])
    if direction == "ingress":
        return ""
    return sys.intern(host.partition(":")[0].removesuffix(".mesh"))


def _number(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12):
        raise ValueError(f"{name}: {text!r}")
    return int(text or 0)


def _milliseconds(values: Mapping[str, str]) -> float:
    """To the microsecond where Envoy tells those, else whole ones, cut off."""
    fine = _number(values, "duration_us")
    return fine / 1000 if fine else float(_number(values, "duration_ms"))


def _policies(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    found = json.loads(text)
    return tuple(sys.intern(one) for one in found[:MAX_POLICIES] if isinstance(one, str) and len(one) < 200)


def is_app_cluster(cluster: str) -> bool:
    """Whether a cluster is the app beside a sidecar."""
    return cluster.startswith(cluster_names.app_cluster(""))
