"""docker-compose.yml on a real Docker Engine, under load: any container crashes or freezes, and all heals.

Only what a fault takes away may fail: the catalogue is called all the time, and no call fails unless the
fault is on its path (the ingress, the catalogue, its database).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.docker_engine import Stack, running_engine, started_stack
from tests.envoy import steady_load
from tests.envoy.harness import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

FROZEN = 20.0
"""Seconds of a freeze: several leases."""

PATH = frozenset({"ingress", "catalog", "postgres"})
"""What a call of the catalogue passes. Each of them runs once."""

MESH = (
    "valkey",
    "control-plane-1",
    "control-plane-2",
    "setup",
    "prometheus",
    "alertmanager",
    "grafana",
    "jaeger",
)

APPS = (
    "broker",
    "inventory-v1",
    "inventory-v2",
    "orders",
    "payments",
    "legacy",
    "trading",
    "analytics",
    "storefront",
    "mobile",
    "users",
    "nfts",
    "notifications",
    "inbox",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A project on the current engine."""
    with running_engine("sid") as engine, started_stack(engine, tmp_path_factory.mktemp("faults")) as stack:
        stack.mesh("delete", "ratelimit/ingress", "--wait")  # this host is one client, with many calls
        stack.mesh("delete", "ratelimit/auth", "--wait")
        healed(stack)
        yield stack


def healed(stack: Stack) -> None:
    """Orders succeed, every app and every proxy is as before, and so is each container."""
    stack.wait_until_orders_succeed()
    until(lambda: not stack.not_running(), "every container runs, and none is unhealthy", 180, 2.0)
    until(lambda: is_healthy(stack), "every service is healthy, and every proxy in sync", 180, 2.0)


def is_healthy(stack: Stack) -> bool:
    """As the first control plane sees it; False while that is away."""
    with contextlib.suppress(AssertionError):
        counts = {"inventory": 2} | dict.fromkeys(
            ("catalog", "orders", "payments", "trading", "storefront"), 1
        )
        return stack.proxy_states() == {"synced"} and all(
            stack.healthy(service) == (count, count) for service, count in counts.items()
        )
    return False


def failed_calls(load: steady_load.LoadResult, name: str) -> str:
    """What to say about failed calls, unless the fault was on their path."""
    return "" if name in PATH or not load.failed else load.report


def test_every_container_of_the_file_has_a_case(stack: Stack) -> None:
    assert {*MESH, *APPS, *PATH, "init"} == set(stack.compose("config", "--services").split())


@pytest.mark.parametrize("name", [*MESH, *APPS, *sorted(PATH)])
def test_container_that_crashes_is_started_again(stack: Stack, name: str, tmp_path: Path) -> None:
    with steady_load.load(tmp_path, stack.url("/api/catalog/products")) as load:
        os.kill(stack.main_process(name), signal.SIGKILL)
        healed(stack)
    assert not failed_calls(load, name)


@pytest.mark.parametrize(
    "names",
    [*((name,) for name in (*MESH, *APPS, *sorted(PATH))), ("valkey", "control-plane-1", "control-plane-2")],
    ids="+".join,
)
def test_container_that_freezes_harms_no_other_and_goes_on(
    stack: Stack, names: tuple[str, ...], tmp_path: Path
) -> None:
    with steady_load.load(tmp_path, stack.url("/api/catalog/products")) as load:
        stack.compose("pause", *names)
        try:
            time.sleep(FROZEN)  # the fault itself
        finally:
            stack.compose("unpause", *names)
        healed(stack)
    for name in names:
        assert not failed_calls(load, name)


def test_killing_all_containers_loses_nothing(stack: Stack) -> None:
    """What `docker kill` ended stays down until a person starts it, as Docker defines it."""
    history = stack.mesh("history", "-o", "json")
    stack.compose("kill")
    stack.compose("up", "-d", "--wait")
    healed(stack)
    assert stack.mesh("history", "-o", "json") == history
