"""What a collector's answer means, by the OTLP specification ("OTLP/gRPC Response"). Pure.

Failures with these codes are tried again, RESOURCE_EXHAUSTED only when the collector tells a delay
(google.rpc.RetryInfo); all others are for good.
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
"""Seconds until the second try, and between two tries at most."""

MAX_SERVER_DELAY = 60.0
"""Seconds that a collector may put us off."""

_MAX_EXPONENT = 10


class PartialSuccess(NamedTuple):
    """What a collector left out of an export that it took: how many, and its words (partial success)."""

    rejected: int
    message: str


def retry_delay(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row; `chance` (0..1) spreads them."""
    full = min(MAX_DELAY, INITIAL_DELAY * 2.0 ** min(failures - 1, _MAX_EXPONENT))
    return full * (0.5 + chance / 2)


def server_delay(details: bytes) -> float | None:
    """The RetryInfo among the details of a failure (`grpc-status-details-bin`), in seconds; None without."""
    try:
        for one in Status.FromString(details).details:
            info = RetryInfo()
            if one.Unpack(info):
                seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                return min(max(seconds, 0.0), MAX_SERVER_DELAY)
    except DecodeError:
        return None
    return None


def is_retryable(code: str, server_delay: float | None) -> bool:
    """Whether to send the same again; `code` is the name of the gRPC status."""
    return code in RETRYABLE or (code == "RESOURCE_EXHAUSTED" and server_delay is not None)


def partial_success(signal: str, body: bytes) -> PartialSuccess:
    """The partial success of an answer; none of what cannot be read."""
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
