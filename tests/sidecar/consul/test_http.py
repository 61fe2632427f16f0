"""Consul's HTTP API over an agent that runs no sidecars."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from meshwright.sidecar.consul import registry as registry_module
from meshwright.sidecar.consul.registry import Registry
from tests.sidecar.consul.world import CHECK, ORDERS, SERVICE, FakeAgent, World, is_empty


async def test_a_service_registers_reports_its_ttl_and_leaves(world: World) -> None:
    await world.put(f"{SERVICE}/register", ORDERS)
    ((workload, _),) = world.agent.running.values()
    assert (workload.service, workload.ports[0].app_port, workload.labels["version"]) == (
        "orders",
        8000,
        "v1",
    )
    assert (await world.get(f"{SERVICE}/orders:1"))["Tags"] == ["v1"]
    assert (await world.get("/v1/agent/checks"))["beat"]["Status"] == "critical"
    await world.until(lambda: world.get("/v1/health/service/orders"))
    assert await world.passing("orders") == []

    async with world.client.get("/v1/health/service/orders") as response:
        index = response.headers["X-Consul-Index"]
    watch = asyncio.create_task(world.get(f"/v1/health/service/orders?passing&index={index}&wait=1m"))
    await world.put(f"{CHECK}/pass/beat?note=fine")
    (entry,) = await watch
    assert entry["Service"] | {"Weights": 0} == {
        "ID": "orders:1",
        "Service": "orders",
        "Tags": ["v1"],
        "Address": "127.10.0.9",
        "Port": 8000,
        "Meta": {"version": "v1"},
        "Weights": 0,
        "EnableTagOverride": False,
    }
    assert (await world.get("/v1/agent/checks"))["beat"]["Output"] == "fine"
    assert await world.get("/v1/catalog/services") == {"orders": ["v1"]}
    (listed,) = await world.get("/v1/catalog/service/orders?tag=V1")
    assert (listed["ServiceID"], listed["ServiceAddress"], listed["ServicePort"]) == (
        "orders:1",
        "127.10.0.9",
        8000,
    )
    for lookup in ("/v1/catalog/service/orders", "/v1/health/service/orders"):
        assert len(await world.get(f"{lookup}?tag=v1")) == 1
        assert await world.get(f"{lookup}?tag=v2") == []
        assert await world.get(f"{lookup}?tag=v1&tag=v2") == []

    await world.put(f"{CHECK}/update/beat", {"Status": "critical", "Output": "disk full"})
    await world.until(lambda: is_empty(world.passing("orders")))
    (check,) = await world.get("/v1/health/checks/orders")
    assert (check["Status"], check["Output"]) == ("critical", "beat: disk full")

    await world.put(f"{SERVICE}/deregister/orders:1")
    assert not world.agent.running
    assert await world.get("/v1/agent/services") == {}


async def test_registering_again_keeps_the_sidecar_unless_callers_see_a_difference(world: World) -> None:
    body = {"Name": "orders", "Port": 8000, "Check": {"TTL": "1h", "Status": "passing"}}
    await world.put(f"{SERVICE}/register", body)
    await world.put(f"{SERVICE}/register", body)
    await world.put(f"{SERVICE}/register", {**body, "Check": {"TTL": "2h", "Status": "passing"}})
    assert world.agent.starts == 1
    await world.put(f"{SERVICE}/register", {**body, "Port": 8001})
    assert world.agent.starts == 2
    assert [workload.ports[0].app_port for workload, _ in world.agent.running.values()] == [8001]


async def test_a_ttl_expires_and_the_service_that_stays_critical_is_deregistered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshwright.sidecar.consul.checks.MIN_DEREGISTER_AFTER", 0.1)
    monkeypatch.setattr(registry_module, "SWEEP_INTERVAL", 0.05)
    check = {"TTL": "200ms", "Status": "passing", "DeregisterCriticalServiceAfter": "100ms"}
    await world.put(f"{SERVICE}/register", {"Name": "orders", "Port": 8000, "Check": check})
    sweeping = asyncio.create_task(world.registry.run())
    await world.until(lambda: is_empty(world.get("/v1/agent/services")))
    sweeping.cancel()
    assert not world.agent.running


async def test_checks_ask_what_they_name(world: World) -> None:
    address = f"127.0.0.1:{world.client.port}"
    checks = [
        {
            "CheckID": "http",
            "HTTP": f"http://{address}/v1/agent/self",
            "Header": {"X-Consul-Token": ["secret"]},
        },
        {
            "CheckID": "denied",
            "HTTP": f"http://{address}/v1/agent/self",
            "FailuresBeforeCritical": 2,
            "Interval": "1s",
        },
        {"CheckID": "tcp", "TCP": address},
        {"CheckID": "grpc", "GRPC": address, "Timeout": "1s"},
    ]
    await world.put(f"{SERVICE}/register", {"Name": "orders", "Port": 8000, "Checks": checks})

    async def statuses() -> dict[str, str]:
        return {id: check["Status"] for id, check in (await world.get("/v1/agent/checks")).items()}

    async def is_settled() -> bool:
        checks = await world.get("/v1/agent/checks")
        return all(check["Output"] for check in checks.values())

    await world.until(is_settled)
    assert await statuses() == {"http": "passing", "denied": "critical", "tcp": "passing", "grpc": "critical"}
    assert "403" in (await world.get("/v1/agent/checks"))["denied"]["Output"]
    await world.put(f"{CHECK}/pass/tcp", status=400)
    await world.put(f"{CHECK}/register", {"Name": "more", "ServiceID": "orders", "TTL": "1h"})
    await world.put(f"{CHECK}/register", {"Name": "more", "ServiceID": "users", "TTL": "1h"}, status=404)
    await world.put(f"{CHECK}/deregister/grpc")
    assert "grpc" not in await statuses()
    assert world.agent.starts == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"Name": "Orders", "Port": 1},
            "Name: 'Orders' is not the name of a service here: lower-case letters",
        ),
        ({"Name": "o", "Port": 1, "Check": {"TCP": "here"}}, "Check.TCP: 'here' is not an address such as"),
        ({"Name": "o", "Port": 1, "Check": {"TTL": "1"}}, "Check.TTL: '1' is not a duration such as 10s"),
        ({"Name": "orders"}, "Port"),
        ([], "valid dictionary"),
        ({"Name": "orders", "Port": 1, "Address": "192.0.2.7"}, "not this machine"),
        ({"Name": "orders", "Port": 1, "Meta": {"protocol": "udp"}}, "http, grpc or tcp"),
        ({"Name": "orders", "Port": 1, "Check": {"HTTP": "http://192.0.2.7/"}}, "this machine only"),
        ({"Name": "orders", "Port": 1, "Check": {"TCP": "example.com:80"}}, "this machine only"),
    ],
)
async def test_what_cannot_be_registered_is_refused_with_the_reason(
    world: World, body: object, text: str
) -> None:
    assert text in await world.put(f"{SERVICE}/register", body, status=400)
    assert not world.agent.running


async def test_an_answer_is_indented_on_request(world: World) -> None:
    for query, lines in (("", 1), ("?pretty", 2), ("?pretty=true&stale", 2), ("?pretty=false", 1)):
        async with world.client.get(f"/v1/status/peers{query}") as response:
            text = await response.text()
            assert len(text.splitlines()) >= lines
            assert (lines == 1) == ("    " not in text)


async def test_an_agent_has_a_limited_number_of_services(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MAX_SERVICES", 1)
    await world.put(f"{SERVICE}/register", {"Name": "orders", "Port": 8000})
    assert "limit" in await world.put(f"{SERVICE}/register", {"Name": "users", "Port": 8001}, status=400)
    await world.put(f"{SERVICE}/register", {"Name": "orders", "Port": 8002})


async def test_only_programs_of_this_host_with_the_token_are_served(world: World) -> None:
    await world.get("/v1/agent/self", 403, **{"X-Consul-Token": "other"})
    await world.get("/v1/agent/self", 403, Origin="http://example.com")
    await world.get("/v1/agent/self", 403, Host="rebound.example.com")
    await world.get("/v1/agent/self", 200, **{"X-Consul-Token": "", "Authorization": "Bearer secret"})
    await world.get("/v1/agent/self", Host="localhost:8500")
    assert "not served here" in await world.get("/v1/unheard", 404)
    await world.put(f"{SERVICE}/register", {"Name": "x" * 70_000, "Port": 1}, status=413)
    assert "index" in await world.get("/v1/catalog/services?index=x", 400)
    await world.put(f"{CHECK}/pass/unknown", status=404)
    await world.put(f"{SERVICE}/deregister/unknown", status=404)


async def test_what_was_registered_survives_a_restart(world: World, tmp_path: Path) -> None:
    await world.put(
        f"{SERVICE}/register", {"Name": "orders", "Port": 8000, "Check": {"TTL": "90s", "CheckID": "beat"}}
    )

    async def create_token(service: str) -> Path:
        return tmp_path / service

    agent = FakeAgent()
    async with aiohttp.ClientSession() as session:
        restored = Registry(agent, create_token, session, tmp_path / "services.json", lambda: None)
        await restored.restore()
        assert list(agent.running) == ["orders"]
        assert restored.check("beat").definition == world.registry.check("beat").definition
        await restored.close()
    assert (tmp_path / "services.json").stat().st_mode & 0o777 == 0o600
