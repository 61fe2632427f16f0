"""The control plane that leads a staged push dies in its first wave: another one ends the push."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests

from tests.cli.joining import Joined, joined
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.marked_routes import MARK_RULE, mark_of_back
from tests.envoy.mesh_api import addresses, api, metrics, states
from tests.envoy.test_planes import balanced, second_control_plane
from tests.envoy.test_staged_push import ABORTED, FAULT, FRONTS, ROUTE, apply, calls
from tests.fakes.relay import Relay

pytestmark = pytest.mark.long

ALL = {*FRONTS, "front-9", "back-1", "ingress"}

STAGED = {"MESH_PUSH": "staged", "MESH_LEASE_TTL": "60"}
"""With leases that outlast a restart of `first`: its sidecars have no other control plane meanwhile."""

TAKEOVER = 180.0
"""Seconds for a lease of 6, proxies that connect again (10), and waves of 10 with traffic."""


class Planes(NamedTuple):
    """`first` is restarted by `mesh up`. `front-9` is connected to `second`, through relays."""

    first: Mesh
    second: Mesh
    far: Joined
    relays: dict[str, Relay]

    def calls_of_far(self) -> str:
        """The mark on back's response to `front-9`; the status if it is not 200."""
        proxy = {"http": f"http://127.0.0.1:{self.far.port('outbound')}"}
        response = requests.get("http://back/echo", proxies=proxy, timeout=30)
        return response.headers.get("x-revision", "-") if response.ok else str(response.status_code)


@pytest.fixture
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    folder = tmp_path_factory.mktemp("planes")
    app = (sys.executable, "-m", "tests.fakes.app")
    services = [service("front", replicas=3), service("back")]
    with (
        running_mesh(folder, services, (), (), **STAGED) as first,
        second_control_plane(first, folder / "second", **STAGED) as second,
        balanced(second) as relays,
        joined(second, "front-9", "front", "--port", "0", run=app) as far,
    ):
        until(lambda: states(first) == dict.fromkeys(ALL, "synced"), "every proxy")
        first.apply(ROUTE % (MARK_RULE % ("first", "back")), "--immediate", "--timeout", "300")
        for name in FRONTS:
            until(lambda name=name: mark_of_back(first, name) == "first", f"{name} has it")  # type: ignore[misc]
        yield Planes(first, second, far, relays)


def report(mesh: Mesh) -> dict[str, Any]:
    """The push, as this control plane reads it; nothing while it does not respond."""
    try:
        state_of_push: dict[str, Any] = api(mesh, "/api/v1/push").json()
    except (requests.RequestException, OSError, ValueError):
        return {}
    return state_of_push if "newest" in state_of_push else {}


def kill_leader(planes: Planes) -> Mesh:
    """SIGKILL the leader as soon as its first wave has begun; returns the other one.

    The sidecar of `second` finds `first` then, as behind a load balancer.
    """
    meshes = (planes.first, planes.second)
    leader = until(
        lambda: next((mesh for mesh in meshes if metrics(mesh).get("mesh_push_wave", 0) >= 1), None),
        "one of them leads",
        every=0.01,
    )
    if leader is planes.first:
        os.kill(planes.first.pid("control-plane"), signal.SIGKILL)
        return planes.second
    planes.second.process.kill()
    for name, relay in planes.relays.items():
        relay.target = getattr(addresses(planes.first), name)
    return planes.first


def ended(mesh: Mesh) -> dict[str, Any] | None:
    """The report once the newest revision is in force and every proxy has it."""
    state_of_push = report(mesh)
    if (
        not state_of_push
        or state_of_push["newest"] != state_of_push["stable"]
        or states(mesh) != dict.fromkeys(ALL, "synced")
    ):
        return None
    proxies = api(mesh, "/api/v1/status").json()["proxies"]
    return state_of_push if all(proxy["revision"] >= state_of_push["stable"] for proxy in proxies) else None


def marks(planes: Planes) -> set[str]:
    """What every caller gets."""
    return {planes.calls_of_far(), *(mark_of_back(planes.first, name) for name in FRONTS)}


def test_a_harmless_revision_ends_everywhere_or_nowhere(planes: Planes) -> None:
    with calls(planes.first) as counts:
        until(lambda: all(count["first"] > 100 for count in counts.values()), "there is traffic")
        revision = apply(planes.first, ROUTE % (MARK_RULE % ("second", "back")))
        survivor = kill_leader(planes)
        state_of_push = until(lambda: ended(survivor), "the push has ended", TAKEOVER)
    withdrawn = [item for item in state_of_push["withdrawals"] if item["revision"] == revision]
    assert state_of_push["stable"] == revision + len(withdrawn)
    expected = "first" if withdrawn else "second"
    until(lambda: marks(planes) == {expected}, f"every caller gets {expected}")
    assert {mark for count in counts.values() for mark in count} <= {"first", "second"}


def test_a_harmful_revision_is_withdrawn_by_the_next_leader(planes: Planes) -> None:
    with calls(planes.first) as counts:
        until(lambda: all(count["first"] > 100 for count in counts.values()), "there is traffic")
        revision = apply(planes.first, FAULT)
        survivor = kill_leader(planes)
        state_of_push = until(lambda: ended(survivor), "the push has ended", TAKEOVER)
    withdrawal = next(item for item in state_of_push["withdrawals"] if item["revision"] == revision)
    assert state_of_push["stable"] == withdrawal["restored"]
    failed = Counter({f"front/{name}": counts[name][ABORTED] for name in FRONTS})
    assert {key for key, number in failed.items() if number} <= set(withdrawal["admitted"])
    assert len(withdrawal["admitted"]) == 1
