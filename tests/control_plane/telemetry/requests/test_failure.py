"""Which spans failed: by the status of the answer, as everything else of the mesh counts it."""

from __future__ import annotations

from itertools import product

import pytest

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.policies.server_errors import GRPC_SERVER_ERRORS, SERVER_ERROR
from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES, is_failure
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export

SERVER, CLIENT = 2, 3
ORDERS = Identity("mesh.local", "service", "orders")


def is_error(kind: int, is_marked: bool, attributes: dict[str, str]) -> bool:
    """Whether the store rates a span as an error; summary, tree and search must agree."""
    traces = TraceStore()
    span = SpanSpec(7, 1, kind=kind, failed=is_marked, attributes=attributes)
    for _ in traces.handle(ORDERS, span_export("orders", [span]), 0.0):
        pass
    trace = traces.get(f"{7:032x}")
    assert trace is not None
    error = trace.tree[0].error
    assert trace.errors == trace.services[0].errors == len(traces.search(TraceQuery(errors=True), 9)) == error
    return error


@pytest.mark.parametrize(
    ("status", "flags", "grpc", "expected"),
    [
        ("200", "-", "", False),
        ("409", "-", "", False),
        ("404", "NR", "", True),
        ("418", "FI", "", True),
        ("503", "UO", "", True),
        ("500", "-", "", True),
        ("0", "-", "", True),
        ("0", "DC", "", True),
        ("200", "DC", "", False),
        ("200", "DI", "", False),
        ("200", "-", "0", False),
        ("200", "-", "5", False),
        ("200", "-", "12", False),
        ("200", "-", "14", True),
    ],
)
def test_envoys_spans_fail_by_status_and_flags_only(
    status: str, flags: str, grpc: str, expected: bool
) -> None:
    attributes = {"component": "proxy", "http.status_code": status, "response_flags": flags}
    attributes |= {"grpc.status_code": grpc} if grpc else {}
    for kind, is_marked in product((SERVER, CLIENT), (True, False)):
        assert is_error(kind, is_marked, attributes) is expected


@pytest.mark.parametrize(
    ("is_marked", "attributes", "expected"),
    [
        (True, {"http.status_code": "404"}, False),
        (True, {"http.response.status_code": "409"}, False),
        (False, {"http.response.status_code": "502"}, True),
        (True, {"http.response.status_code": "200"}, True),
        (False, {"http.response.status_code": "200"}, False),
        (True, {"rpc.grpc.status_code": "5"}, False),
        (False, {"rpc.grpc.status_code": "4"}, True),
        (True, {"rpc.grpc.status_code": "0"}, True),
        (True, {"http.status_code": "many"}, True),
        (True, {"http.status_code": "9" * 300}, True),
        (True, {}, True),
        (False, {}, False),
    ],
)
def test_an_apps_span_fails_by_its_status_else_by_its_own_error(
    is_marked: bool, attributes: dict[str, str], expected: bool
) -> None:
    assert is_error(CLIENT, is_marked, attributes) is expected


def test_access_logs_and_spans_share_the_grpc_failures() -> None:
    assert {name.replace("_", "").lower() for name in GRPC_SERVER_ERRORS} == {
        name.lower() for name in GRPC_FAILURES.values()
    }
    assert SERVER_ERROR == 500
    assert [is_failure(status) for status in (0, 499, 500)] == [False, False, True]
