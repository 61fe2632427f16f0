"""What a collector's response means, by the OTLP specification ("OTLP/gRPC Response").

Failures with a retryable status are retried, RESOURCE_EXHAUSTED only if the collector sends a delay
(google.rpc.RetryInfo). Others are permanent.
"""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

RETRYABLE = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)

INITIAL_DELAY, MAX_DELAY = 0.5, 10.0
"""Seconds before the first retry, and the limit of exponential backoff."""

MAX_SERVER_DELAY = 60.0
"""Limit of the delay that a collector may ask for, in seconds."""

_MAX_EXPONENT = 10


class PartialSuccess(NamedTuple):
    """How many items of an accepted export the collector rejected, and its message."""

    rejected: int
    message: str


def retry_delay(failures: int, jitter: float) -> float:
    """Seconds until the next attempt after so many failures in a row; `jitter` (0..1) spreads attempts."""
    delay = min(MAX_DELAY, INITIAL_DELAY * 2.0 ** min(failures - 1, _MAX_EXPONENT))
    return delay * (0.5 + jitter / 2)


def server_delay(details: bytes) -> float | None:
    """The RetryInfo in the details of a failure (`grpc-status-details-bin`), in seconds; None without one."""
    try:
        for detail in Status.FromString(details).details:
            info = RetryInfo()
            if detail.Unpack(info):
                seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                return min(max(seconds, 0.0), MAX_SERVER_DELAY)
    except DecodeError:
        return None
    return None


def is_retryable(code: str, server_delay: float | None) -> bool:
    """Whether to send the same batch again; `code` is the name of the gRPC status."""
    return code in RETRYABLE or (code == "RESOURCE_EXHAUSTED" and server_delay is not None)


def partial_success(signal: str, body: bytes) -> PartialSuccess:
    """The partial success of a response; (0, "") if the response is invalid."""
    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(body).partial_success
            return PartialSuccess(spans.rejected_spans, spans.error_message)
        if signal == "metrics":
            points = ExportMetricsServiceResponse.FromString(body).partial_success
            return PartialSuccess(points.rejected_data_points, points.error_message)
        records = ExportLogsServiceResponse.FromString(body).partial_success
        return PartialSuccess(records.rejected_log_records, records.error_message)
    except DecodeError:
        return PartialSuccess(0, "")
