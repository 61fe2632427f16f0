"""What an instance that intercepts requests changes for callers, and what it leaves as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwright.control_plane.api.models.instances import InstanceHealth
from meshwright.control_plane.core.resource import CDS, EDS, VHDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import Instance, Intercept, Service, World, intercept_of
from tests.control_plane.core.worlds import (
    GRPC,
    HTTP,
    body,
    documents,
    instance,
    route,
    service,
    subset,
    world,
)

BY_HEADER = Intercept("x-dev", "me")
NAME = f"orders/intercept-{BY_HEADER.id}"


def orders(*intercepts: Intercept) -> Service:
    """Two ordinary instances, and one for each intercept."""
    more = [
        Instance(
            f"dev-{number}", "127.0.0.1", 2000 + number, tuple(sorted((*each.labels, ("version", "v2"))))
        )
        for number, each in enumerate(intercepts)
    ]
    return service(
        "orders", instance("orders-1", 1, version="v1"), instance("orders-2", 2, version="v2"), *more,
        ports=(HTTP, GRPC),
    )  # fmt: skip


def translated(*intercepts: Intercept, text: str = "") -> Snapshot:
    policies = documents(text) if text else ()
    return translate(world(service("web"), orders(*intercepts), policy_documents=policies)).snapshot


def endpoints(snapshot: Snapshot, cluster: str) -> list[int]:
    """The ports of a cluster's endpoints."""
    message = body(snapshot.shared[EDS, cluster])
    return [
        endpoint.endpoint.address.socket_address.port_value
        for locality in message.endpoints
        for endpoint in locality.lb_endpoints
    ]


def routes(snapshot: Snapshot, host: str = "out/orders") -> list[tuple[list[str], dict[str, int]]]:
    """For each route the headers that it matches, and its clusters with their weights."""
    result = []
    message = body(snapshot.shared[VHDS, host])
    for entry in message.routes:
        action = entry.route
        if entry.match.HasField("connect_matcher") or not entry.HasField("route"):
            continue
        clusters = {part.name: part.weight.value for part in action.weighted_clusters.clusters}
        result.append(([header.name for header in entry.match.headers], clusters or {action.cluster: 1}))
    return result


def test_requests_with_the_header_go_to_the_intercepting_instance_and_no_others() -> None:
    snapshot = translated(BY_HEADER)
    assert endpoints(snapshot, NAME) == [2000]
    assert endpoints(snapshot, "orders") == [1, 2]
    assert routes(snapshot)[:2] == [(["x-dev"], {NAME: 1}), ([], {"orders": 1})]
    grpc = f"orders:grpc/intercept-{BY_HEADER.id}"
    assert endpoints(snapshot, grpc) == [2000]
    assert {(CDS, NAME), (CDS, grpc)} <= snapshot.shared.keys()
    assert snapshot.dangling_references() == ()


def test_an_unhealthy_instance_leaves_requests_to_the_others() -> None:
    share = Intercept(percent=30)
    service_of = orders(BY_HEADER, share)
    cases: tuple[tuple[InstanceHealth, bool], ...] = (
        ("unhealthy", False),
        ("healthy", True),
        ("draining", True),
    )
    for health, taken in cases:
        instances = tuple(
            replace(item, health=health) if item.intercept else item for item in service_of.instances
        )
        snapshot = translate(world(service("web"), replace(service_of, instances=instances))).snapshot
        clusters = {name for _, weights in routes(snapshot) for name in weights}
        assert clusters == {"orders", *((NAME, f"orders/intercept-{share.id}") if taken else ())}
        assert (CDS, NAME) in snapshot.shared  # what is in flight there goes on


def test_instances_get_the_requests_to_the_ports_that_they_have() -> None:
    both, none = orders(BY_HEADER), ()
    first, second, dev = both.instances
    instances = (replace(first, ports=(HTTP, GRPC)), replace(second, ports=none), replace(dev, ports=(HTTP,)))
    snapshot = translate(world(service("web"), replace(both, instances=instances))).snapshot
    assert endpoints(snapshot, "orders") == [first.port]
    assert endpoints(snapshot, "orders:grpc") == [first.port]
    assert endpoints(snapshot, NAME) == [dev.port]
    assert routes(snapshot)[0] == (["x-dev"], {NAME: 1})
    assert {name for _, weights in routes(snapshot, "out/orders:9090") for name in weights} == {"orders:grpc"}
    renamed = replace(second, ports=(HTTP.model_copy(update={"name": "web"}),))
    snapshot = translate(world(service("web"), replace(both, instances=(first, renamed)))).snapshot
    assert endpoints(snapshot, "orders") == [first.port, renamed.port]


def test_subsets_and_routes_are_intercepted_too() -> None:
    ref = "{group: meshwright.io, kind: Subset, name: v2, weight: 10}"
    text = route(
        "canary", f"{{backendRefs: [{{name: orders, weight: 90}}, {ref}]}}", "{kind: Service, name: orders}"
    )
    snapshot = translated(BY_HEADER, text=text + subset("v2", "orders"))
    assert endpoints(snapshot, "orders/v2") == [2]
    first, second = routes(snapshot)[:2]
    assert first[0] == ["x-dev"]
    assert set(first[1]) == {NAME}
    assert second == ([], {"orders": 90, "orders/v2": 10})


def test_a_percentage_is_taken_from_each_backend() -> None:
    taking = Intercept(percent=20)
    text = route(
        "two",
        "{backendRefs: [{name: orders, weight: 3}, {name: web, weight: 1}]}",
        "{kind: Service, name: orders}",
    )
    snapshot = translated(taking, text=text)
    weights = routes(snapshot)[0][1]
    assert weights == {f"orders/intercept-{taking.id}": 60, "orders": 240, "web": 100}


def test_several_people_intercept_one_service() -> None:
    other = Intercept("x-dev", "you")
    snapshot = translated(BY_HEADER, other, Intercept(percent=60), Intercept(percent=70))
    matched = [(headers, clusters) for headers, clusters in routes(snapshot) if headers]
    assert {tuple(clusters) for _, clusters in matched} == {(NAME,), (f"orders/intercept-{other.id}",)}
    weights = routes(snapshot)[-1][1]
    assert sum(weights.values()) == 100
    assert sorted(weights.values(), reverse=True)[:2] == [60, 40]


def test_the_end_of_an_intercept_leaves_what_was_before() -> None:
    before = translated()
    during = translate(world(service("web"), orders(BY_HEADER)))
    after = translate(world(service("web"), orders()), during).snapshot
    assert {key: resource.version for key, resource in after.shared.items()} == {
        key: resource.version for key, resource in before.shared.items()
    }


@pytest.mark.parametrize(
    "labels",
    [
        {"intercept.meshwright.io/header": "x-dev"},
        {"intercept.meshwright.io/value": "me"},
        {"intercept.meshwright.io/percent": "0"},
        {"intercept.meshwright.io/percent": "101"},
        {"intercept.meshwright.io/percent": "half"},
        {"intercept.meshwright.io/percent": "²"},
        {"version": "v1"},
    ],
)
def test_labels_that_make_no_sense_intercept_nothing(labels: dict[str, str]) -> None:
    assert intercept_of(labels) is None


def test_a_world_without_intercepts_knows_none() -> None:
    assert World(1).services == {}
    assert orders().intercepts == ()
    assert orders(BY_HEADER, BY_HEADER).intercepts == (BY_HEADER,)
