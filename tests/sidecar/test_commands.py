"""Commands run at a real Envoy, and what they change there is restored."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshwright.control_plane.api.models.commands import CommandResult, ProxyCommand
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.bootstrap import BootstrapParams, build_bootstrap, envoy_command
from meshwright.sidecar.commands import CommandHandler
from meshwright.sidecar.envoy_admin import EnvoyAdminClient
from meshwright.sidecar.tasks import TaskSet
from meshwright.sidecar.temporary_setting import RESTORE_RETRY_INTERVAL
from tests.fakes.ports import free_port
from tests.sidecar.conftest import ENVOY, until
from tests.sidecar.manual_clock import ManualClock


@dataclass
class Proxy:
    """A running Envoy with only a bootstrap, and the handler of its commands."""

    pid: int
    admin: EnvoyAdminClient
    handler: CommandHandler
    time: ManualClock

    async def run(self, kind: str, argument: str = "", node: str = "orders-1") -> CommandResult:
        return await self.handler.handle(ProxyCommand(id="0" * 16, node=node, kind=kind, argument=argument))

    async def result(self, kind: str, argument: str = "") -> Any:
        """The JSON of a command's result."""
        result = await self.run(kind, argument)
        assert result.reason == "", result.error
        return json.loads(result.decode_text() or "null")

    async def tap_percentage(self) -> str:
        """The value of the tap's runtime key; empty when it is not set."""
        entries = json.loads(await self.admin._get("/runtime"))["entries"]
        return str(entries.get("mesh.tap", {}).get("final_value", ""))

    async def level(self, logger: str) -> str:
        return str((await self.result("log-level"))["loggers"][logger])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.log").write_text("".join(f"served {number}\n" for number in range(50)))
    return tmp_path


@pytest.fixture
async def proxy(folder: Path) -> AsyncIterator[Proxy]:
    socket = socket_path(folder, "admin.sock")
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    params = BootstrapParams(
        "orders-1", "orders", "mesh.local", ("127.0.0.1", 1), str(socket), "127.0.0.1", free_port()
    )
    complete = build_bootstrap(params)
    minimal = {part: complete[part] for part in ("node", "admin", "layered_runtime", "stats_config")}
    (folder / "bootstrap.json").write_text(json.dumps(minimal))
    log = (folder / "envoy.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *envoy_command(str(ENVOY), "./bootstrap.json"), cwd=folder, stdout=log, stderr=log, env={}
    )
    log.close()
    admin, time = EnvoyAdminClient(socket), ManualClock()
    failures: list[str] = []
    tasks = TaskSet("orders-1", failures.append)
    logs = {"proxy": folder / "envoy.log", "app": folder / "app.log"}
    handler = CommandHandler("orders-1", admin, logs, tasks.spawn, time.clock)  # type: ignore[arg-type]
    try:
        await until(admin.is_ready, "Envoy responds")
        yield Proxy(process.pid, admin, handler, time)
        assert failures == []
    finally:
        await tasks.cancel_all()
        await admin.close()
        process.kill()
        await process.wait()


async def test_stats_returns_all_or_filtered_statistics(proxy: Proxy) -> None:
    everything = await proxy.result("stats")
    assert everything["proxy"] == "orders-1"
    assert {"server.live", "cluster_manager.active_clusters"} <= everything["stats"].keys()
    filtered = (await proxy.result("stats", "^cluster_manager\\.active"))["stats"]
    assert filtered == {"cluster_manager.active_clusters": 0}
    invalid = await proxy.run("stats", "(")
    assert (invalid.reason, invalid.error) == ("invalid", "Envoy says: Invalid re2 regex: missing ): (")


async def test_logs_returns_both_sources_and_continues_at_an_offset(proxy: Proxy, folder: Path) -> None:
    envoy, app = (await proxy.result("logs", "lines=2"))["logs"]
    assert (envoy["source"], envoy["file"]) == ("proxy", str(folder / "envoy.log"))
    assert (app["source"], app["text"]) == ("app", "served 48\nserved 49\n")
    with (folder / "app.log").open("a") as file:
        file.write("served 50\n")
    after = await proxy.result("logs", f"proxy={envoy['end']}&app={app['end']}")
    assert after["logs"][1]["text"] == "served 50\n"
    assert (folder / "envoy.log").read_text()[envoy["end"] :].startswith(after["logs"][0]["text"])


async def test_config_returns_one_section_or_all(proxy: Proxy) -> None:
    (section,) = (await proxy.result("config", "clusters"))["configs"]
    assert section["@type"].endswith("ClustersConfigDump")
    everything = (await proxy.result("config"))["configs"]
    assert everything[0]["bootstrap"]["node"]["id"] == "orders-1"
    assert (await proxy.run("config", "secrets")).reason == "invalid"


async def test_log_levels_are_restored_when_their_time_is_up(proxy: Proxy, folder: Path) -> None:
    before = await proxy.result("log-level")
    assert (before["level"], before["resets_in"]) == ("warning", None)

    single = await proxy.result("log-level", "level=debug&logger=admin&seconds=600")
    assert (single["level"], single["loggers"]["admin"]) == ("warning", "debug")
    assert single["resets_in"] == 600
    await until(lambda: "[admin]" in (folder / "envoy.log").read_text(), "Envoy logs admin requests")

    everything = await proxy.result("log-level", "level=info&seconds=5")
    assert everything["loggers"]["admin"] == everything["level"] == "info"
    await until(lambda: proxy.time.sleepers == 1, "only the later command's deadline counts")
    proxy.time.advance(5)

    async def restored() -> bool:
        now = await proxy.result("log-level")
        return bool(now["loggers"] == before["loggers"] and now["resets_in"] is None)

    await until(restored, "all levels are the original ones")


async def test_log_level_set_back_by_hand_needs_no_restore(proxy: Proxy) -> None:
    await proxy.result("log-level", "level=debug&logger=http&seconds=600")
    assert (await proxy.result("log-level", "level=warning&logger=http"))["resets_in"] is None
    unknown = await proxy.run("log-level", "level=debug&logger=nosuch")
    assert (unknown.reason, "no such logger: nosuch" in unknown.error) == ("invalid", True)
    assert await proxy.level("http") == "warning"


async def test_tap_ends_by_itself_at_the_latest_deadline(proxy: Proxy) -> None:
    assert await proxy.tap_percentage() == ""
    await proxy.result("tap", "600")
    await proxy.result("tap", "1")
    proxy.time.advance(1)
    assert await proxy.tap_percentage() == "100"
    await proxy.result("tap", "0")
    assert await proxy.tap_percentage() == ""
    await proxy.result("tap", "5")
    assert await proxy.tap_percentage() == "100"
    await until(lambda: proxy.time.sleepers == 1, "waiting")
    proxy.time.advance(5)

    async def ended() -> bool:
        return await proxy.tap_percentage() == ""

    await until(ended, "the tap has ended")


async def test_hung_envoy_is_reported_and_restored_once_it_responds(proxy: Proxy) -> None:
    await proxy.result("log-level", "level=debug&logger=http&seconds=1")
    await until(lambda: proxy.time.sleepers == 1, "waiting")
    os.kill(proxy.pid, signal.SIGSTOP)
    hung = await proxy.run("log-level")
    assert (hung.reason, hung.error) == ("failed", "Envoy's admin interface does not respond: timeout")
    assert (await proxy.result("logs", "lines=1"))["logs"][1]["text"] == "served 49\n"
    proxy.time.advance(1)
    await until(lambda: proxy.time.sleepers == 0, "restoring")
    await until(lambda: proxy.time.sleepers == 1, "waiting for the next attempt")
    os.kill(proxy.pid, signal.SIGCONT)
    assert await proxy.level("http") == "debug"
    proxy.time.advance(RESTORE_RETRY_INTERVAL)

    async def restored() -> bool:
        return await proxy.level("http") == "warning"

    await until(restored, "the level is restored")


async def test_unknown_commands_and_other_proxies_are_rejected(proxy: Proxy) -> None:
    unknown = await proxy.run("quitquitquit")
    assert (unknown.reason, unknown.error) == ("invalid", "the agent has no command quitquitquit")
    misrouted = await proxy.run("stats", node="catalog-1")
    assert (misrouted.reason, "not for orders-1" in misrouted.error) == ("invalid", True)
