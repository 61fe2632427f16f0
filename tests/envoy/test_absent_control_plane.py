"""A control plane is away for longer than a lease: the instances that reach only that one stay in service."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from meshwright.control_plane.store.leases import LEASE_TTL
from tests.cli.joining import Joined, joined
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import addresses, api
from tests.envoy.test_planes import balanced, second_control_plane
from tests.fakes.relay import Relay

pytestmark = pytest.mark.timeout(1200)

APP = (sys.executable, "-m", "tests.fakes.app")


class Pair(NamedTuple):
    """Front is connected to `first`; the two instances of back reach `second` only, by `relays`."""

    first: Mesh
    second: Mesh
    relays: dict[str, Relay]
    works: Joined
    dies: Joined


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("absence")
    with (
        running_mesh(folder, [service("front")]) as first,
        second_control_plane(first, folder / "second") as second,
        balanced(second) as relays,
        joined(second, "back-1", "back", "--port", "0", run=APP) as works,
        joined(second, "back-2", "back", "--port", "0", run=APP) as dies,
    ):
        until(lambda: instances(first) == {"back-1", "back-2"}, "the first knows both")
        yield Pair(first, second, relays, works, dies)


def instances(mesh: Mesh) -> set[str]:
    """Back's instances that have a lease."""
    listed = api(mesh, "/api/v1/instances").json()["instances"]
    return {item["name"] for item in listed if item["service"] == "back"}


def call(mesh: Mesh) -> None:
    response = mesh.get("front-1", "http://back/echo")
    assert response.status_code == 200, response.text


def test_instances_whose_control_plane_is_away_stay_in_service_as_long_as_they_live(pair: Pair) -> None:
    first = pair.first
    pair.second.process.kill()
    pair.second.process.wait(60)
    until(lambda: "nothing supervises" in first.run("status").stdout, "the first misses their agents")
    away_until = time.monotonic() + 3 * LEASE_TTL
    while time.monotonic() < away_until:
        call(first)
        assert instances(first) == {"back-1", "back-2"}
    pair.dies.kill()
    until(lambda: instances(first) == {"back-1"}, "one that is dead leaves all the same")
    call(first)

    with second_control_plane(first, pair.second.state) as returned:
        for name, relay in pair.relays.items():
            relay.target = getattr(addresses(returned), name)
        until(lambda: "nothing supervises" not in first.run("status").stdout, "its agent renews again")
        assert instances(first) == {"back-1"}
        call(first)
