"""What a collector's response means: delays, retries, partial success."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from meshwright.control_plane.telemetry.export import retry


def test_retry_delays_grow_with_jitter_up_to_a_limit() -> None:
    longest = [retry.retry_delay(failures, 1.0) for failures in range(1, 9)]
    assert longest[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert set(longest[5:]) == {retry.MAX_DELAY}
    assert retry.retry_delay(10_000, 0.0) == retry.MAX_DELAY / 2


def test_a_server_delay_is_read_from_the_error_details() -> None:
    status = Status(code=8)
    status.details.add().Pack(ErrorInfo(reason="busy"))
    assert retry.server_delay(status.SerializeToString()) is None
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)))
    assert retry.server_delay(status.SerializeToString()) == 2.5
    excessive = Status(code=8)
    excessive.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=10**9)))
    assert retry.server_delay(excessive.SerializeToString()) == retry.MAX_SERVER_DELAY
    assert retry.server_delay(b"\xff\xff") is None


def test_a_partial_success_is_parsed_for_each_signal() -> None:
    response = ExportTraceServiceResponse()
    assert retry.partial_success("traces", b"") == (0, "")
    response.partial_success.rejected_spans, response.partial_success.error_message = 4, "too old"
    for signal in ("traces", "metrics", "logs"):
        assert retry.partial_success(signal, response.SerializeToString()) == (4, "too old")
    assert retry.partial_success("traces", b"\xff") == (0, "")
