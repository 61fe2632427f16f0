"""Nodes that nobody registered and that have no stream are bounded; a node's owners are found by name."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity, Role
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status.known_nodes import (
    MAX_UNKNOWN,
    NameConflicts,
    NodeOwners,
    bounded_reports,
)
from tests.control_plane.core.worlds import exchange

WORLD = exchange()
SERVICE = next(service for service in WORLD.services.values() if service.instances)
INSTANCE = SERVICE.instances[0].name


def report(node: str, service: str = "evil") -> ProxyReport:
    return ProxyReport(node=node, service=service, metrics="127.0.0.1:15020", app_metrics=True)


def test_invented_nodes_are_few_and_not_scraped() -> None:
    stream = ProxyStatus(name="evil-1", service="evil", state="synced", revision=1)
    reports = [
        *(report(f"invented-{number}") for number in range(2000)),
        report("evil-1"),
        report(INSTANCE, SERVICE.name),
    ]
    bounded = bounded_reports(reports, WORLD, [stream])
    scraped = {item.node for item in bounded if item.metrics}
    assert scraped == {"evil-1", INSTANCE}
    assert len(bounded) == MAX_UNKNOWN + 2


def test_owners_are_those_of_registrations_and_of_streams() -> None:
    worlds = [World(0), WORLD]
    owners = NodeOwners(lambda: worlds[0], lambda node: {"ingress"} if node == "ingress" else ())
    assert set(owners(INSTANCE)) == set()
    worlds.reverse()
    assert set(owners(INSTANCE)) == {SERVICE.name}
    assert set(owners("ingress")) == {"ingress"}
    assert set(owners("nobody")) == set()


@pytest.mark.parametrize(
    ("role", "name", "conflict"),
    [
        ("service", "ingress", "a gateway is named ingress"),
        ("service", "edge", "a gateway is named edge"),
        ("service", SERVICE.name, ""),
        ("service", "new", ""),
        ("gateway", SERVICE.name, f"a service is named {SERVICE.name}"),
        ("gateway", "edge", ""),
        ("gateway", "new", ""),
        ("control-plane", "", ""),
    ],
)
def test_a_name_belongs_to_a_service_or_to_a_gateway(role: Role, name: str, conflict: str) -> None:
    conflicts = NameConflicts(lambda: WORLD, lambda: ("edge", SERVICE.name))
    message = conflicts(Identity("mesh.local", role, name))
    assert message.startswith(conflict)
    assert bool(message) == bool(conflict)
