"""`mesh diff` against a fake admin API, run as a user runs it."""

from __future__ import annotations

import json

from meshwright.control_plane.api.models.topology import Topology
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry, timeout
from tests.fakes.admin_server import FakeMesh


async def test_diff_shows_changes_and_applies_nothing(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    same = await run("diff", "-f", "-", text=retry())
    assert (same.code, same.out) == (0, "")
    other = await run("diff", "-f", "-", text=retry(attempts=5))
    assert other.code == 1
    assert {"--- a/Retry/inventory-retry", "-  attempts: 2", "+  attempts: 5"} <= set(other.out.splitlines())
    assert len(mesh.store.revisions) == 2


async def test_diff_begins_with_proxies_traffic_and_fields(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    untouched = await run("diff", "-f", "-", text=retry(attempts=5))
    assert untouched.out.startswith("touches no connected proxy\nchanged Retry/inventory-retry\n")
    mesh.affected = ("orders-1", "orders-2")
    idle = await run("diff", "-f", "-", text=timeout())
    assert idle.out.splitlines()[:3] == [
        "touches 2 proxies of orders: no requests within the last 10 s", "created Timeout/orders-timeout", "",
    ]  # fmt: skip
    edge = {"from": "orders", "to": "inventory", "rps": 412.04, "success": 0.5, "mtls": True}
    latency = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), 1.0)
    mesh.topology = Topology.model_validate({"edges": [edge | latency]})
    busy = await run("diff", "-f", "-", text=retry(attempts=5))
    assert busy.out.splitlines()[:4] == [
        "touches 2 proxies of orders: 412.0 requests/s, 206.0 failures/s",
        "changed Retry/inventory-retry",
        "  spec.attempts: 2 → 5",
        "",
    ]
    plan = json.loads((await run("diff", "-f", "-", "-o", "json", text=retry(attempts=5))).out)
    assert plan["impact"]["services"] == ["orders"]
    assert plan["changed"][0]["fields"] == [{"field": "spec.attempts", "before": "2", "after": "5"}]
