"""Telemetry as access log and tracing of Envoy's HTTP connection manager."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import Hooks, ListenerContext
from meshwright.control_plane.policies.server_errors import server_error_filter
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
    "parent": "%REQ(TRACEPARENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""The fields of a log line. The query is left out (`NQ`): it may hold secrets."""

URL_WITHOUT_QUERY = v3.CustomTag(
    tag="http.url", value="%REQ(X-FORWARDED-PROTO)%://%REQ(:AUTHORITY)%%PATH(NQ)%"
)
"""Replaces Envoy's own tag of this name."""


class TelemetryHooks(Hooks[TelemetrySpec]):
    """Access log and tracing of a connection manager."""

    default_spec: ClassVar[TelemetrySpec] = TelemetrySpec()

    def patch_listener(self, manager: v3.HttpConnectionManager, listener: ListenerContext) -> None:
        """Configure logging, and tracing where the node has a collector."""
        if self.spec.access_log != "Off":
            manager.access_log.append(_access_log(only_errors=self.spec.access_log == "Errors"))
        if listener.tracing:
            manager.tracing.CopyFrom(_tracing(self.spec.sampling, listener.owner))
            manager.tracing.spawn_upstream_span.value = listener.attempts
            if self.spec.query_strings == "Redact":
                manager.tracing.custom_tags.append(URL_WITHOUT_QUERY)


def _access_log(*, only_errors: bool) -> v3.AccessLog:
    lines = v3.SubstitutionFormatString(json_format=codec.struct(LOG_FIELDS), omit_empty_values=True)
    output = v3.StdoutAccessLog(log_format=lines)
    log = v3.AccessLog(name="envoy.access_loggers.stdout", typed_config=codec.pack(output))
    if only_errors:
        log.filter.CopyFrom(server_error_filter())
    return log


def _tracing(sampling: float, service: str) -> v3.HttpConnectionManager.Tracing:
    """Offers every request to the tracer, whose sampler respects the parent's decision.

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
    every_request = v3.Percent(value=100)
    return v3.HttpConnectionManager.Tracing(provider=provider, random_sampling=every_request)
