"""The delta protocol with a real Envoy and hand-made configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from meshwright.control_plane.core.outbound import HOST_TIMEOUT
from meshwright.control_plane.core.resource import CDS, EDS, VHDS
from meshwright.control_plane.xds import metrics
from tests.envoy.xds_lab import Lab, lab, service, until, virtual_host
from tests.fakes.app_process import RunningApp, running_app

STALL = 10
"""Seconds. A prompt response takes less; Envoy waits 15 s or more for a resource that never arrives."""


@pytest.fixture(scope="module")
def apps() -> Iterator[tuple[RunningApp, RunningApp]]:
    """Two applications, `a` and `b`."""
    with running_app("a") as a, running_app("b") as b:
        yield a, b


@pytest.fixture
async def envoy(tmp_path: Path, apps: tuple[RunningApp, RunningApp]) -> AsyncIterator[Lab]:
    """A ready Envoy in a mesh of clusters a and b, and host a."""
    a, b = apps
    async with lab(tmp_path, *service("a", a.port), *service("b", b.port), virtual_host("a", "a")) as running:
        yield running


def pushes() -> float:
    """Responses of all types queued since the start of the process."""
    names = ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "VirtualHost")
    return float(sum(metrics.PUSHES.labels(name)._value.get() for name in names))


async def test_host_is_fetched_on_demand_with_its_cluster(envoy: Lab) -> None:
    assert await envoy.clusters() == set()
    status, body, seconds = await envoy.get("a")
    assert (status, '"name": "a"' in body) == (200, True)
    assert seconds < STALL
    assert await envoy.clusters() == {"a"}
    assert (await envoy.get("a.mesh"))[0] == 200


async def test_cluster_without_a_declared_dependency_is_fetched_on_demand(envoy: Lab) -> None:
    envoy.put(virtual_host("c", "b", declare_clusters=False))
    status, _, seconds = await envoy.get("c")
    assert status == 200
    assert seconds < STALL


async def test_unknown_host_is_a_prompt_404_each_time(envoy: Lab) -> None:
    for _ in range(3):
        status, _, seconds = await envoy.get("nowhere")
        assert status == 404
        assert seconds < STALL


async def test_host_created_later_is_served_until_it_is_removed(
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


async def test_host_asked_for_too_early_is_served_after_thousands_of_unknown_ones(envoy: Lab) -> None:
    turns = asyncio.Semaphore(50)

    async def ask(host: str) -> int:
        async with turns:
            return (await envoy.get(host))[0]

    assert set(await asyncio.gather(*(ask(f"h{number}.example.com") for number in range(2100)))) == {404}
    assert [await ask("early"), await ask("early.mesh")] == [404, 404]
    envoy.put(virtual_host("early", "a"))
    await envoy.synced()
    assert [await ask("early"), await ask("early.mesh")] == [200, 200]


async def test_moving_a_host_to_another_cluster_under_load_fails_no_request(envoy: Lab) -> None:
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
        await until(partial(_has_only, envoy, name))
    stop.set()
    await calls
    assert statuses == {200}


async def _has_only(envoy: Lab, name: str) -> bool:
    """Whether the other cluster is removed, which happens last."""
    return await envoy.clusters() == {name}


async def test_changed_cluster_does_not_stay_warming(envoy: Lab, apps: tuple[RunningApp, RunningApp]) -> None:
    await envoy.get("a")
    envoy.put(*service("a", apps[0].port, connect_timeout=2))
    await asyncio.wait_for(envoy.synced(), STALL)
    _, text = await envoy.admin_get("/config_dump?resource=dynamic_warming_clusters")
    assert '"name": "a"' not in text
    assert (await envoy.get("a"))[0] == 200


async def test_removed_endpoints_leave_an_empty_cluster(envoy: Lab) -> None:
    await envoy.get("a")
    envoy.drop((EDS, "a"))
    await envoy.synced()
    assert (await envoy.get("a"))[0] == 503


async def test_removed_service_leaves_no_cluster(envoy: Lab) -> None:
    await envoy.get("a")
    envoy.drop((VHDS, "out/a"), (CDS, "a"), (EDS, "a"))
    await until(lambda: _has_none(envoy))
    assert (await envoy.get("a"))[0] == 404


async def _has_none(envoy: Lab) -> bool:
    return await envoy.clusters() == set()


async def test_reconnect_pushes_nothing(envoy: Lab) -> None:
    await envoy.get("a")
    await envoy.synced()
    assert envoy.server is not None
    await envoy.server.stop()
    assert (await envoy.get("a"))[0] == 200
    before = pushes()
    await envoy.serve()
    await envoy.synced()
    assert pushes() == before
    assert (await envoy.get("a"))[0] == 200
    envoy.put(virtual_host("a", "b"))
    await envoy.synced()
    assert '"name": "b"' in (await envoy.get("a"))[1]


async def test_first_call_to_a_host_while_the_control_plane_is_away_ends_with_a_reason(envoy: Lab) -> None:
    envoy.put(virtual_host("b", "b"))
    assert (await envoy.get("a"))[0] == 200
    assert envoy.server is not None
    await envoy.server.stop()
    assert (await envoy.get("a"))[0] == 200
    for host in ("b", "nowhere"):
        status, body, seconds = await envoy.get(host)
        assert (status, "the control plane does not respond" in body) == (503, True)
        assert seconds < 2 * HOST_TIMEOUT.total_seconds()
    await envoy.serve()
    await until(lambda: _serves(envoy, "b"))


async def test_bad_regex_is_quarantined_and_the_rest_is_applied(envoy: Lab) -> None:
    await envoy.get("a")
    await envoy.get("other")
    envoy.put(virtual_host("a", "a", regex="("), virtual_host("other", "b"))
    await until(lambda: envoy.state()[0] == "rejected")
    assert envoy.server is not None
    (proxy,) = envoy.server.proxies()
    assert "out/a" in proxy.error
    assert (await envoy.get("a"))[0] == 200
    await until(lambda: _serves(envoy, "other"))
    before = pushes()
    envoy.put(virtual_host("unused", "b"))
    assert pushes() == before
    envoy.put(virtual_host("a", "b"))
    await envoy.synced()
    assert '"name": "b"' in (await envoy.get("a"))[1]


async def _serves(envoy: Lab, host: str) -> bool:
    return (await envoy.get(host))[0] == 200
