"""Nodes that nobody registered and that have no stream are bounded; a node's owners are found by name."""

from __future__ import annotations

from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status.known_nodes import (
    MAX_UNKNOWN,
    NodeOwners,
    bounded_reports,
    reserved_names,
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


def test_a_gateways_name_is_reserved_unless_a_service_has_it_already() -> None:
    assert reserved_names(WORLD, ["edge", SERVICE.name]) == {*WORLD.gateways, "edge"} - {SERVICE.name}
