"""`mesh proxies` and `mesh proxy` as a user runs them: order, words, and an Envoy's admin socket."""

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

from meshwright.control_plane.api.models.base import Breaker, ProxyDetail, Status
from meshwright.control_plane.api.models.commands import (
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.errors import InputError
from tests.cli.conftest import MESH, ROOT, Run
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


def proxy(name: str, state: str, left: float = 3600, **more: object) -> ProxyDetail:
    told = {"reported": True, "version": "1.40.0", "memory": 15 * 2**20, "expires": time.time() + left}
    fixed = {"name": name, "service": "orders", "state": state, "revision": 3, "connected": True}
    return ProxyDetail.model_validate({**fixed, **told, **more})


async def test_what_is_bad_comes_first_and_in_words(mesh: FakeMesh, run: Run) -> None:
    mesh.details = (
        proxy("a", "synced", left=7300),
        proxy("b", "synced", left=-300),
        proxy("c", "pending", pending=2),
        proxy("d", "disconnected", reported=False),
        proxy("e", "rejected", error="RouteConfiguration out: bad\nregex"),
        proxy("f", "synced", left=235),
    )
    ran = await run("proxies")
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == [
        "PROXY", "SERVICE", "STATE", "REVISION", "PENDING", "CERTIFICATE", "ENVOY", "MEMORY", "REJECTED",
    ]  # fmt: skip
    assert [line[0] for line in lines[1:]] == ["e", "d", "c", "b", "f", "a"]
    rows = {line[0]: " ".join(line[2:]) for line in lines[1:]}
    assert rows["a"] == "● synced 3 0 expires in 2 h 1.40.0 15.0 MiB"
    assert "✖ expired 5 min ago" in rows["b"]
    assert rows["c"].startswith("◐ pending 3 2 ")
    assert rows["d"] == "○ disconnected 3 0 - - -"
    assert rows["e"].endswith("RouteConfiguration out: bad regex")
    assert "◐ expires in 3 min" in rows["f"]
    listed = json.loads((await run("proxies", "-o", "json")).out)["proxies"]
    assert [one["name"] for one in listed] == ["e", "d", "c", "b", "f", "a"]
    assert listed[2]["pending"] == 2


async def test_status_shows_breakers_that_are_not_closed(mesh: FakeMesh, run: Run) -> None:
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
    assert "a c ◐ partial (1 of 2 instances left out)" in rows
    assert "ingress a ✖ open (a limit is reached)" in rows
    assert not any(row.startswith("a b ") for row in rows)
    assert json.loads((await run("status", "-o", "json")).out)["breakers"][0] == {
        "from": "a", "to": "b", "state": "closed", "ejected": 0, "hosts": 2, "limited": False,
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
        wanted = request.query.get("filter", "")
        return web.Response(status=400 if wanted == "(" else 200, text=f"cluster.x: 1 {wanted}")

    app = web.Application()
    app.router.add_get("/config_dump", dump)
    app.router.add_get("/stats", stats)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    yield path
    await runner.cleanup()


async def test_a_config_is_shown_whole_or_in_part(mesh: FakeMesh, run: Run) -> None:
    config = ProxyConfig(proxy="orders-1", configs=({"@type": "a.ClustersConfigDump", "static": ["ä"]},))
    mesh.replies = {"config": config.model_dump_json()}
    whole = await run("proxy", "orders-1", "config")
    assert YAML(typ="safe").load(whole.out) == {"configs": list(config.configs)}
    part = await run("proxy", "orders-1", "config", "clusters", "-o", "json")
    assert json.loads(part.out)["configs"] == list(config.configs)
    assert [argument for _, _, argument in mesh.commands] == ["", "clusters"]
    assert (await run("proxy", "orders-1", "config", "secrets")).code == 2


async def test_statistics_are_listed_and_filtered(mesh: FakeMesh, run: Run) -> None:
    told = ProxyStats(proxy="orders-1", stats={"a.rq": 12, "a.time": "P0(nan,1)\x1b[31m"}, truncated=True)
    mesh.replies = {"stats": told.model_dump_json()}
    listed = await run("proxy", "orders-1", "stats", "--filter", "a&b")
    assert listed.out == "a.rq: 12\na.time: P0(nan,1) [31m\n"
    assert "pick some by --filter" in listed.err
    assert mesh.commands[0][2] == "a&b"
    assert json.loads((await run("proxy", "orders-1", "stats", "-o", "json")).out)["stats"]["a.rq"] == 12
    mesh.replies = {"stats": InputError("orders-1: Envoy says: missing )")}
    wrong = await run("proxy", "orders-1", "stats", "--filter", "(")
    assert (wrong.code, wrong.err) == (2, "orders-1: Envoy says: missing )\n")


async def test_logs_are_shown_under_their_sources(mesh: FakeMesh, run: Run) -> None:
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


async def test_following_logs_outlives_a_control_plane_that_does_not_know_the_sidecar_yet(
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
            said = await child.stderr.readline()
            assert said.startswith(b"no such proxy: orders-1")
            assert said.endswith(b"; trying on\n")
            mesh.replies = {"logs": logs("two\n")}
            assert await child.stdout.readline() == b"two\n"
            child.send_signal(signal.SIGINT)
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_a_log_level_is_shown_and_set_for_a_while(mesh: FakeMesh, run: Run) -> None:
    loggers = {"admin": "warning", "http": "debug", "upstream": "warning"}
    told = ProxyLogLevel(proxy="orders-1", level="warning", loggers=loggers, resets_in=299.5)
    mesh.replies = {"log-level": told.model_dump_json()}
    shown = await run("proxy", "orders-1", "log-level", "http=debug", "--for", "5m")
    assert [" ".join(line.split()) for line in shown.out.splitlines()] == [
        "LOGGER LEVEL", "http debug", "all others warning", "put back in 4 min",
    ]  # fmt: skip
    quiet = told.model_copy(update={"loggers": {"http": "warning"}, "resets_in": None})
    mesh.replies = {"log-level": quiet.model_dump_json()}
    assert "put back" not in (await run("proxy", "orders-1", "log-level")).out
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
async def test_what_makes_no_sense_is_told_so(mesh: FakeMesh, run: Run, arguments: tuple[str, ...]) -> None:
    wrong = await run("proxy", "orders-1", *arguments)
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)
    assert mesh.commands == []


async def test_a_proxy_that_does_not_answer_is_told_so(mesh: FakeMesh, run: Run) -> None:
    mesh.details = (proxy("far-1", "synced"),)
    far = await run("proxy", "far-1", "config")
    assert (far.code, "far-1: its agent is not connected" in far.err) == (4, True)
    nobody = await run("proxy", "nobody", "config")
    assert (nobody.code, "no such proxy: nobody" in nobody.err) == (2, True)
    outside = await run("proxy", "../../etc", "config")
    assert (outside.code, "no such proxy" in outside.err) == (2, True)


async def test_an_envoy_of_this_host_is_asked_itself_while_the_control_plane_is_away(
    mesh: FakeMesh, envoy: Path, run: Run
) -> None:
    assert (await run("proxy", "orders-1", "config")).code == 2
    addresses = {"admin": "http://127.0.0.1:1", "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (mesh.state / "mesh.json").write_text(json.dumps(addresses))
    whole = await run("proxy", "orders-1", "config")
    assert (whole.code, "asked its Envoy on this host instead" in whole.err) == (0, True)
    configs = YAML(typ="safe").load(whole.out)["configs"]
    assert [one["@type"].rsplit(".", 1)[1] for one in configs] == [
        "ClustersConfigDump", "ListenersConfigDump", "SecretsConfigDump",
    ]  # fmt: skip
    assert "secret\n" not in whole.out.replace("secret:", "")
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
