"""A killed agent leaves Envoys and apps running; its successor goes on with them and restarts nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from meshwright.sidecar import control_client
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.child_process import record_path
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.orphans import read_record
from meshwright.sidecar.status import AgentStatus, WorkloadStatus
from tests.sidecar.conftest import config, orders, running_agent, until
from tests.sidecar.fake_control_plane import FakeControlPlane


@asynccontextmanager
async def killed_agent(config: AgentConfig, folder: Path) -> AsyncIterator[AgentStatus]:
    """The last status of an agent in a process of its own, which is killed once everything is healthy."""
    file = folder / "agent-config.json"
    file.write_text(config.model_dump_json())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "meshwright.sidecar", "--config", str(file), start_new_session=True
    )

    def status() -> AgentStatus | None:
        try:
            return control_client.fetch_status(config.state)
        except OSError:
            return None

    try:
        await until(lambda: process.returncode is None and (s := status()) and s.ready, "healthy")
        last = status()
        assert last is not None
        process.kill()
        await process.wait()
        yield last
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def runs(pid: int) -> bool:
    """Whether a process runs. One that nobody waits for stays as a zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def only(status: AgentStatus) -> WorkloadStatus:
    (workload,) = status.workloads
    return workload


async def until_ready(agent: Agent) -> None:
    await until(lambda: agent.status().ready, f"healthy: {agent.status()}")


async def test_successor_goes_on_with_envoy_and_app_and_no_call_fails(
    state: Path, control_plane: FakeControlPlane
) -> None:
    settings = config(state, control_plane.addresses, orders(control_plane.token(state.parent, "orders")))
    statuses: list[int] = []
    async with killed_agent(settings, state.parent) as before, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{only(before).ports['inbound']}/echo"

        async def call() -> None:
            while True:
                async with session.get(url) as response:
                    statuses.append(response.status)

        calls = asyncio.create_task(call())
        identity = (state / "sidecars/orders-1/identity.json").read_bytes()
        registered = len(control_plane.leases.registrations)
        settings.workloads[0].token_file.unlink()  # the certificate of the running Envoy will do
        async with running_agent(settings) as agent:
            await until_ready(agent)
            await until(lambda: len(control_plane.leases.registrations) > registered, "the lease is renewed")
            count = len(statuses)
            await until(lambda: len(statuses) > count + 50, "calls go on")
            assert only(agent.status()).pids == only(before).pids
            assert only(agent.status()).ports == only(before).ports
            assert (state / "sidecars/orders-1/identity.json").read_bytes() == identity
            assert control_plane.leases.health_changes["orders-1"] == ["unhealthy", "healthy"]
            calls.cancel()
            await asyncio.gather(calls, return_exceptions=True)
        assert set(statuses) == {200}
    await until(lambda: not any(runs(pid) for pid in only(before).pids.values()), "stopped at the end")
    assert list((state / "run").iterdir()) == []


async def test_adopted_processes_are_supervised(state: Path, control_plane: FakeControlPlane) -> None:
    settings = config(state, control_plane.addresses, orders(control_plane.token(state.parent, "orders")))
    async with killed_agent(settings, state.parent) as before, running_agent(settings) as agent:
        await until_ready(agent)
        for name, pid in only(before).pids.items():
            os.kill(pid, signal.SIGKILL)
            await until(lambda: only(agent.status()).pids.get(name, pid) != pid, f"another {name} runs")  # noqa: B023
            await until_ready(agent)
        assert only(agent.status()).ports == only(before).ports


async def test_what_died_with_the_agent_is_started_beside_what_lives(
    state: Path, control_plane: FakeControlPlane
) -> None:
    settings = config(state, control_plane.addresses, orders(control_plane.token(state.parent, "orders")))
    async with killed_agent(settings, state.parent) as before:
        os.kill(only(before).pids["app"], signal.SIGKILL)
        await until(lambda: not runs(only(before).pids["app"]), "the app is gone")
        async with running_agent(settings) as agent:
            await until(lambda: {"app", "proxy"} <= only(agent.status()).pids.keys(), "both run")
            await until_ready(agent)
            after = only(agent.status())
            assert after.pids["proxy"] == only(before).pids["proxy"]
            assert after.pids["app"] != only(before).pids["app"]
            assert after.ports == only(before).ports


async def test_processes_with_other_settings_are_stopped_and_started_anew(
    state: Path, control_plane: FakeControlPlane
) -> None:
    token = control_plane.token(state.parent, "orders")

    def with_colour(colour: str) -> dict[str, Any]:
        service = orders(token)
        return {**service, "env": {**service["env"], "COLOUR": colour}}

    async with killed_agent(
        config(state, control_plane.addresses, with_colour("red")), state.parent
    ) as before:
        async with running_agent(config(state, control_plane.addresses, with_colour("blue"))) as agent:
            await until(lambda: {"app", "proxy"} <= only(agent.status()).pids.keys(), "both run")
            after = only(agent.status())
            assert after.pids["proxy"] == only(before).pids["proxy"], "Envoy's settings are the same"
            assert psutil.Process(after.pids["app"]).environ()["COLOUR"] == "blue"
        assert not runs(only(before).pids["app"])


async def test_process_whose_record_was_not_completed_is_found_by_its_marker(
    state: Path, control_plane: FakeControlPlane
) -> None:
    settings = config(state, control_plane.addresses, orders(control_plane.token(state.parent, "orders")))
    async with killed_agent(settings, state.parent) as before:
        path = record_path(state, "orders-1")
        record = read_record(path)
        assert record is not None
        path.write_text(record.model_copy(update={"pid": 0, "birth": "", "started": 0.0}).model_dump_json())
        async with running_agent(settings) as agent:
            await until(lambda: only(agent.status()).pids == only(before).pids, "the same processes")
