"""Endpoints: weights by label, and local zone first; clusters do not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.endpoints import MAX_ZONES, zones
from meshwright.control_plane.core.resource import CDS, EDS
from meshwright.control_plane.core.snapshot import Bindings, Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import Instance, World
from meshwright.control_plane.envoy import v3
from tests.control_plane.core.worlds import body, documents, instance, mesh, service, subset, world

BACK = (
    instance("back-1", 1, zone="east", version="v1"),
    instance("back-2", 2, zone="west", version="v1"),
    instance("back-3", 3, zone="west", version="v2"),
    instance("back-4", 4, version="v2"),
)
NEAR = "locality: {prefer: Zone}"
HEAVY = "weights: [{labels: {version: v2}, weight: 5}, {labels: {zone: west}, weight: 3}]"


def given(text: str, *instances: Instance) -> World:
    return world(service("back", *(instances or BACK)), service("front"), policy_documents=documents(text))


def balancer(name: str, spec: str) -> str:
    return mesh("LoadBalancer", name, spec, "{kind: Service, name: back}")


def seen(snapshot: Snapshot, zone: str = "", caller: str = "front", cluster: str = "back") -> list[Any]:
    """(port, weight, zone, priority) of each endpoint, as a caller in `zone` sees them."""
    node = snapshot.node(Identity("mesh.local", "service", caller), Bindings(zone=zone))
    resource = node.get(EDS, cluster)
    assert resource is not None
    return sorted(
        (
            lb_endpoint.endpoint.address.socket_address.port_value,
            lb_endpoint.load_balancing_weight.value,
            group.locality.zone,
            group.priority,
        )
        for group in body(resource).endpoints
        for lb_endpoint in group.lb_endpoints
    )


EVEN = [(1, 0, "", 0), (2, 0, "", 0), (3, 0, "", 0), (4, 0, "", 0)]


def test_without_policy_all_endpoints_are_equal() -> None:
    snapshot = translate(given("")).snapshot
    assert seen(snapshot) == seen(snapshot, "east") == EVEN
    assert not snapshot.endpoint_overrides


def test_weights_first_matching_labels_apply() -> None:
    snapshot = translate(given(balancer("heavy", HEAVY))).snapshot
    assert [(port, weight) for port, weight, _, _ in seen(snapshot)] == [(1, 1), (2, 3), (3, 5), (4, 5)]


def test_locality_own_zone_first_other_zones_next_priority() -> None:
    snapshot = translate(given(balancer("near", NEAR))).snapshot
    assert seen(snapshot, "west") == [(1, 0, "east", 1), (2, 0, "west", 0), (3, 0, "west", 0), (4, 0, "", 1)]
    assert seen(snapshot, "east") == [(1, 0, "east", 0), (2, 0, "west", 1), (3, 0, "west", 1), (4, 0, "", 1)]


@pytest.mark.parametrize("zone", ["", "north"])
def test_locality_caller_without_local_instances_sees_all_equal(zone: str) -> None:
    assert seen(translate(given(balancer("near", NEAR))).snapshot, zone) == EVEN


def test_locality_subset_without_local_instances_has_no_empty_priority() -> None:
    text = balancer("near", NEAR) + subset("v2", of="back")
    snapshot = translate(given(text)).snapshot
    assert seen(snapshot, "east", cluster="back/v2") == [(3, 0, "west", 0), (4, 0, "", 0)]


def test_locality_unhealthy_instances_keep_their_priority() -> None:
    ill = (instance("back-1", 1, "unhealthy", zone="east"), instance("back-2", 2, zone="west"))
    snapshot = translate(given(balancer("near", NEAR), *ill)).snapshot
    assert seen(snapshot, "east") == [(1, 0, "east", 0), (2, 0, "west", 1)]


def test_policy_with_from_overrides_the_policy_for_all_callers() -> None:
    near_for_front = balancer("heavy", HEAVY) + balancer("near", f"from: [front], {NEAR}")
    snapshot = translate(given(near_for_front)).snapshot
    assert seen(snapshot, "east")[0] == (1, 0, "east", 0)
    assert seen(snapshot, "north") == EVEN
    assert seen(snapshot, "east", caller="back")[2] == (3, 5, "", 0)
    heavy_for_front = balancer("near", NEAR) + balancer("heavy", f"from: [front], {HEAVY}")
    snapshot = translate(given(heavy_for_front)).snapshot
    assert seen(snapshot, "east")[2] == (3, 5, "", 0)
    assert seen(snapshot, "east", caller="back")[2] == (3, 0, "west", 1)


def test_caller_with_equal_load_balancing_shares_endpoints() -> None:
    text = balancer("near", NEAR) + mesh("Timeout", "slow", "from: [front], request: 9s")
    assert {caller for caller, _ in translate(given(text)).snapshot.endpoint_overrides} == {""}


def test_changing_weights_and_zones_changes_only_endpoints() -> None:
    before = translate(given(balancer("one", NEAR)))
    after = translate(given(balancer("one", HEAVY)), before)
    changed = after.snapshot.changed_from(before.snapshot)
    assert changed == {(EDS, "back")}
    assert before.snapshot.shared[CDS, "back"].version == after.snapshot.shared[CDS, "back"].version


def test_moved_instance_changes_endpoints_by_zone() -> None:
    first = translate(given(balancer("near", NEAR)))
    moved = (instance("back-1", 1, zone="west"), *BACK[1:])
    second = translate(given(balancer("near", NEAR), *moved), first)
    assert second.snapshot.changed_from(first.snapshot) == {(EDS, "back")}
    assert seen(second.snapshot, "east") == EVEN


def test_endpoints_name_their_policy() -> None:
    snapshot = translate(given(balancer("near", NEAR))).snapshot
    node = snapshot.node(Identity("mesh.local", "service", "front"), Bindings(zone="east"))
    resource = node.get(EDS, "back")
    assert resource is not None
    assert resource.policies == ("LoadBalancer/near",)


def test_zones_are_capped() -> None:
    many = [instance(f"back-{n}", n, zone=f"z{n}") for n in range(1, MAX_ZONES + 10)]
    assert len(zones(many)) == MAX_ZONES


@pytest.mark.parametrize(
    "address", ["localhost", "host2.example", "", "\x00", "\x1b[2J", "10.0.0.1:80", "::", "a" * 255]
)
def test_an_address_that_envoy_would_reject_costs_only_its_own_endpoint(address: str) -> None:
    bad = replace(instance("bad-1"), address=address)
    snapshot = translate(given("", instance("back-1", 7), bad)).snapshot
    assert seen(snapshot) == [(7, 0, "", 0)]
    assert [text.split(":")[0] for text in snapshot.problems] == ["instance back/bad-1 is left out"]
    assert "\x1b" not in snapshot.problems[0]


def statuses(snapshot: Snapshot, cluster: str = "back") -> dict[int, str]:
    """The health of each endpoint by its port."""
    resource = snapshot.node(Identity("mesh.local", "service", "front"), Bindings()).get(EDS, cluster)
    assert resource is not None
    return {
        lb_endpoint.endpoint.address.socket_address.port_value: v3.HealthStatus.Name(
            lb_endpoint.health_status
        )
        for group in body(resource).endpoints
        for lb_endpoint in group.lb_endpoints
    }


FAILING = replace(BACK[0], health="unhealthy", last_resort=True)
ENDED = replace(BACK[1], health="unhealthy")
DRAINING = replace(BACK[2], health="draining")


def test_requests_go_to_instances_that_fail_their_check_only_if_none_is_healthy() -> None:
    assert statuses(translate(given("", FAILING, ENDED, DRAINING)).snapshot) == {
        1: "HEALTHY",
        2: "UNHEALTHY",
        3: "DRAINING",
    }
    assert statuses(translate(given("", FAILING, ENDED, BACK[3])).snapshot) == {
        1: "UNHEALTHY",
        2: "UNHEALTHY",
        4: "HEALTHY",
    }


def test_a_version_without_healthy_instances_is_sent_to_too() -> None:
    failing = [replace(item, health="unhealthy", last_resort=True) for item in BACK[:2]]
    snapshot = translate(given(subset("v1", "back", "v1"), *failing, *BACK[2:])).snapshot
    assert set(statuses(snapshot).values()) == {"UNHEALTHY", "HEALTHY"}
    assert statuses(snapshot, "back/v1") == {1: "HEALTHY", 2: "HEALTHY"}


def test_a_load_balancer_can_refuse_instead() -> None:
    snapshot = translate(given(balancer("strict", "allUnhealthy: Refuse"), FAILING, ENDED)).snapshot
    assert statuses(snapshot) == {1: "UNHEALTHY", 2: "UNHEALTHY"}
