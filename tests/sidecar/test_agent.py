"""The agent with real Envoys, a real CA and real apps: starts, failures, and stops that lose no request."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from cryptography import x509
from structlog.testing import capture_logs

from meshwright.control_plane.api.state_dir import UNIX_PATH_LIMIT, socket_path
from meshwright.sidecar import control_client
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.config import Workload, load_config
from meshwright.sidecar.status import AgentStatus, WorkloadStatus
from tests.fakes.ports import free_port
from tests.sidecar.conftest import config, orders, running_agent, until
from tests.sidecar.fake_control_plane import FakeControlPlane, running_control_plane


def workload_status(agent: Agent, name: str = "orders-1") -> WorkloadStatus:
    return next(workload for workload in agent.status().workloads if workload.name == name)


async def until_ready(agent: Agent) -> None:
    await until(lambda: agent.status().ready, f"all workloads healthy: {agent.status()}")


async def until_registered(control_plane: FakeControlPlane, health: str) -> None:
    await until(lambda: control_plane.leases.health("orders-1") == health, f"registered as {health}")


async def get(port: int, path: str, session: aiohttp.ClientSession) -> tuple[int, str]:
    async with session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_workload_starts_serves_and_stops_without_leftovers(
    state: Path, control_plane: FakeControlPlane
) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        await until_registered(control_plane, "healthy")
        status = workload_status(agent)
        lease = control_plane.leases.instances["orders-1"]
        assert (lease.port, lease.labels) == (status.ports["inbound"], (("version", "v1"),))
        assert [port.number for port in lease.ports] == [80]
        async with aiohttp.ClientSession() as session:
            code, body = await get(status.ports["inbound"], "/echo", session)
            assert (code, json.loads(body)["name"]) == (200, "orders")
            assert (await get(status.ports["ready"], "/ready", session))[0] == 200
            assert "envoy_server_live" in (await get(status.ports["ready"], "/stats/prometheus", session))[1]
            assert (await get(status.ports["ready"], "/config_dump", session))[0] == 404
        file = state / "agent.json"
        await until(lambda: AgentStatus.model_validate_json(file.read_bytes()).ready, "status file written")
        pids = list(status.pids.values())
        assert len(pids) == 2
    log = [line.removeprefix("orders-1 ") for line in control_plane.leases.log]
    assert log[:2] == ["unhealthy", "healthy"]
    assert log[-3:] == ["draining", "drained", "deregistered"]
    assert set(log[2:-3]) <= {"unhealthy", "healthy"}, "a slow app may be unhealthy in between"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert list((state / "run").iterdir()) == []
    assert not (state / "agent.json").exists()


async def test_secrets_are_readable_by_their_owner_only(state: Path, control_plane: FakeControlPlane) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        folder = state / "sidecars" / "orders-1"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("identity.json", "bundle.json", "bootstrap.json"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        names = leaf(state).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://mesh.local/service/orders"
        ]
        for log in (state / "logs").iterdir():
            assert "PRIVATE KEY" not in log.read_text()
            assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_killed_envoy_restarts_on_the_same_ports(state: Path, control_plane: FakeControlPlane) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        await until_registered(control_plane, "healthy")
        before, changes = workload_status(agent), control_plane.leases.health_changes["orders-1"]
        count = len(changes)
        os.kill(before.pids["proxy"], signal.SIGKILL)
        await until(lambda: "unhealthy" in changes[count:], "registered as unhealthy")
        await until_registered(control_plane, "healthy")
        after = workload_status(agent)
        assert after.ports == before.ports
        assert after.pids["app"] == before.pids["app"]
        assert after.pids["proxy"] != before.pids["proxy"]
        assert after.error == ""


async def test_killed_app_restarts_beside_the_same_proxy(
    state: Path, control_plane: FakeControlPlane
) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        await until_registered(control_plane, "healthy")
        before, changes = workload_status(agent), control_plane.leases.health_changes["orders-1"]
        count = len(changes)
        os.kill(before.pids["app"], signal.SIGKILL)
        await until(lambda: "unhealthy" in changes[count:], "registered as unhealthy")
        await until_registered(control_plane, "healthy")
        assert workload_status(agent).pids["proxy"] == before.pids["proxy"]


async def test_lease_follows_the_apps_health(state: Path, control_plane: FakeControlPlane) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    async with (
        running_agent(config(state, control_plane.addresses, service)) as agent,
        aiohttp.ClientSession() as session,
    ):
        await until_ready(agent)
        await until_registered(control_plane, "healthy")
        app = f"http://127.0.0.1:{workload_status(agent).ports['app.http']}"
        await session.post(f"{app}/health/fail")
        await until_registered(control_plane, "unhealthy")
        await until(lambda: "returned 503" in workload_status(agent).error, "the error has the reason")
        await session.post(f"{app}/health/ok")
        await until_registered(control_plane, "healthy")


async def test_app_that_cannot_start_is_named_in_the_error(
    state: Path, control_plane: FakeControlPlane
) -> None:
    broken = orders(control_plane.token(state.parent, "orders"), command=["/nowhere/app"])
    async with running_agent(config(state, control_plane.addresses, broken)) as agent:
        await until(lambda: "/nowhere/app" in workload_status(agent).error, "the error names the program")
        assert not workload_status(agent).healthy
        await until_registered(control_plane, "unhealthy")


async def test_stop_waits_for_the_drain_and_for_in_flight_requests(
    state: Path, control_plane: FakeControlPlane
) -> None:
    control_plane.drain_allowed.clear()
    service = orders(control_plane.token(state.parent, "orders"))
    async with (
        running_agent(config(state, control_plane.addresses, service)) as agent,
        aiohttp.ClientSession() as session,
    ):
        await until_ready(agent)
        status = workload_status(agent)
        slow = asyncio.create_task(get(status.ports["inbound"], "/delay?ms=1500", session))
        await until(lambda: status.ports and not slow.done(), "in flight")
        stopping = asyncio.create_task(asyncio.to_thread(control_client.stop_workload, state, "orders-1"))
        await until(lambda: "orders-1 drained" in control_plane.leases.log, "the drain has begun")
        # Callers still send to it, so it still serves.
        assert (await get(status.ports["inbound"], "/echo", session))[0] == 200
        assert workload_status(agent).phase == "draining"
        control_plane.drain_allowed.set()
        assert (await slow)[0] == 200
        await stopping
        assert agent.status().workloads == ()
        assert control_plane.leases.log[-1] == "orders-1 deregistered"
        assert not psutil.pid_exists(status.pids["app"])


async def test_stop_under_load_loses_no_request(state: Path, control_plane: FakeControlPlane) -> None:
    """The callers send requests until the drain is over, like sidecars that have not acknowledged it yet."""
    control_plane.drain_allowed.clear()
    service = orders(control_plane.token(state.parent, "orders"))
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        port = workload_status(agent).ports["inbound"]
        statuses: list[int] = []

        async def call(session: aiohttp.ClientSession) -> None:
            while not control_plane.drain_allowed.is_set():
                statuses.append((await get(port, "/delay?ms=20", session))[0])

        async with aiohttp.ClientSession() as session:
            callers = [asyncio.create_task(call(session)) for _ in range(8)]
            await until(lambda: len(statuses) > 100, "load")
            stopping = asyncio.create_task(asyncio.to_thread(control_client.stop_workload, state, "orders-1"))
            await until(lambda: "orders-1 drained" in control_plane.leases.log, "the drain has begun")
            count = len(statuses)
            await until(lambda: len(statuses) > count + 100, "load during the drain")
            control_plane.drain_allowed.set()
            await asyncio.gather(*callers)
            await stopping
    assert set(statuses) == {200}


async def test_gateways_stop_before_services(state: Path, control_plane: FakeControlPlane) -> None:
    ingress = {
        "name": "ingress-1",
        "role": "gateway",
        "service": "ingress",
        "token_file": control_plane.token(state.parent, "ingress", "gateway"),
        "gateway_ports": {"http": 0},
    }
    service = orders(control_plane.token(state.parent, "orders"))
    with capture_logs() as logs:
        async with running_agent(config(state, control_plane.addresses, service, ingress)) as agent:
            await until_ready(agent)
            assert control_plane.leases.instances["ingress-1"].owner == "gateway/ingress"
    phases = [f"{line['workload']} {line['phase']}" for line in logs if line["event"] == "phase changed"]
    assert phases.index("ingress-1 stopped") < phases.index("orders-1 draining")


async def test_enrolment_retries_while_the_control_plane_is_unavailable(state: Path, tmp_path: Path) -> None:
    async with running_control_plane(tmp_path / "control-plane") as control_plane:
        addresses, token = control_plane.addresses, control_plane.token(tmp_path, "orders")
    async with running_agent(config(state, addresses, orders(token))) as agent:
        await until(lambda: "does not respond" in workload_status(agent).error, "the error has the reason")
        assert workload_status(agent).phase == "enrolling"
    assert not list((state / "run").glob("*"))


async def test_token_of_another_service_is_rejected_with_a_reason(
    state: Path, control_plane: FakeControlPlane
) -> None:
    token = control_plane.token(state.parent, "payments")
    async with running_agent(config(state, control_plane.addresses, orders(token))) as agent:
        await until(
            lambda: "not for spiffe://mesh.local/service/payments" in workload_status(agent).error,
            "rejected",
        )
        assert workload_status(agent).phase == "enrolling"


async def test_ca_other_than_the_tokens_is_not_trusted(
    state: Path, control_plane: FakeControlPlane, tmp_path: Path
) -> None:
    async with running_control_plane(tmp_path / "other") as other:
        token = other.token(tmp_path, "orders")
    async with running_agent(config(state, control_plane.addresses, orders(token))) as agent:
        await until(lambda: "is not the one in the token" in workload_status(agent).error, "not trusted")


def leaf(state: Path) -> x509.Certificate:
    """The certificate in the file that Envoy reads."""
    file = json.loads((state / "sidecars" / "orders-1" / "identity.json").read_text())
    chain = file["resources"][0]["tls_certificate"]["certificate_chain"]["inline_string"]
    return x509.load_pem_x509_certificate(chain.encode())


async def test_svid_is_renewed_at_half_of_its_lifetime(state: Path, tmp_path: Path) -> None:
    async with (
        running_control_plane(tmp_path / "control-plane", svid_ttl=14.0) as control_plane,
        running_agent(
            config(state, control_plane.addresses, orders(control_plane.token(tmp_path, "orders")))
        ) as agent,
        aiohttp.ClientSession() as session,
    ):
        await until_ready(agent)
        first = leaf(state)
        await until(lambda: leaf(state).serial_number != first.serial_number, "a new SVID")
        elapsed = leaf(state).not_valid_before_utc - first.not_valid_before_utc
        assert 3.0 <= elapsed.total_seconds() < 14.0
        count = len(control_plane.leases.registrations)
        await until(
            lambda: len(control_plane.leases.registrations) > count, "the lease renewed with the new SVID"
        )
        assert (await get(workload_status(agent).ports["inbound"], "/echo", session))[0] == 200


async def test_svid_that_expired_during_an_outage_is_replaced(state: Path, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        ports = (free_port(), free_port())
        folder = tmp_path / "control-plane"
        async with running_control_plane(folder, svid_ttl=3.0, ports=ports) as control_plane:
            service = orders(control_plane.token(tmp_path, "orders"))
            agent = await stack.enter_async_context(
                running_agent(config(state, control_plane.addresses, service))
            )
            await until_ready(agent)
        old = leaf(state)
        await until(lambda: datetime.now(UTC) > old.not_valid_after_utc, "expired")
        await until(lambda: "SVID renewal" in workload_status(agent).error, "the error has the reason")
        control_plane = await stack.enter_async_context(
            running_control_plane(folder, svid_ttl=60.0, ports=ports)
        )
        await until(lambda: leaf(state).serial_number != old.serial_number, "a new SVID")
        await until_registered(control_plane, "healthy")
        await until(lambda: workload_status(agent).error == "", "no error is left")


async def test_port_in_use_is_named_with_its_process(state: Path, control_plane: FakeControlPlane) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = orders(control_plane.token(state.parent, "orders"), inbound_port=port)
    try:
        async with running_agent(config(state, control_plane.addresses, service)) as agent:
            conflict = f"port {port} (inbound_port of orders-1) is in use"
            await until(lambda: conflict in workload_status(agent).error, "the error names the port")
            assert f"pid {os.getpid()}" in workload_status(agent).error
            server.close()
            await server.wait_closed()
            await until_ready(agent)
    finally:
        server.close()


async def test_control_socket_is_private_and_rejects_unknown_requests(
    state: Path, control_plane: FakeControlPlane
) -> None:
    service = orders(control_plane.token(state.parent, "orders"))
    # Where this socket just fits, and the one of the metrics does not.
    depth = UNIX_PATH_LIMIT - len(str(state / "x" / control_client.CONTROL_SOCKET)) + 1
    state /= "x" * max(depth, 1)
    async with running_agent(config(state, control_plane.addresses, service)) as agent:
        await until_ready(agent)
        path = socket_path(state, control_client.CONTROL_SOCKET)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await asyncio.to_thread(control_client.fetch_status, state)).ready
        again = {"start": service | {"token_file": "t", "cwd": None}}
        for request, expected in (
            ({"stop": "nobody"}, "no workload 'nobody'"),
            ({}, "unknown request"),
            (again, "there is a workload orders-1"),
            ({"start": {"name": "orders-2"}}, "Field required"),
        ):
            assert expected in await _rejection(state, request)


async def test_a_workload_that_is_started_later_runs_and_is_remembered(
    state: Path, control_plane: FakeControlPlane
) -> None:
    first = orders(control_plane.token(state.parent, "orders"))
    settings = config(state, control_plane.addresses, first)
    async with running_agent(settings) as agent:
        await until_ready(agent)
        second = Workload.model_validate(first | {"name": "orders-2"})
        await asyncio.to_thread(control_client.start_workload, state, second)
        await until(lambda: agent.status().ready, "both are healthy")
        await until(lambda: len(control_plane.leases.instances) == 2, "both are registered")
        assert load_config(state / "config.json").workloads == (*settings.workloads, second)
        await asyncio.to_thread(control_client.stop_workload, state, "orders-1")
        assert load_config(state / "config.json").workloads == (second,)
        assert agent.status().ready


async def _rejection(state: Path, request: dict[str, Any]) -> str:
    try:
        await asyncio.to_thread(control_client.send_request, state, request)
    except ValueError as error:
        return str(error)
    return ""
