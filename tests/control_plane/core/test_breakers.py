"""Edges and the state of their breakers, from reports."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.base import Breaker, ClusterReport, ProxyReport
from meshwright.control_plane.core.attachment import Attachments
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreaker
from meshwright.control_plane.status.circuit_breakers import breaker_state, edge_breakers

SERVICES = ("front", "back", "other")


def policy(target: dict[str, str], callers: tuple[str, ...] = ()) -> PolicyDocument:
    return PolicyDocument(
        CircuitBreaker.model_validate(
            {
                "apiVersion": "meshwright.io/v1",
                "kind": "CircuitBreaker",
                "metadata": {"name": "cb"},
                "spec": {"targetRefs": [target], "from": list(callers)},
            }
        )
    )


def found(document: PolicyDocument | None, *reports: ProxyReport) -> tuple[Breaker, ...]:
    return edge_breakers(Attachments((document,) if document else ()), SERVICES, reports)


def report(service: str, *clusters: ClusterReport, node: str = "n") -> ProxyReport:
    return ProxyReport(node=node, service=service, clusters=clusters)


BACK = {"kind": "Service", "name": "back"}


@pytest.mark.parametrize(
    ("hosts", "ejected", "limited", "state"),
    [
        (2, 0, False, "closed"),
        (2, 1, False, "partial"),
        (2, 2, False, "open"),
        (2, 0, True, "open"),
        (0, 0, False, "closed"),
        (1, 2, False, "open"),
    ],
)
def test_a_state_follows_from_counts(hosts: int, ejected: int, limited: bool, state: str) -> None:
    assert (
        breaker_state(ClusterReport(cluster="back", hosts=hosts, ejected=ejected, limited=limited)) == state
    )


def test_only_edges_with_a_circuit_breaker_are_listed() -> None:
    told = report("front", *(ClusterReport(cluster=name, hosts=1) for name in ("back", "other", "nobody")))
    assert found(None, told) == ()
    assert [(one.from_, one.to) for one in found(policy(BACK), told)] == [("front", "back")]
    everywhere = found(policy({"kind": "Mesh"}), told)
    assert [one.to for one in everywhere] == ["back", "other"]
    assert found(policy(BACK, callers=("other",)), told) == ()


def test_the_worst_sidecar_and_cluster_stand_for_the_edge() -> None:
    well = ClusterReport(cluster="back", hosts=2)
    partial = ClusterReport(cluster="back", hosts=2, ejected=1)
    subset = ClusterReport(cluster="back/v2", hosts=1, ejected=1)
    port = ClusterReport(cluster="back:grpc", hosts=3, limited=True)
    one = found(
        policy(BACK), report("front", well), report("front", partial, node="m"), report("ingress", well)
    )
    assert [(each.from_, each.state, each.ejected, each.hosts) for each in one] == [
        ("front", "partial", 1, 2),
        ("ingress", "closed", 0, 2),
    ]
    assert [each.state for each in found(policy(BACK), report("front", partial, subset))] == ["open"]
    (limited,) = found(policy(BACK), report("front", well, port))
    assert (limited.state, limited.limited, limited.hosts) == ("open", True, 3)
