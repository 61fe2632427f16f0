"""The calls that were seen, between members of the mesh and without those that were refused."""

from __future__ import annotations

from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.status.observed_calls import observed_calls
from meshwright.control_plane.telemetry.requests.call_memory import SeenCalls
from meshwright.control_plane.telemetry.requests.operation_counts import CalledOperation
from tests.control_plane.core.worlds import exchange


def test_only_calls_between_members_of_the_mesh_are_observed() -> None:
    edges = {
        ("orders", "inventory"): (3.0, 1.0),
        ("ingress", "orders"): (2.0, 1.0),
        ("gone", "orders"): (1.0, 1.0),
        ("orders", "/external/cards"): (1.0, 1.0),
        ("orders", "example.com"): (1.0, 1.0),
    }
    calls = observed_calls(translate(exchange()), SeenCalls(60.0, edges)).calls
    assert [(call.caller, call.role, call.service, call.requests) for call in calls] == [
        ("ingress", "gateway", "orders", 2.0), ("orders", "service", "inventory", 3.0),
    ]  # fmt: skip


def test_what_rules_refused_was_not_called() -> None:
    seen = SeenCalls(
        60.0,
        {("orders", "inventory"): (3.0, 1.0), ("catalog", "inventory"): (5.0, 1.0)},
        {("orders", "inventory"): {CalledOperation("GET", "/x", grpc=False): 2.0}},
        {("orders", "inventory"): (1.0, 0.0), ("catalog", "inventory"): (5.0, 0.0)},
    )
    (call,) = observed_calls(translate(exchange()), seen).calls
    assert (call.caller, call.requests) == ("orders", 2.0)
    assert [(item.path, item.requests) for item in call.operations] == [("/x", 2.0)]
