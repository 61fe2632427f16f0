"""LoadBalancer over ten real instances, by their counters and by which one responded."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.cli.joining import healthy_instances
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.wrk import stats

NAMES = tuple(f"ten-{number}" for number in range(1, 11))
EAST, WEST = NAMES[:5], NAMES[5:]
THREADS = 4
REQUESTS = 2000
"""With these, three percent are more than three standard deviations of any share, if it were random."""

WINDOW = 10.0
"""Seconds of slow start."""

KEYS = tuple(f"user-{number}" for number in range(1000))

ROUTE_TO_SUBSET = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: some}
spec:
  parentRefs: [{kind: Service, name: ten}]
  rules: [{backendRefs: [{group: meshwright.io, kind: Subset, name: some}]}]
"""


ROUTE_FROM_OUTSIDE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: outside}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: ten}]}]
"""


def balancer(spec: str) -> str:
    return (
        "---\napiVersion: meshwright.io/v1\nkind: LoadBalancer\nmetadata: {name: lab}\n"
        f"spec: {{targetRefs: [{{kind: Service, name: ten}}], {spec}}}\n"
    )


def subset(labels: str) -> str:
    return (
        "---\napiVersion: meshwright.io/v1\nkind: Subset\nmetadata: {name: some}\n"
        f"spec: {{service: ten, labels: {labels}}}\n"
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        service("front", labels={"zone": "east"}),
        service("ten", replicas=5, labels={"app": "ten", "zone": "east", "version": "v1"}),
        service("ten", replicas=5, labels={"app": "ten", "zone": "west", "version": "v2"}),
    ]
    with running_mesh(tmp_path_factory.mktemp("balancing"), services) as running:
        yield running


@pytest.fixture
def mesh(shared: Mesh) -> Iterator[Mesh]:
    """The shared mesh without policies. All instances are healthy, and front's Envoy has called each."""
    until(lambda: healthy_instances(shared, "ten") == len(NAMES), "all instances are healthy")
    until(lambda: set(shares(shared, 200).values()).isdisjoint({0}), "all are called")
    yield shared
    for policy in shared.status()["policies"]:
        shared.delete(policy["kind"], policy["name"])


class Caller:
    """One persistent connection to the outbound proxy of front's sidecar."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, key: str = "") -> tuple[int, str]:
        """The status of a request, and the instance that responded."""
        self._connection.request("GET", "http://ten/echo", headers={"x-user": key})
        response = self._connection.getresponse()
        response.read()
        return response.status, response.headers.get("x-served-by", "")


def send(mesh: Mesh, keys: Iterable[str]) -> list[tuple[str, int, str]]:
    """(key, status, instance) of one request per key, four at a time."""
    port = mesh.ports("front-1")["outbound"]
    all_keys = list(keys)

    def send_slice(start: int) -> list[tuple[str, int, str]]:
        caller = Caller(port)
        return [(key, *caller(key)) for key in all_keys[start::THREADS]]

    with ThreadPoolExecutor(THREADS) as pool:
        return [entry for entries in pool.map(send_slice, range(THREADS)) for entry in entries]


def shares(mesh: Mesh, count: int) -> dict[str, float]:
    """The share of each instance in percent over `count` requests, all successful."""
    entries = send(mesh, [""] * count)
    assert Counter(status for _, status, _ in entries) == {200: count}
    counts = Counter(name for _, _, name in entries)
    return {name: 100 * counts[name] / count for name in NAMES}


def share(mesh: Mesh, count: int, names: Iterable[str]) -> float:
    """The total share of these instances."""
    by_name = shares(mesh, count)
    return sum(by_name[name] for name in names)


def instance_by_key(mesh: Mesh) -> dict[str, str]:
    """The instance of each key."""
    entries = send(mesh, KEYS)
    assert Counter(status for _, status, _ in entries) == {200: len(KEYS)}
    return {key: name for key, _, name in entries}


def kept_percentage(before: dict[str, str], after: dict[str, str], stopped: str) -> float:
    """The percentage of keys that kept their instance, among those whose instance still exists."""
    remaining = [key for key, name in before.items() if name != stopped]
    assert stopped not in after.values()
    return 100 * sum(before[key] == after[key] for key in remaining) / len(remaining)


def set_health(mesh: Mesh, names: Iterable[str], state: str) -> None:
    for name in names:
        requests.post(f"{mesh.app(name)}/health/{state}", timeout=30).raise_for_status()


def served_by_none_of(mesh: Mesh, names: Iterable[str]) -> Callable[[], bool]:
    """Whether 100 requests succeed without reaching any of these."""
    avoided = set(names)
    return lambda: all(status == 200 and name not in avoided for _, status, name in send(mesh, [""] * 100))


def test_round_robin_spreads_evenly(mesh: Mesh) -> None:
    mesh.apply(balancer("algorithm: RoundRobin"))
    assert all(abs(share - 10) <= 3 for share in shares(mesh, REQUESTS).values())


@pytest.mark.parametrize("algorithm", ["RoundRobin", "LeastRequest"])
def test_weights_set_the_share_of_instances(mesh: Mesh, algorithm: str) -> None:
    weights = "weights: [{labels: {version: v2}, weight: 3}]"
    mesh.apply(balancer(f"algorithm: {algorithm}, {weights}"))
    by_name = shares(mesh, REQUESTS)
    assert abs(sum(by_name[name] for name in WEST) - 75) <= 3
    if algorithm == "RoundRobin":
        assert all(abs(by_name[name] - (5 if name in EAST else 15)) <= 3 for name in NAMES)


def test_local_zone_is_preferred_and_the_other_takes_over(mesh: Mesh) -> None:
    assert share(mesh, 500, WEST) > 0
    mesh.apply(balancer("locality: {prefer: Zone}"))
    assert share(mesh, 500, WEST) == 0
    set_health(mesh, EAST, "fail")
    until(served_by_none_of(mesh, EAST), "the other zone takes over")
    set_health(mesh, EAST, "ok")
    until(served_by_none_of(mesh, WEST), "the local zone serves all requests again")


def test_slow_start_ramps_up_new_instances(mesh: Mesh) -> None:
    slow = f"algorithm: RoundRobin, slowStart: {{window: {WINDOW:g}s}}"
    mesh.apply(balancer(slow) + subset("{zone: east}") + f"---{ROUTE_TO_SUBSET}")
    assert share(mesh, 200, EAST) == 100
    # Before, the first instances are in slow start themselves, and all would have the same weight.
    settled = time.monotonic() + WINDOW
    until(lambda: time.monotonic() > settled, "the first instances have their full weight")
    with ThreadPoolExecutor(1) as pool:
        applied = pool.submit(mesh.run, "apply", "-f", "-", stdin=subset("{app: ten}"))
        before_joining = [time.monotonic()]

        def joined() -> bool:
            """Whether front's Envoy has the endpoints of the new instances."""
            started = time.monotonic()
            if stats(mesh, "front-1", "cluster_membership_total", envoy_cluster_name="ten/some") == len(
                NAMES
            ):
                return True
            before_joining.append(started)
            return False

        until(joined, "front's Envoy knows the new instances", every=0.01)
        new = share(mesh, 300, WEST)
        took = time.monotonic() - before_joining[-1]
        applied.result()
    # Linear from a tenth: after `took` seconds a new instance has at most this weight, an old one 1.
    most = max(0.1, took / WINDOW)
    assert 0 < new <= 100 * most / (1 + most) + 5
    until(lambda: share(mesh, 500, WEST) > 47, "all instances have equal shares in the end")


def test_maglev_keeps_nearly_every_key_when_one_of_ten_instances_stops(mesh: Mesh) -> None:
    mesh.apply(balancer("algorithm: Maglev, hashOn: {header: x-user}"))
    before = instance_by_key(mesh)
    assert set(before.values()) == set(NAMES)
    assert instance_by_key(mesh) == before
    set_health(mesh, ["ten-3"], "fail")
    until(served_by_none_of(mesh, ["ten-3"]), "ten-3 receives no requests")
    until(lambda: "ten-3" not in instance_by_key(mesh).values(), "no key goes to ten-3")
    assert kept_percentage(before, instance_by_key(mesh), "ten-3") >= 97
    set_health(mesh, ["ten-3"], "ok")
    until(lambda: instance_by_key(mesh) == before, "all keys are back at their instances")


def test_gateway_hashes_on_the_clients_address(mesh: Mesh) -> None:
    mesh.apply(ROUTE_FROM_OUTSIDE)
    assert len(served_outside(mesh)) > 1
    mesh.apply(balancer("from: [ingress], algorithm: Maglev, hashOn: {sourceIP: true}"))
    assert len(served_outside(mesh)) == 1
    assert share(mesh, 500, EAST) < 100


def served_outside(mesh: Mesh) -> set[str]:
    """The instances that respond to fifty requests from outside."""
    return {mesh.outside("/echo").headers["x-served-by"] for _ in range(50)}


def test_client_without_the_cookie_gets_one_and_keeps_its_instance(mesh: Mesh) -> None:
    mesh.apply(balancer("algorithm: RingHash, hashOn: {cookie: {name: home, ttl: 1h}}"))
    instances = set()
    for _ in range(8):
        browser = mesh.caller("front-1")
        names = {browser.get("http://ten/echo").headers["x-served-by"] for _ in range(5)}
        assert len(names) == 1
        assert "home" in browser.cookies
        instances |= names
    assert len(instances) > 1


def test_ring_hash_keeps_keys_when_one_of_ten_instances_stops(mesh: Mesh) -> None:
    mesh.apply(balancer("algorithm: RingHash, hashOn: {header: x-user}"))
    before = instance_by_key(mesh)
    assert set(before.values()) == set(NAMES)
    assert instance_by_key(mesh) == before
    mesh.stop_workload("ten-10")
    assert kept_percentage(before, instance_by_key(mesh), "ten-10") >= 85
