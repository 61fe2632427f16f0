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

FIRST, MOST = 0.5, 10.0
"""Seconds until the second try, and between two tries at most."""

TOLD_MOST = 60.0
"""Seconds that a collector may put us off."""

_LONGEST_POWER = 10


class Rejected(NamedTuple):
    """What a collector left out of an export that it took: how many, and its words (partial success)."""

    lost: int
    why: str


def delay(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row; `chance` (0..1) spreads them."""
    full = min(MOST, FIRST * 2.0 ** min(failures - 1, _LONGEST_POWER))
    return full * (0.5 + chance / 2)


def told_delay(details: bytes) -> float | None:
    """The RetryInfo among the details of a failure (`grpc-status-details-bin`), in seconds; None without."""
    try:
        for one in Status.FromString(details).details:
            info = RetryInfo()
            if one.Unpack(info):
                seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                return min(max(seconds, 0.0), TOLD_MOST)
    except DecodeError:
        return None
    return None


def is_retryable(code: str, told: float | None) -> bool:
    """Whether to send the same again; `code` is the name of the gRPC status."""
    return code in RETRYABLE or (code == "RESOURCE_EXHAUSTED" and told is not None)


def rejected(signal: str, body: bytes) -> Rejected:
    """The partial success of an answer; none of what cannot be read."""
    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(body).partial_success
            return Rejected(spans.rejected_spans, spans.error_message)
        if signal == "metrics":
            points = ExportMetricsServiceResponse.FromString(body).partial_success
            return Rejected(points.rejected_data_points, points.error_message)
        records = ExportLogsServiceResponse.FromString(body).partial_success
        return Rejected(records.rejected_log_records, records.error_message)
    except DecodeError:
        return Rejected(0, "")
