"""A Telemetry as fields of Envoy's HTTP connection manager."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3

if TYPE_CHECKING:
    from meshwright.control_plane.policies.telemetry.spec import TelemetrySpec

EXPORT_TIMEOUT = timedelta(seconds=1)

LOG_FIELDS = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "duration_ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "trace": "%TRACE_ID%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""What a line tells. The query is left out (`NQ`): it may hold what nobody should read in a log."""

GRPC_FAILURES = ("UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""The gRPC statuses that count as the server's fault, as Envoy's outlier detection sees it."""

SERVER_ERROR = 500


def configure(spec: TelemetrySpec, manager: v3.HttpConnectionManager, service: str, *, traced: bool) -> None:
    """Set access log and tracing of one connection manager."""
    if spec.access_log != "Off":
        manager.access_log.append(_access_log(only_errors=spec.access_log == "Errors"))
    if traced:
        manager.tracing.CopyFrom(_tracing(spec.sampling, service))


def _access_log(*, only_errors: bool) -> v3.AccessLog:
    lines = v3.SubstitutionFormatString(json_format=codec.struct(LOG_FIELDS), omit_empty_values=True)
    output = v3.StdoutAccessLog(log_format=lines)
    log = v3.AccessLog(name="envoy.access_loggers.stdout", typed_config=codec.pack(output))
    if only_errors:
        log.filter.CopyFrom(server_error_filter())
    return log


def server_error_filter() -> v3.AccessLogFilter:
    """Lets requests through that failed by the server's fault: 5xx, and gRPC calls by their status."""
    comparison = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(default_value=SERVER_ERROR, runtime_key="access_log.min_status"),
    )
    statuses = [v3.GrpcStatusFilter.Status.Value(name) for name in GRPC_FAILURES]
    # Envoy makes up a gRPC status for every answer (200 is UNKNOWN), so gRPC is told by the request.
    is_grpc = v3.HeaderMatcher(name="content-type", string_match=v3.StringMatcher(prefix="application/grpc"))
    grpc_failure = [
        v3.AccessLogFilter(header_filter=v3.HeaderFilter(header=is_grpc)),
        v3.AccessLogFilter(grpc_status_filter=v3.GrpcStatusFilter(statuses=statuses)),
    ]
    either = [
        v3.AccessLogFilter(status_code_filter=v3.StatusCodeFilter(comparison=comparison)),
        v3.AccessLogFilter(and_filter=v3.AndFilter(filters=grpc_failure)),
    ]
    return v3.AccessLogFilter(or_filter=v3.OrFilter(filters=either))


def _tracing(sampling: float, service: str) -> v3.HttpConnectionManager.Tracing:
    """Every request is offered to the tracer, whose sampler lets a parent's decision stand.

    Envoy's own `random_sampling` would drop requests whose caller is traced.
    """
    ratio = v3.TraceIdRatioBasedSamplerConfig(
        sampling_percentage=v3.FractionalPercent(
            numerator=round(sampling * 10_000), denominator=v3.FractionalPercent.MILLION
        )
    )
    wrapped = v3.TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", typed_config=codec.pack(ratio)
    )
    sampler = v3.TypedExtensionConfig(
        name="envoy.tracers.opentelemetry.samplers.parent_based",
        typed_config=codec.pack(v3.ParentBasedSamplerConfig(wrapped_sampler=wrapped)),
    )
    collector = v3.GrpcService(
        envoy_grpc=v3.GrpcService.EnvoyGrpc(cluster_name=cluster_names.COLLECTOR), timeout=EXPORT_TIMEOUT
    )
    tracer = v3.OpenTelemetryConfig(grpc_service=collector, service_name=service, sampler=sampler)
    provider = v3.TracingProvider.Http(name="envoy.tracers.opentelemetry", typed_config=codec.pack(tracer))
    everything = v3.Percent(value=100)
    return v3.HttpConnectionManager.Tracing(
        provider=provider, random_sampling=everything, spawn_upstream_span=v3.BoolValue(value=True)
    )
