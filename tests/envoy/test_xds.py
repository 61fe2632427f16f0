"""The delta protocol against a real Envoy, with configuration made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, VHDS
from meshwright.control_plane.xds import metrics
from tests.envoy.xds_lab import Lab, lab, service, until, virtual_host
from tests.fakes.app_process import RunningApp, running_app

STALL = 10
"""Seconds that tell an answer at once from a wait for what never comes, which takes Envoy 15 and more."""


@pytest.fixture(scope="module")
def apps() -> Iterator[tuple[RunningApp, RunningApp]]:
    """Two applications, `a` and `b`."""
    with running_app("a") as a, running_app("b") as b:
        yield a, b


@pytest.fixture
async def envoy(tmp_path: Path, apps: tuple[RunningApp, RunningApp]) -> AsyncIterator[Lab]:
    """A ready Envoy in a mesh of clusters a and b, and host a."""
    a, b = apps
    async with lab(tmp_path, *service("a", a.port), *service("b", b.port), virtual_host("a", "a")) as new_lab:
        yield new_lab


def pushed() -> float:
    """Responses of all types put in line since the start of the process."""
    names = ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "VirtualHost")
    return float(sum(metrics.PUSHES.labels(name)._value.get() for name in names))


async def test_a_host_comes_on_demand_with_its_cluster(envoy: Lab) -> None:
    assert await envoy.clusters() == set()
    status, body, seconds = await envoy.get("a")
    assert (status, '"name": "a"' in body) == (200, True)
    assert seconds < STALL
    assert await envoy.clusters() == {"a"}
    assert (await envoy.get("a.mesh"))[0] == 200


async def test_a_cluster_comes_on_demand_when_no_host_announces_it(envoy: Lab) -> None:
    envoy.put(virtual_host("c", "b", needs=False))
    status, _, seconds = await envoy.get("c")
    assert status == 200
    assert seconds < STALL


async def test_an_unknown_host_is_not_found_at_once_again_and_again(envoy: Lab) -> None:
    for _ in range(3):
        status, _, seconds = await envoy.get("nowhere")
        assert status == 404
        assert seconds < STALL


async def test_a_host_that_appears_later_is_found_and_lost_again_when_removed(
    envoy: Lab, apps: tuple[RunningApp, RunningApp]
) -> None:
    assert (await envoy.get("late"))[0] == 404
    envoy.put(virtual_host("late", "a"))
    await envoy.synced()
    assert (await envoy.get("late"))[0] == 200
    envoy.drop((VHDS, "out/late"))
    await envoy.synced()
    for _ in range(2):
        status, _, seconds = await envoy.get("late")
        assert status == 404
        assert seconds < STALL


async def test_moving_a_host_to_a_new_cluster_under_load_fails_no_request(envoy: Lab) -> None:
    await envoy.get("a")
    statuses: set[int] = set()
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            statuses.add((await envoy.get("a"))[0])

    calls = asyncio.gather(*(load() for _ in range(4)))
    for name in ("b", "a", "b"):
        envoy.put(virtual_host("a", name))
        await envoy.synced()
        await until(partial(_only, envoy, name))
    stop.set()
    await calls
    assert statuses == {200}


async def _only(envoy: Lab, name: str) -> bool:
    """Whether the other cluster was taken away, which comes last."""
    return await envoy.clusters() == {name}


async def test_a_changed_cluster_does_not_warm(envoy: Lab, apps: tuple[RunningApp, RunningApp]) -> None:
    await envoy.get("a")
    envoy.put(*service("a", apps[0].port, connect_timeout=2))
    await asyncio.wait_for(envoy.synced(), STALL)
    _, text = await envoy.admin_get("/config_dump?resource=dynamic_warming_clusters")
    assert '"name": "a"' not in text
    assert (await envoy.get("a"))[0] == 200


async def test_endpoints_that_go_leave_an_empty_cluster(envoy: Lab) -> None:
    await envoy.get("a")
    envoy.drop((EDS, "a"))
    await envoy.synced()
    assert (await envoy.get("a"))[0] == 503


async def test_a_removed_service_leaves_nothing_behind(envoy: Lab) -> None:
    await envoy.get("a")
    envoy.drop((VHDS, "out/a"), (CDS, "a"), (EDS, "a"))
    await until(lambda: _none(envoy))
    assert (await envoy.get("a"))[0] == 404


async def _none(envoy: Lab) -> bool:
    return await envoy.clusters() == set()


async def test_coming_back_costs_nothing(envoy: Lab) -> None:
    await envoy.get("a")
    await envoy.synced()
    assert envoy.server is not None
    await envoy.server.stop()
    assert (await envoy.get("a"))[0] == 200
    before = pushed()
    await envoy.serve()
    await envoy.synced()
    assert pushed() == before
    assert (await envoy.get("a"))[0] == 200
    envoy.put(virtual_host("a", "b"))
    await envoy.synced()
    assert '"name": "b"' in (await envoy.get("a"))[1]


async def test_a_bad_regex_is_parked_and_the_rest_goes_on(envoy: Lab) -> None:
    await envoy.get("a")
    await envoy.get("other")
    envoy.put(virtual_host("a", "a", regex="("), virtual_host("other", "b"))
    await until(lambda: envoy.state()[0] == "rejected")
    assert envoy.server is not None
    (proxy,) = envoy.server.proxies()
    assert "out/a" in proxy.error
    assert (await envoy.get("a"))[0] == 200
    await until(lambda: _serves(envoy, "other"))
    before = pushed()
    envoy.put(virtual_host("unused", "b"))
    assert pushed() == before
    envoy.put(virtual_host("a", "b"))
    await envoy.synced()
    assert '"name": "b"' in (await envoy.get("a"))[1]


async def _serves(envoy: Lab, host: str) -> bool:
    return (await envoy.get(host))[0] == 200
