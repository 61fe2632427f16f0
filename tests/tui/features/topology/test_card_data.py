"""What node cards show of policies and rollouts, from their documents."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.control_plane.api.models.rollouts import BackendFigures, RolloutPhase, RolloutStatus
from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.tui.features.topology.card_data import card_data, faulty_services, split_weights, total_trend
from meshwright.tui.mesh_state import DashboardState
from tests.fakes.scenarios import exchange


def route(name: str, service: str, *weights: int | None) -> dict[str, Any]:
    backends = [{"name": service} if each is None else {"name": service, "weight": each} for each in weights]
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"kind": "Service", "group": "", "name": service}],
            "rules": [{"name": "testers", "backendRefs": backends[:1]}, {"backendRefs": backends}],
        },
    }


def fault(kind: str, name: str) -> dict[str, Any]:
    spec = {"targetRefs": [{"kind": kind, "name": name}], "abort": {"status": 503, "percent": 5}}
    return {"kind": "FaultInjection", "metadata": {"name": "fails"}, "spec": spec}


def rollout(route: str, weight: int, phase: RolloutPhase) -> RolloutStatus:
    figures = BackendFigures(requests=0, failures=0, success_rate=100, p99_ms=0)
    return RolloutStatus(
        name="new",
        route=route,
        stable="Service/orders",
        canary="Subset/orders-v2",
        phase=phase,
        step=1,
        steps=3,
        weight=weight,
        mirror=0,
        since=0,
        reason="",
        waits_for="",
        canary_figures=figures,
        stable_figures=figures,
    )


def test_faults_of_a_service_and_of_its_route() -> None:
    orders = route("orders-canary", "orders", 90, 10)
    assert faulty_services([orders, fault("Service", "inventory")]) == {"inventory"}
    assert faulty_services([orders, fault("HTTPRoute", "orders-canary")]) == {"orders"}
    assert faulty_services([orders, fault("HTTPRoute", "another"), fault("Mesh", "mesh")]) == set()


def test_weights_are_those_of_the_first_rule_that_splits() -> None:
    documents = [route("a", "orders", 90, 10), route("b", "orders", 1, 1), route("c", "users", None, None)]
    assert split_weights(documents, ()) == {"orders": "90:10", "users": "1:1"}
    assert split_weights([route("a", "orders", 100)], ()) == {}


def test_a_rollout_decides_the_weights_of_its_route() -> None:
    documents = [route("a", "orders", 100, 0)]
    assert split_weights(documents, [rollout("HTTPRoute/a", 25, "Paused")]) == {"orders": "75:25"}
    assert split_weights(documents, [rollout("HTTPRoute/a", 0, "Aborted")]) == {"orders": "100:0"}
    assert split_weights(documents, [rollout("HTTPRoute/other", 25, "Paused")]) == {"orders": "100:0"}


def test_before_anything_is_fetched_cards_have_no_more_than_the_topology() -> None:
    data = card_data(DashboardState(policies=DocumentList(revision=1)), {})
    assert (data.trends, data.faults, data.weights) == ({}, frozenset(), {})
    assert set(card_data(DashboardState(services=exchange().services), {}).trends) >= {"orders", "ingress"}


def test_the_card_of_a_group_has_the_rates_of_its_services_together() -> None:
    old, new = ServiceTrend(step=5, rps=(1, 2, 3)), ServiceTrend(step=5, rps=(10, 20))
    assert total_trend([old, new]).rps == (1, 12, 23)
    assert total_trend([]).rps == ()
    state = DashboardState(services=exchange().services)
    trends = card_data(state, {"shop (2)": ("orders", "trading")}).trends
    assert trends["shop (2)"] == total_trend([trends["orders"], trends["trading"]])
    assert trends["shop (2)"].rps[-1] > trends["orders"].rps[-1]
