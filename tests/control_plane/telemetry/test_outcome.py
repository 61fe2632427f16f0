"""Which spans failed: by the status of the answer, as everything else of the mesh counts it."""

from __future__ import annotations

from itertools import product

import pytest

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.policies.server_errors import GRPC_SERVER_ERRORS, SERVER_ERROR
from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES, is_failure
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.exports import SpanSpec, span_export

SERVER, CLIENT = 2, 3
ORDERS = Identity("mesh.local", "service", "orders")


def is_error(kind: int, said: bool, attributes: dict[str, str]) -> bool:
    """What the store calls a span whose sender `said` that it is an error; all that tells of it agrees."""
    traces = TraceStore()
    sent = SpanSpec(7, 1, kind=kind, failed=said, attributes=attributes)
    for _ in traces.handle(ORDERS, span_export("orders", [sent]), 0.0):
        pass
    trace = traces.get(f"{7:032x}")
    assert trace is not None
    found = trace.tree[0].error
    assert trace.errors == trace.services[0].errors == len(traces.search(TraceQuery(errors=True), 9)) == found
    return found


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
def test_of_envoys_spans_only_the_status_counts(status: str, flags: str, grpc: str, expected: bool) -> None:
    told = {"component": "proxy", "http.status_code": status, "response_flags": flags}
    told |= {"grpc.status_code": grpc} if grpc else {}
    for kind, said in product((SERVER, CLIENT), (True, False)):
        assert is_error(kind, said, told) is expected


@pytest.mark.parametrize(
    ("said", "told", "expected"),
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
def test_a_services_own_word_counts_where_no_status_says_more(
    said: bool, told: dict[str, str], expected: bool
) -> None:
    assert is_error(CLIENT, said, told) is expected


def test_access_logs_know_the_same_failures_of_grpc() -> None:
    assert {name.replace("_", "").lower() for name in GRPC_SERVER_ERRORS} == {
        name.lower() for name in GRPC_FAILURES.values()
    }
    assert SERVER_ERROR == 500
    assert [is_failure(status) for status in (0, 499, 500)] == [False, False, True]
