"""The memory of calls: bounded, for an hour, and each request once."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.requests import call_memory
from meshwright.control_plane.telemetry.requests.call_memory import CallMemory
from meshwright.control_plane.telemetry.requests.operation_counts import (
    MAX_METHODS,
    MAX_OPERATIONS,
    CalledOperation,
)
from meshwright.control_plane.telemetry.requests.record import RequestRecord
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.flush import MetricsFlush, NodeFlush
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.telemetry.log_exports import record as log_record

PEER = "spiffe://mesh.local/service/orders"
PAIR = ("orders", "inventory")
TRACED = "00-" + "7" * 32 + "-" + "1" * 16 + "-01"


def record(**attributes: Any) -> RequestRecord:
    logged = {"direction": "inbound", "peer": PEER, "path": "/stock/1", **attributes}
    return log_record("inventory", **logged)


def traced(memory: CallMemory, now: float = 0.0, **attributes: str) -> None:
    logged = {"peer": PEER, "method": "GET", "path": "/stock/1"}
    memory.add_traced("inventory", logged | attributes, now)


def operations(memory: CallMemory, now: float = 10.0, seconds: float = 3600.0) -> dict[Any, float]:
    return {tuple(each): count for each, count in memory.since(seconds, now).operations[PAIR].items()}


def test_records_of_both_logs_are_operations_and_a_traced_request_counts_once() -> None:
    memory = CallMemory(0.0)
    memory.add_record(record(parent=TRACED), 0.0)
    assert operations(memory) == {("GET", "/stock/{id}", False): 1.0}, "a proxy without a span log"
    traced(memory)
    memory.add_record(record(parent=TRACED), 0.0)
    memory.add_record(record(path="/stock/2"), 0.0)
    traced(memory, path="/shop.v1.Stock/Get", content_type="application/grpc+proto", method="POST")
    assert operations(memory) == {
        ("GET", "/stock/{id}", False): 3.0,
        ("POST", "/shop.v1.Stock/Get", True): 1.0,
    }


def test_what_an_authorization_refused_is_no_operation() -> None:
    memory = CallMemory(0.0)
    refused = {"details": "rbac_access_denied_matched_policy[none]"}
    memory.add_record(record(parent=TRACED, **refused), 0.0)
    traced(memory, details=refused["details"])
    memory.add_record(record(method="TCP", path="-", **refused), 0.0)
    assert operations(memory) == {}
    assert memory.since(60.0, 10.0).refused[PAIR] == (1.0, 1.0)


def test_a_probe_is_no_call() -> None:
    memory = CallMemory(0.0)
    answered = {"details": "direct_response"}
    memory.add_record(record(**answered), 0.0)
    traced(memory, details=answered["details"])
    assert not memory.since(60.0, 10.0).operations
    memory.discount(*PAIR, 2.0, 0.0)
    memory.count(*PAIR, 5.0, 0.0, 1.0)
    assert memory.since(60.0, 10.0).edges == {PAIR: (3.0, 0.0)}


def test_callers_without_a_certificate_and_calls_that_were_sent_are_left_out() -> None:
    memory = CallMemory(0.0)
    memory.add_record(record(peer="-"), 0.0)
    memory.add_record(record(direction="outbound"), 0.0)
    traced(memory, peer="")
    assert not memory.since(60.0, 10.0).operations


def test_an_hour_is_remembered_to_the_minute() -> None:
    memory = CallMemory(0.0)
    memory.count("orders", "inventory", 3.0, 1.0, 0.0)
    traced(memory, 0.0)
    memory.count("orders", "inventory", 2.0, 0.0, 1800.0)
    traced(memory, 1800.0, path="/other")
    assert memory.since(3600.0, 1810.0).edges == {("orders", "inventory"): (5.0, 1.0)}
    assert memory.since(60.0, 1810.0).edges == {("orders", "inventory"): (2.0, 0.0)}
    assert operations(memory, 1810.0, 60.0) == {("GET", "/other", False): 1.0}
    assert (memory.since(9_999.0, 1810.0).seconds, memory.since(9_999.0, 7_000.0).seconds) == (1810.0, 3600.0)
    assert operations(memory, 3_700.0) == {("GET", "/other", False): 1.0}
    memory.count("a", "b", 1.0, 0.0, 9_000.0)
    assert list(memory.since(3600.0, 9_000.0).edges) == [("a", "b")]
    assert not memory.since(3600.0, 9_000.0).operations


def test_many_paths_become_templates_and_too_many_no_path() -> None:
    memory = CallMemory(0.0)
    for number in range(5_000):
        traced(memory, path=f"/users/{chr(97 + number % 26)}{'x' * (number % 40)}")
    assert operations(memory) == {("GET", "/users/{id}", False): 5_000.0}
    for number in range(MAX_OPERATIONS + 10):
        traced(memory, path="/y" * (number + 1))
    assert operations(memory)["GET", "", False] > 0
    for number in range(10 * MAX_OPERATIONS):
        traced(memory, method="X" * (number + 1))
    assert len(operations(memory)) <= MAX_OPERATIONS + MAX_METHODS + 1
    assert sum(operations(memory).values()) == 5_000 + MAX_OPERATIONS + 10 + 10 * MAX_OPERATIONS


def test_all_pairs_share_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_memory, "MAX_PAIRS", 4)
    memory = CallMemory(0.0, max_operations=1)
    for number in range(6):
        memory.count("greedy", f"s{number}", 1.0, 0.0, 0.0)
    memory.count("orders", "inventory", 1.0, 0.0, 0.0)
    assert [caller for caller, _ in memory.since(60.0, 10.0).edges] == ["greedy", "greedy", "orders"]
    traced(memory)
    traced(memory, path="/other")
    assert operations(memory) == {
        ("GET", "/stock/{id}", False): 1.0,
        tuple(CalledOperation("", "", grpc=False)): 1.0,
    }


def test_requests_that_the_callers_own_proxy_refused_are_no_calls() -> None:
    memory = CallMemory(0.0)
    windows = TrafficWindows(calls=memory)
    flush = MetricsFlush(
        clusters={"inventory": UpstreamCounters(completed=8.0, refused=5.0, connections=1.0)}
    )
    node_flush = NodeFlush(Identity("mesh.local", "service", "orders"), "orders-1", flush)
    list(windows.ingest(node_flush, 1.0))
    assert memory.since(60.0, 10.0).edges == {("orders", "inventory"): (3.0, 1.0)}
