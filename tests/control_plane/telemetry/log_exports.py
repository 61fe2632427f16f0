"""OTLP exports of log records as Envoy sends them."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.telemetry.requests.record import RequestRecord, parse_records

BASE_TIME = 1_790_000_000.0
"""Seconds since the epoch."""

OUTBOUND_ATTRIBUTES = {
    "direction": "outbound",
    "method": "GET",
    "host": "orders",
    "path": "/api/orders",
    "status": "200",
    "grpc_status": "Unknown",
    "content_type": "-",
    "flags": "-",
    "details": "via_upstream",
    "failure": "-",
    "duration_ms": "12",
    "attempts": "1",
    "peer": "-",
    "upstream": "orders",
    "upstream_host": "127.0.0.1:7001",
    "route": "-",
    "policies": '["HTTPRoute/orders","Retry/twice"]',
    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    "request_id": "c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87",
}
"""The attributes of a request that a sidecar sent to orders."""


def log_export(service: str, *records: dict[str, str], node: str = "", at: float = BASE_TIME) -> bytes:
    """An export of `service`'s proxy; OUTBOUND_ATTRIBUTES are the defaults of each record."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    for key, value in {"cluster_name": service, "node_name": node or f"{service}-1"}.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_logs.add()
    for record in records:
        log_record = scope.log_records.add(time_unix_nano=int(at * 1e9))
        for key, value in {**OUTBOUND_ATTRIBUTES, **record}.items():
            log_record.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def record(service: str = "storefront", at: float = BASE_TIME, **attributes: Any) -> RequestRecord:
    """A record as the control plane parses it."""
    (parsed,) = [
        result
        for result in parse_records(log_export(service, attributes, at=at), service)
        if result is not None
    ]
    assert isinstance(parsed, RequestRecord), parsed
    return parsed


def outbound_request(service: str = "storefront", after_ms: float = 0.0, **attributes: Any) -> Request:
    """A request that a proxy of `service` logged `after_ms` after BASE_TIME."""
    return record(service, BASE_TIME + after_ms / 1000, **{k: str(v) for k, v in attributes.items()}).to_api()


def inbound_request(service: str, caller: str, after_ms: float = 0.0, **attributes: Any) -> Request:
    """A request that the sidecar of `service` received from `caller`."""
    peer = f"spiffe://mesh.local/service/{caller}"
    attributes = {
        "direction": "inbound",
        "peer": peer,
        "upstream": "/app/http",
        "policies": "-",
        **attributes,
    }
    return outbound_request(service, after_ms, **attributes)
