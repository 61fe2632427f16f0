"""`mesh proxies` and `mesh proxy`: order, output, and the fallback to an Envoy on this host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from meshwright.control_plane.api.models.commands import (
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.errors import InputError
from tests.cli.conftest import MESH, ROOT, RunMesh
from tests.fakes.admin_server import FakeMesh

KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
DUMP = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": []},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "note": KEY},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "secret": {"private_key": {"inline_string": "secret"}},
        },
    ]
}


def proxy(name: str, state: str, expires_in: float = 3600, **fields: object) -> ProxyDetail:
    report = {
        "reported": True,
        "version": "1.40.0",
        "memory": 15 * 2**20,
        "expires": time.time() + expires_in,
    }
    status = {"name": name, "service": "orders", "state": state, "revision": 3, "connected": True}
    return ProxyDetail.model_validate({**status, **report, **fields})


async def test_proxies_lists_unhealthy_ones_first(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.details = (
        proxy("a", "synced", expires_in=7300),
        proxy("b", "synced", expires_in=-300),
        proxy("c", "pending", pending=2),
        proxy("d", "disconnected", reported=False),
        proxy("e", "rejected", error="RouteConfiguration out: bad\nregex"),
        proxy("f", "synced", expires_in=235),
    )
    result = await run("proxies")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == [
        "PROXY", "SERVICE", "STATE", "REVISION", "PENDING", "CERTIFICATE", "ENVOY", "MEMORY", "ERROR",
    ]  # fmt: skip
    assert [line[0] for line in lines[1:]] == ["e", "d", "c", "b", "f", "a"]
    rows = {line[0]: " ".join(line[2:]) for line in lines[1:]}
    assert rows["a"] == "● synced 3 0 expires in 2h 1.40.0 15.0 MiB"
    assert "× expired 5m ago" in rows["b"]
    assert rows["c"].startswith("▲ pending 3 2 ")
    assert rows["d"] == "○ disconnected 3 0 - - -"
    assert rows["e"].endswith("RouteConfiguration out: bad regex")
    assert "▲ expires in 3m" in rows["f"]
    listed = json.loads((await run("proxies", "-o", "json")).out)["items"]
    assert [proxy["name"] for proxy in listed] == ["e", "d", "c", "b", "f", "a"]
    assert listed[2]["pending"] == 2


async def test_status_shows_only_tripped_circuit_breakers(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.status = Status(
        revision=0,
        store="ok",
        breakers=(
            Breaker(from_="a", to="b", state="closed", ejected=0, hosts=2),
            Breaker(from_="a", to="c", state="partial", ejected=1, hosts=2),
            Breaker(from_="ingress", to="a", state="open", ejected=0, hosts=2, limited=True),
        ),
    )
    rows = [" ".join(line.split()) for line in (await run("status")).out.splitlines()]
    assert "a c ▲ partial (1 of 2 instances ejected)" in rows
    assert "ingress a × open (limit reached)" in rows
    assert not any(row.startswith("a b ") for row in rows)
    assert json.loads((await run("status", "-o", "json")).out)["breakers"][0] == {
        "from": "a", "to": "b", "state": "closed", "ejected": 0, "hosts": 2, "limited": False,
        "trials_passed": 0, "trials_failed": 0,
    }  # fmt: skip


@pytest.fixture
async def envoy(mesh: FakeMesh) -> AsyncIterator[Path]:
    """An admin socket of orders-1 in the mesh's state."""
    folder = mesh.state / "sidecars" / "orders-1"
    folder.mkdir(parents=True)
    path = socket_path(folder, "admin.sock")
    path.parent.mkdir(exist_ok=True)

    async def dump(_: web.Request) -> web.Response:
        return web.json_response(DUMP)

    async def stats(request: web.Request) -> web.Response:
        pattern = request.query.get("filter", "")
        return web.Response(status=400 if pattern == "(" else 200, text=f"cluster.x: 1 {pattern}")

    app = web.Application()

    async def clusters(_: web.Request) -> web.Response:
        return web.json_response({"cluster_statuses": []})

    app.router.add_get("/config_dump", dump)
    app.router.add_get("/clusters", clusters)
    app.router.add_get("/stats", stats)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    yield path
    await runner.cleanup()


async def test_config_prints_all_or_one_section(mesh: FakeMesh, run: RunMesh) -> None:
    config = ProxyConfig(proxy="orders-1", configs=({"@type": "a.ClustersConfigDump", "static": ["ä"]},))
    mesh.replies = {"config": config.model_dump_json()}
    complete = await run("proxy", "orders-1", "config")
    assert YAML(typ="safe").load(complete.out) == {"configs": list(config.configs)}
    part = await run("proxy", "orders-1", "config", "clusters", "-o", "json")
    assert json.loads(part.out)["configs"] == list(config.configs)
    assert [argument for _, _, argument in mesh.commands] == ["", "clusters"]
    assert (await run("proxy", "orders-1", "config", "secrets")).code == 2


async def test_stats_are_listed_and_filtered(mesh: FakeMesh, run: RunMesh) -> None:
    proxy_stats = ProxyStats(
        proxy="orders-1", stats={"a.rq": 12, "a.time": "P0(nan,1)\x1b[31m"}, truncated=True
    )
    mesh.replies = {"stats": proxy_stats.model_dump_json()}
    listed = await run("proxy", "orders-1", "stats", "--filter", "a&b")
    assert listed.out == "a.rq: 12\na.time: P0(nan,1) [31m\n"
    assert listed.err == "output truncated: use --filter\n"
    assert mesh.commands[0][2] == "a&b"
    assert json.loads((await run("proxy", "orders-1", "stats", "-o", "json")).out)["stats"]["a.rq"] == 12
    mesh.replies = {"stats": InputError("orders-1: Envoy says: missing )")}
    wrong = await run("proxy", "orders-1", "stats", "--filter", "(")
    assert (wrong.code, wrong.err) == (2, "orders-1: Envoy says: missing )\n")


async def test_logs_are_printed_under_their_sources(mesh: FakeMesh, run: RunMesh) -> None:
    parts = (
        LogPart(source="proxy", file="/logs/orders-1.proxy.log", text="warning\x1b[2J\n", end=9),
        LogPart(source="app", file="/logs/orders-1.log", text="one\ntwo\n", end=8),
    )
    mesh.replies = {"logs": ProxyLogs(proxy="orders-1", logs=parts).model_dump_json()}
    shown = await run("proxy", "orders-1", "logs", "-n", "2")
    assert shown.out.splitlines() == [
        "==> Envoy: /logs/orders-1.proxy.log", "warning [2J", "==> app: /logs/orders-1.log", "one", "two",
    ]  # fmt: skip
    assert mesh.commands[0][2] == "lines=2"
    assert json.loads((await run("proxy", "orders-1", "logs", "-o", "json")).out)["logs"][1]["end"] == 8


async def test_following_logs_survives_a_control_plane_that_does_not_know_the_sidecar_yet(
    mesh: FakeMesh,
) -> None:
    def logs(text: str) -> str:
        part = LogPart(source="app", file="/logs/orders-1.log", text=text, end=4)
        return ProxyLogs(proxy="orders-1", logs=(part,)).model_dump_json()

    mesh.replies = {"logs": logs("one\n")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MESH, "proxy", "orders-1", "logs", "-f", "--state", str(mesh.state)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout and child.stderr
    try:
        async with asyncio.timeout(90):
            lines = [await child.stdout.readline() for _ in range(2)]
            assert lines == [b"==> app: /logs/orders-1.log\n", b"one\n"]
            mesh.replies = {}
            warning = await child.stderr.readline()
            assert warning.startswith(b"no such proxy: orders-1")
            assert warning.endswith(b"; retrying\n")
            mesh.replies = {"logs": logs("two\n")}
            assert await child.stdout.readline() == b"two\n"
            child.send_signal(signal.SIGINT)
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_log_level_is_shown_and_set_for_a_period(mesh: FakeMesh, run: RunMesh) -> None:
    loggers = {"admin": "warning", "http": "debug", "upstream": "warning"}
    levels = ProxyLogLevel(proxy="orders-1", level="warning", loggers=loggers, resets_in=299.5)
    mesh.replies = {"log-level": levels.model_dump_json()}
    shown = await run("proxy", "orders-1", "log-level", "http=debug", "--for", "5m")
    assert [" ".join(line.split()) for line in shown.out.splitlines()] == [
        "LOGGER LEVEL", "http debug", "all others warning", "resets in 4m",
    ]  # fmt: skip
    quiet = levels.model_copy(update={"loggers": {"http": "warning"}, "resets_in": None})
    mesh.replies = {"log-level": quiet.model_dump_json()}
    assert "resets" not in (await run("proxy", "orders-1", "log-level")).out
    assert json.loads((await run("proxy", "orders-1", "log-level", "info", "-o", "json")).out)["loggers"]
    assert [argument for _, _, argument in mesh.commands] == [
        "level=debug&logger=http&seconds=300", "", "level=info&seconds=600",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats", "clusters"),
        ("config", "--filter", "x"),
        ("stats", "-n", "0"),
        ("config", "-f"),
        ("logs", "debug"),
        ("log-level", "loud"),
        ("log-level", "debug", "--for", "ever"),
        ("log-level", "debug", "--for", "48h"),
        ("log-level", "--for", "5m"),
    ],
    ids=" ".join,
)
async def test_options_that_do_not_apply_are_rejected(
    mesh: FakeMesh, run: RunMesh, arguments: tuple[str, ...]
) -> None:
    rejected = await run("proxy", "orders-1", *arguments)
    problems = [
        line for line in rejected.err.splitlines() if line and not line.startswith(("Usage:", "Try "))
    ]
    assert (rejected.code, len(problems)) == (2, 1)
    assert mesh.commands == []


async def test_an_unreachable_or_unknown_proxy_is_reported(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.details = (proxy("far-1", "synced"),)
    far = await run("proxy", "far-1", "config")
    assert (far.code, "far-1: its agent is not connected" in far.err) == (4, True)
    nobody = await run("proxy", "nobody", "config")
    assert (nobody.code, "no such proxy: nobody" in nobody.err) == (2, True)
    outside = await run("proxy", "../../etc", "config")
    assert (outside.code, "no such proxy" in outside.err) == (2, True)


async def test_an_envoy_on_this_host_is_queried_while_the_control_plane_is_unreachable(
    mesh: FakeMesh, envoy: Path, run: RunMesh
) -> None:
    assert (await run("proxy", "orders-1", "config")).code == 2
    addresses = {"admin": "http://127.0.0.1:1", "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (mesh.state / "mesh.json").write_text(json.dumps(addresses))
    complete = await run("proxy", "orders-1", "config")
    assert (complete.code, "queried the Envoy on this host instead" in complete.err) == (0, True)
    configs = YAML(typ="safe").load(complete.out)["configs"]
    assert [config["@type"].rsplit(".", 1)[1] for config in configs] == [
        "ClustersConfigDump", "ListenersConfigDump", "SecretsConfigDump", "EndpointsConfigDump",
    ]  # fmt: skip
    assert "secret\n" not in complete.out.replace("secret:", "")
    assert configs[2]["secret"]["private_key"] == "[redacted]"
    part = await run("proxy", "orders-1", "config", "clusters", "-o", "json")
    assert json.loads(part.out)["configs"] == DUMP["configs"][:1]
    assert (await run("proxy", "orders-1", "stats", "--filter", "a&b")).out == "cluster.x: 1 a&b\n"
    assert (await run("proxy", "orders-1", "stats", "--filter", "(")).code == 2
    assert (await run("proxy", "orders-1", "logs")).code == 3
    assert (await run("proxy", "orders-2", "stats")).code == 3
    (mesh.state / "sidecars" / "far-1").mkdir(parents=True)
    dead = await run("proxy", "far-1", "config")
    assert (dead.code, "control plane not reachable" in dead.err) == (3, True)


async def test_evict_says_what_it_did_and_passes_on_the_reason(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("proxy", "orders-1", "evict", "-m", "it does not answer")
    assert (result.code, result.out) == (
        0,
        "orders/orders-1 evicted: it is refused until it enrols again\n",
    )
    ((node, kind, argument),) = mesh.commands
    assert (node, kind, argument.endswith(" it does not answer")) == ("orders-1", "evict", True)
    unknown = await run("proxy", "orders-7", "evict", "-o", "json")
    assert (unknown.code, "no such proxy" in unknown.err) == (2, True)
    wrong = await run("proxy", "orders-1", "stats", "-m", "why")
    assert (wrong.code, "--message does not apply to stats" in wrong.err) == (2, True)
