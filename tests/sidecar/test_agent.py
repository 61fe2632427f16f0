"""The agent with real Envoys, a real CA and real apps: up, in trouble, and down without losing a request."""

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

from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar import control_client as control
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.status import AgentStatus, WorkloadStatus
from tests.fakes.ports import free_port
from tests.sidecar.conftest import agent, config, orders, until
from tests.sidecar.plane import Plane, running


def one(of: Agent, name: str = "orders-1") -> WorkloadStatus:
    return next(each for each in of.status().workloads if each.name == name)


async def healthy(of: Agent) -> None:
    await until(lambda: of.status().ready, f"all healthy: {of.status()}")


async def get(port: int, path: str, session: aiohttp.ClientSession) -> tuple[int, str]:
    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_workload_comes_up_whole_and_goes_down_whole(state: Path, plane: Plane) -> None:
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says so")
        status = one(it)
        lease = plane.leases.instances["orders-1"]
        assert (lease.port, lease.labels) == (status.ports["inbound"], (("version", "v1"),))
        assert [port.number for port in lease.ports] == [80]
        async with aiohttp.ClientSession() as session:
            code, body = await get(status.ports["inbound"], "/echo", session)
            assert (code, json.loads(body)["name"]) == (200, "orders")
            assert (await get(status.ports["ready"], "/ready", session))[0] == 200
            assert "envoy_server_live" in (await get(status.ports["ready"], "/stats/prometheus", session))[1]
            assert (await get(status.ports["ready"], "/config_dump", session))[0] == 404
        file = state / "agent.json"
        await until(lambda: AgentStatus.model_validate_json(file.read_bytes()).ready, "written")
        pids = list(status.pids.values())
        assert len(pids) == 2
    told = [line.removeprefix("orders-1 ") for line in plane.leases.log]
    assert told[:2] == ["unhealthy", "healthy"]
    assert told[-3:] == ["draining", "drained", "deregistered"]
    assert set(told[2:-3]) <= {"unhealthy", "healthy"}, "an app that is slow may be ill between"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert list((state / "run").iterdir()) == []
    assert not (state / "agent.json").exists()


async def test_secrets_are_the_owners_alone(state: Path, plane: Plane) -> None:
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        folder = state / "sidecars" / "orders-1"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("identity.json", "bundle.json", "bootstrap.json"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        certificate = json.loads((folder / "identity.json").read_text())["resources"][0]["tls_certificate"]
        leaf = x509.load_pem_x509_certificate(certificate["certificate_chain"]["inline_string"].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://mesh.local/service/orders"
        ]
        for log in (state / "logs").iterdir():
            assert "PRIVATE KEY" not in log.read_text()
            assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_an_envoy_that_is_killed_comes_back_on_its_ports(state: Path, plane: Plane) -> None:
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says healthy")
        before, known = one(it), len(plane.leases.seen["orders-1"])
        os.kill(before.pids["proxy"], signal.SIGKILL)
        await until(lambda: "unhealthy" in plane.leases.seen["orders-1"][known:], "the lease says unhealthy")
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says healthy again")
        after = one(it)
        assert after.ports == before.ports
        assert after.pids["app"] == before.pids["app"]
        assert after.pids["proxy"] != before.pids["proxy"]
        assert after.error == ""


async def test_an_app_that_is_killed_comes_back(state: Path, plane: Plane) -> None:
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says healthy")
        before, known = one(it), len(plane.leases.seen["orders-1"])
        os.kill(before.pids["app"], signal.SIGKILL)
        await until(lambda: "unhealthy" in plane.leases.seen["orders-1"][known:], "the lease says unhealthy")
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says healthy again")
        assert one(it).pids["proxy"] == before.pids["proxy"]


async def test_the_apps_health_drives_the_lease(state: Path, plane: Plane) -> None:
    async with (
        agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it,
        aiohttp.ClientSession() as session,
    ):
        await healthy(it)
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease says healthy")
        app = f"http://127.0.0.1:{one(it).ports['app.http']}"
        await session.post(f"{app}/health/fail")
        await until(lambda: plane.leases.health("orders-1") == "unhealthy", "unhealthy")
        await until(lambda: "answered 503" in one(it).error, "it says why")
        await session.post(f"{app}/health/ok")
        await until(lambda: plane.leases.health("orders-1") == "healthy", "healthy again")


async def test_an_app_that_cannot_run_is_named(state: Path, plane: Plane) -> None:
    broken = orders(plane.token(state.parent, "orders"), command=["/nowhere/app"])
    async with agent(config(state, plane.addresses, broken)) as it:
        await until(lambda: "/nowhere/app" in one(it).error, "the error names the program")
        assert not one(it).healthy
        await until(lambda: plane.leases.health("orders-1") == "unhealthy", "the lease says so")


async def test_a_stop_waits_for_the_callers_and_for_what_is_under_way(state: Path, plane: Plane) -> None:
    plane.drain_held.clear()
    async with (
        agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it,
        aiohttp.ClientSession() as session,
    ):
        await healthy(it)
        status = one(it)
        slow = asyncio.create_task(get(status.ports["inbound"], "/delay?ms=1500", session))
        await until(lambda: status.ports and not slow.done(), "under way")
        stopping = asyncio.create_task(asyncio.to_thread(control.stop_workload, state, "orders-1"))
        await until(lambda: "orders-1 drained" in plane.leases.log, "the drain began")
        # Callers have not let go of it yet: it goes on serving.
        assert (await get(status.ports["inbound"], "/echo", session))[0] == 200
        assert one(it).phase == "draining"
        plane.drain_held.set()
        assert (await slow)[0] == 200
        await stopping
        assert one(it).phase == "stopped"
        assert plane.leases.log[-1] == "orders-1 deregistered"
        assert not psutil.pid_exists(status.pids["app"])


async def test_a_stop_under_load_loses_no_request(state: Path, plane: Plane) -> None:
    """The callers here ask until the drain is over, as sidecars do that have not yet let go of it."""
    plane.drain_held.clear()
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        port = one(it).ports["inbound"]
        answers: list[int] = []

        async def caller(session: aiohttp.ClientSession) -> None:
            while not plane.drain_held.is_set():
                answers.append((await get(port, "/delay?ms=20", session))[0])

        async with aiohttp.ClientSession() as session:
            callers = [asyncio.create_task(caller(session)) for _ in range(8)]
            await until(lambda: len(answers) > 100, "load")
            stopping = asyncio.create_task(asyncio.to_thread(control.stop_workload, state, "orders-1"))
            await until(lambda: "orders-1 drained" in plane.leases.log, "the drain began")
            seen = len(answers)
            await until(lambda: len(answers) > seen + 100, "load during the drain")
            plane.drain_held.set()
            await asyncio.gather(*callers)
            await stopping
    assert set(answers) == {200}


async def test_gateways_go_before_services(state: Path, plane: Plane) -> None:
    ingress = {
        "name": "ingress-1",
        "role": "gateway",
        "service": "ingress",
        "token_file": plane.token(state.parent, "ingress", "gateway"),
        "gateway_ports": {"http": 0},
    }
    service = orders(plane.token(state.parent, "orders"))
    with capture_logs() as logs:
        async with agent(config(state, plane.addresses, service, ingress)) as it:
            await healthy(it)
            assert "ingress-1" not in plane.leases.instances
    order = [f"{line['workload']} {line['now']}" for line in logs if line["event"] == "phase"]
    assert order.index("ingress-1 stopped") < order.index("orders-1 draining")


async def test_the_control_plane_may_be_away_at_the_start_and_later(state: Path, tmp_path: Path) -> None:
    async with running(tmp_path / "plane") as plane:
        addresses, token = plane.addresses, plane.token(tmp_path, "orders")
    async with agent(config(state, addresses, orders(token))) as it:
        await until(lambda: "does not answer" in one(it).error, "it says what it waits for")
        assert one(it).phase == "enrolling"
    assert not list((state / "run").glob("*"))


async def test_a_wrong_token_is_refused_and_said(state: Path, plane: Plane) -> None:
    token = plane.token(state.parent, "payments")
    async with agent(config(state, plane.addresses, orders(token))) as it:
        await until(lambda: "not for spiffe://mesh.local/service/payments" in one(it).error, "refused")
        assert one(it).phase == "enrolling"


async def test_another_ca_than_the_tokens_is_not_believed(state: Path, plane: Plane, tmp_path: Path) -> None:
    async with running(tmp_path / "other") as other:
        token = other.token(tmp_path, "orders")
    async with agent(config(state, plane.addresses, orders(token))) as it:
        await until(lambda: "is not the one that the token names" in one(it).error, "not believed")


def leaf(state: Path) -> x509.Certificate:
    """The certificate that Envoy is given."""
    file = json.loads((state / "sidecars" / "orders-1" / "identity.json").read_text())
    chain = file["resources"][0]["tls_certificate"]["certificate_chain"]["inline_string"]
    return x509.load_pem_x509_certificate(chain.encode())


async def test_the_svid_is_renewed_at_half_of_its_life(state: Path, tmp_path: Path) -> None:
    async with (
        running(tmp_path / "plane", svid_ttl=14.0) as plane,
        agent(config(state, plane.addresses, orders(plane.token(tmp_path, "orders")))) as it,
        aiohttp.ClientSession() as session,
    ):
        await healthy(it)
        first = leaf(state)
        await until(lambda: leaf(state).serial_number != first.serial_number, "a new SVID")
        between = leaf(state).not_valid_before_utc - first.not_valid_before_utc
        assert 3.0 <= between.total_seconds() < 14.0
        renewals = len(plane.leases.renewed)
        await until(lambda: len(plane.leases.renewed) > renewals, "the lease renewed by the new SVID")
        assert (await get(one(it).ports["inbound"], "/echo", session))[0] == 200


async def test_an_svid_that_expired_while_nobody_answered_is_replaced(state: Path, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        ports = (free_port(), free_port())
        async with running(tmp_path / "plane", svid_ttl=3.0, ports=ports) as plane:
            addresses, token = plane.addresses, plane.token(tmp_path, "orders")
            it = await stack.enter_async_context(agent(config(state, addresses, orders(token))))
            await healthy(it)
        old = leaf(state)
        await until(lambda: datetime.now(UTC) > old.not_valid_after_utc, "it has expired")
        await until(lambda: "renewal of the identity" in one(it).error, "it says so")
        plane = await stack.enter_async_context(running(tmp_path / "plane", svid_ttl=60.0, ports=ports))
        await until(lambda: leaf(state).serial_number != old.serial_number, "a new SVID")
        await until(lambda: plane.leases.health("orders-1") == "healthy", "the lease is back")
        await until(lambda: one(it).error == "", "nothing is wrong any more")


async def test_a_taken_port_is_named_with_its_holder(state: Path, plane: Plane) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = orders(plane.token(state.parent, "orders"), inbound_port=port)
    try:
        async with agent(config(state, plane.addresses, service)) as it:
            await until(lambda: f"port {port} (inbound_port of orders-1) is in use" in one(it).error, "named")
            assert f"pid {os.getpid()}" in one(it).error
            server.close()
            await server.wait_closed()
            await healthy(it)
    finally:
        server.close()


async def test_the_control_socket(state: Path, plane: Plane) -> None:
    async with agent(config(state, plane.addresses, orders(plane.token(state.parent, "orders")))) as it:
        await healthy(it)
        path = socket_path(state, control.CONTROL_SOCKET)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await asyncio.to_thread(control.fetch_status, state)).ready
        for request, word in (({"stop": "nobody"}, "no workload 'nobody'"), ({}, "ask")):
            assert word in await _refusal(state, request)


async def _refusal(state: Path, request: dict[str, Any]) -> str:
    try:
        await asyncio.to_thread(control.send_request, state, request)
    except ValueError as error:
        return str(error)
    return ""
