"""`mesh get`: services, instances, proxies and policies, in every format, once and as they change."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

import pytest

from meshwright.cli.jsonpath import Template
from meshwright.control_plane.api.models.policies import PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.topology import ServiceList, ServiceSummary
from meshwright.control_plane.errors import InputError
from tests.cli.conftest import MESH, ROOT, RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh


@pytest.fixture
def listed(mesh: FakeMesh) -> FakeMesh:
    """A service with one instance, a gateway, and the service's proxy at revision 3."""
    mesh.services = ServiceList(
        services=(
            ServiceSummary(name="ingress", role="gateway", health="healthy"),
            ServiceSummary(name="orders", health="degraded", rps=12.0, instances=2, healthy=1, reason="slow"),
        )
    )
    mesh.details = (
        ProxyDetail(
            name="orders-1", service="orders", state="synced", revision=3, connected=True, reported=True,
            version="1.40.0", memory=15 << 20, uptime=7200.0, expires=time.time() + 7205,
        ),
    )  # fmt: skip
    return mesh


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_services_instances_and_proxies_have_status_revision_and_age(
    listed: FakeMesh, run: RunMesh
) -> None:
    assert cells((await run("get", "services")).out) == [
        ["NAME", "STATUS", "READY", "REVISION", "AGE"],
        ["orders", "▲", "degraded", "1/2", "3", "-"],
    ]
    assert cells((await run("get", "Service/orders", "-o", "wide")).out)[1][6:] == [
        "12.0", "100.0%", "0", "ms", "slow",
    ]  # fmt: skip
    assert cells((await run("get", "instances")).out)[1] == [
        "orders-1", "orders", "●", "healthy", "0", "3", "-",
    ]  # fmt: skip
    assert cells((await run("get", "proxy/orders/orders-1")).out)[1] == [
        "orders-1", "orders", "●", "synced", "3", "2h",
    ]  # fmt: skip


async def test_a_policy_has_the_age_of_its_last_change(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    policy = PolicyStatus(
        kind="Retry", name="inventory-retry", generation=1, state="unused", reason="no traffic"
    )
    mesh.status = Status(revision=1, store="ok", policies=(policy,))
    shown = cells((await run("get", "-o", "wide")).out)
    assert shown[1][:6] == ["Retry", "inventory-retry", "○", "unused", "Service/inventory", "1"]
    assert (shown[1][6][-1], shown[1][7:]) == ("d", ["no", "traffic"])


async def test_names_json_and_templates_are_for_scripts(listed: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    assert (await run("get", "retries", "-o", "name")).out == "retry/inventory-retry\n"
    assert (await run("get", "proxies", "-o", "name")).out == "proxy/orders-1\n"
    (item,) = json.loads((await run("get", "proxies", "-o", "json")).out)["items"]
    assert item["expires"].endswith("Z")
    (service,) = json.loads((await run("get", "services", "-o", "json")).out)["items"]
    assert (service["name"], service["revision"], service["started"]) == ("orders", 3, None)
    single = await run("get", "retry/inventory-retry", "-o", "jsonpath={.metadata.name}: {.spec.attempts}")
    assert single.out == "inventory-retry: 2\n"
    assert "name: orders" in (await run("get", "services", "-o", "yaml")).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["servces"], "servces: no such kind: did you mean services?"),
        (["services", "order"], "no such service: order: did you mean orders?"),
        (["retry", "nothing"], "no such document: Retry/nothing"),
        (["services", "-o", "xml"], "no such output format: xml: use table, wide, name, json, yaml"),
        (["services", "-o", "jsonpath={.items[}"], "jsonpath: cannot read '[' of '.items['"),
    ],
)
async def test_a_typo_gets_advice(listed: FakeMesh, run: RunMesh, arguments: list[str], message: str) -> None:
    result = await run("get", *arguments)
    assert (result.code, message in result.err) == (2, True), result.err


async def test_watch_prints_what_changes_until_interrupted(listed: FakeMesh) -> None:
    environment = {**os.environ, "MESH_STATE": str(listed.state), "PYTHONPATH": str(ROOT)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MESH, "get", "services", "-w",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout
    async with asyncio.timeout(120):
        first = [(await child.stdout.readline()).decode().split() for _ in range(2)]
        assert [line[0] for line in first] == ["NAME", "orders"]
        (ingress, orders) = listed.services.services
        listed.services = ServiceList(services=(ingress, orders.model_copy(update={"health": "healthy"})))
        assert (await child.stdout.readline()).decode().split()[:3] == ["orders", "●", "healthy"]
        listed.services = ServiceList(services=(ingress,))
        assert child.stderr
        assert await child.stderr.readline() == b"service/orders is gone\n"
        child.send_signal(signal.SIGINT)
        assert await child.wait() == 0


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].name}", "a b"),
        (".items[0].name", "a"),
        ("{.items[-1].labels['app.version']}", "2"),
        ('{.items[*].name}{"\\n"}end', "a b\nend"),
        ("{.items[7].name}{.nothing}|{.items[0].n}", "|1"),
        ("{.items[0].labels}", '{"app.version": "1"}'),
        ("{.items[0].labels.*}", None),
        ("{.items", None),
        ('{"a\\q"}', None),
    ],
)
def test_jsonpath(template: str, text: str | None) -> None:
    items = [
        {"name": "a", "n": 1, "labels": {"app.version": "1"}},
        {"name": "b", "n": 2, "labels": {"app.version": "2"}},
    ]
    if text is None:
        with pytest.raises(InputError, match=r"^jsonpath: "):
            Template(template)
    else:
        assert Template(template).render({"items": items}) == text
