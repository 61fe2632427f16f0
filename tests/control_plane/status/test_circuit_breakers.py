"""The state of each edge's circuit breaker, from reports."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.control_plane.api.models.topology import Breaker
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


def breakers_of(document: PolicyDocument | None, *reports: ProxyReport) -> tuple[Breaker, ...]:
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
def test_breaker_state_follows_from_counts(hosts: int, ejected: int, limited: bool, state: str) -> None:
    assert (
        breaker_state(ClusterReport(cluster="back", hosts=hosts, ejected=ejected, limited=limited)) == state
    )


@pytest.mark.parametrize(
    ("ejected", "half_open", "limited", "state"),
    [
        (1, 1, False, "half-open"),
        (0, 1, False, "half-open"),  # its trial has just passed
        (2, 1, False, "partial"),
        (2, 2, False, "half-open"),
        (2, 0, False, "open"),
        (1, 1, True, "open"),
    ],
)
def test_breaker_is_half_open_while_an_ejected_host_is_tried(
    ejected: int, half_open: int, limited: bool, state: str
) -> None:
    cluster = ClusterReport(cluster="back", hosts=2, ejected=ejected, half_open=half_open, limited=limited)
    assert breaker_state(cluster) == state


def test_trials_of_all_sidecars_of_the_caller_are_counted() -> None:
    (breaker,) = breakers_of(
        policy(BACK),
        report("front", ClusterReport(cluster="back", hosts=1, passed=1, failed=2), node="front-1"),
        report("front", ClusterReport(cluster="back/v2", hosts=1, ejected=1, failed=4), node="front-2"),
    )
    assert (breaker.trials_passed, breaker.trials_failed, breaker.state) == (1, 6, "open")


def test_edge_without_policy_has_no_breaker() -> None:
    proxy_report = report(
        "front", *(ClusterReport(cluster=name, hosts=1) for name in ("back", "other", "nobody"))
    )
    assert breakers_of(None, proxy_report) == ()
    assert [(breaker.from_, breaker.to) for breaker in breakers_of(policy(BACK), proxy_report)] == [
        ("front", "back")
    ]
    everywhere = breakers_of(policy({"kind": "Mesh"}), proxy_report)
    assert [breaker.to for breaker in everywhere] == ["back", "other"]
    assert breakers_of(policy(BACK, callers=("other",)), proxy_report) == ()


def test_edge_has_the_state_of_its_worst_sidecar_and_cluster() -> None:
    healthy = ClusterReport(cluster="back", hosts=2)
    partial = ClusterReport(cluster="back", hosts=2, ejected=1)
    subset = ClusterReport(cluster="back/v2", hosts=1, ejected=1)
    port = ClusterReport(cluster="back:grpc", hosts=3, limited=True)
    breakers = breakers_of(
        policy(BACK), report("front", healthy), report("front", partial, node="m"), report("ingress", healthy)
    )
    assert [(breaker.from_, breaker.state, breaker.ejected, breaker.hosts) for breaker in breakers] == [
        ("front", "partial", 1, 2),
        ("ingress", "closed", 0, 2),
    ]
    assert [breaker.state for breaker in breakers_of(policy(BACK), report("front", partial, subset))] == [
        "open"
    ]
    (limited,) = breakers_of(policy(BACK), report("front", healthy, port))
    assert (limited.state, limited.limited, limited.hosts) == ("open", True, 3)


def test_edge_to_a_gateway_has_the_breaker_of_the_host_outside() -> None:
    cluster = ClusterReport(cluster="egress/external/cards", hosts=1, ejected=1)
    for target, expected in ((BACK, []), ({"kind": "ExternalService", "name": "cards"}, ["open"])):
        breakers = breakers_of(policy(target), report("front", cluster))
        assert [breaker.state for breaker in breakers if breaker.to == "egress"] == expected
