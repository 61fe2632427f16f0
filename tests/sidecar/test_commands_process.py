"""What is asked of one proxy is done at a real Envoy, and what is changed there is put back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meshwright.control_plane.api.models.commands import CommandResult, ProxyCommand
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar import commands
from meshwright.sidecar.bootstrap import BootstrapParams, build_bootstrap, envoy_command
from meshwright.sidecar.commands import CommandHandler
from meshwright.sidecar.envoy_admin import EnvoyAdminClient
from tests.fakes.ports import free_port
from tests.sidecar.conftest import ENVOY, until


@dataclass
class Proxy:
    """A running Envoy with nothing but a bootstrap, and who answers for it."""

    pid: int
    admin: EnvoyAdminClient
    respondent: CommandHandler
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, kind: str, argument: str = "", node: str = "orders-1") -> CommandResult:
        return await self.respondent.handle(
            ProxyCommand(id="0" * 16, node=node, kind=kind, argument=argument)
        )

    async def told(self, kind: str, argument: str = "") -> Any:
        """The answer's text, read."""
        answer = await self.ask(kind, argument)
        assert answer.reason == "", answer.error
        return json.loads(answer.decode_text() or "null")

    async def tapped(self) -> str:
        """The value of the runtime key by which every request is told of."""
        entries = json.loads(await self.admin._get("/runtime"))["entries"]
        return str(entries.get("mesh.tap", {}).get("final_value", ""))

    async def level(self, logger: str) -> str:
        return str((await self.told("log-level"))["loggers"][logger])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "app.log").write_text("".join(f"served {number}\n" for number in range(50)))
    yield tmp_path


@pytest.fixture
async def proxy(folder: Path) -> AsyncIterator[Proxy]:
    socket = socket_path(folder, "admin.sock")
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    node = BootstrapParams(
        "orders-1", "orders", "mesh.local", ("127.0.0.1", 1), str(socket), "127.0.0.1", free_port()
    )
    whole = build_bootstrap(node)
    alone = {part: whole[part] for part in ("node", "admin", "layered_runtime", "stats_config")}
    (folder / "bootstrap.json").write_text(json.dumps(alone))
    log = (folder / "envoy.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *envoy_command(str(ENVOY), "./bootstrap.json"), cwd=folder, stdout=log, stderr=log, env={}
    )
    log.close()
    admin = EnvoyAdminClient(socket)
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        tasks.add(task)
        return task

    respondent = CommandHandler(
        "orders-1", admin, {"proxy": folder / "envoy.log", "app": folder / "app.log"}, spawn
    )
    try:
        await until(admin.is_ready, "Envoy answers")
        yield Proxy(process.pid, admin, respondent, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await admin.close()
        process.kill()
        await process.wait()


async def test_statistics_are_told_whole_or_in_part(proxy: Proxy) -> None:
    whole = await proxy.told("stats")
    assert whole["proxy"] == "orders-1"
    assert {"server.live", "cluster_manager.active_clusters"} <= whole["stats"].keys()
    some = (await proxy.told("stats", "^cluster_manager\\.active"))["stats"]
    assert some == {"cluster_manager.active_clusters": 0}
    wrong = await proxy.ask("stats", "(")
    assert (wrong.reason, wrong.error) == ("invalid", "Envoy says: Invalid re2 regex: missing ): (")


async def test_logs_are_told_with_their_sources_and_go_on(proxy: Proxy, folder: Path) -> None:
    envoys, apps = (await proxy.told("logs", "lines=2"))["logs"]
    assert (envoys["source"], envoys["file"]) == ("proxy", str(folder / "envoy.log"))
    assert (apps["source"], apps["text"]) == ("app", "served 48\nserved 49\n")
    with (folder / "app.log").open("a") as file:
        file.write("served 50\n")
    after = await proxy.told("logs", f"proxy={envoys['end']}&app={apps['end']}")
    assert after["logs"][1]["text"] == "served 50\n"
    assert (folder / "envoy.log").read_text()[envoys["end"] :].startswith(after["logs"][0]["text"])


async def test_a_configuration_is_told_in_json(proxy: Proxy) -> None:
    (part,) = (await proxy.told("config", "clusters"))["configs"]
    assert part["@type"].endswith("ClustersConfigDump")
    whole = (await proxy.told("config"))["configs"]
    assert whole[0]["bootstrap"]["node"]["id"] == "orders-1"
    assert (await proxy.ask("config", "secrets")).reason == "invalid"


async def test_a_log_level_returns_to_what_it_was(proxy: Proxy, folder: Path) -> None:
    before = await proxy.told("log-level")
    assert (before["level"], before["returns_in"]) == ("warning", None)

    raised = await proxy.told("log-level", "level=debug&logger=admin&seconds=600")
    assert (raised["level"], raised["loggers"]["admin"]) == ("warning", "debug")
    assert 500 < raised["returns_in"] <= 600
    await until(lambda: "[admin]" in (folder / "envoy.log").read_text(), "Envoy logs what it is asked")

    everything = await proxy.told("log-level", "level=info&seconds=5")
    assert everything["loggers"]["admin"] == everything["level"] == "info"

    async def back() -> bool:
        now = await proxy.told("log-level")
        return bool(now["loggers"] == before["loggers"] and now["returns_in"] is None)

    await until(back, "all are as they were at first")


async def test_a_log_level_set_back_by_hand_is_not_put_back_again(proxy: Proxy) -> None:
    await proxy.told("log-level", "level=debug&logger=http&seconds=600")
    assert (await proxy.told("log-level", "level=warning&logger=http"))["returns_in"] is None
    wrong = await proxy.ask("log-level", "level=debug&logger=nosuch")
    assert (wrong.reason, "no such logger: nosuch" in wrong.error) == ("invalid", True)
    assert await proxy.level("http") == "warning"


async def test_a_tap_ends_by_itself_and_the_longest_counts(proxy: Proxy) -> None:
    assert await proxy.tapped() == ""
    await proxy.told("tap", "600")
    await proxy.told("tap", "1")
    assert await proxy.tapped() == "100"
    await proxy.told("tap", "0")
    assert await proxy.tapped() == ""
    await proxy.told("tap", "5")
    assert await proxy.tapped() == "100"

    async def over() -> bool:
        return await proxy.tapped() == ""

    await until(over, "the tap is closed")


async def test_an_envoy_that_hangs_is_told_of_and_put_right_later(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "AGAIN", 0.2)
    await proxy.told("log-level", "level=debug&logger=http&seconds=1")
    os.kill(proxy.pid, signal.SIGSTOP)
    hangs = await proxy.ask("log-level")
    assert (hangs.reason, hangs.error) == ("failed", "the proxy's admin interface does not answer: timeout")
    assert (await proxy.told("logs", "lines=1"))["logs"][1]["text"] == "served 49\n"
    os.kill(proxy.pid, signal.SIGCONT)

    async def back() -> bool:
        return await proxy.level("http") == "warning"

    await until(back, "its level returns once it answers")


async def test_only_what_is_known_is_done_and_only_for_the_own_proxy(proxy: Proxy) -> None:
    strange = await proxy.ask("quitquitquit")
    assert (strange.reason, strange.error) == (
        "invalid", "the agent does not do that: quitquitquit is nothing that this agent knows",
    )  # fmt: skip
    anothers = await proxy.ask("stats", node="catalog-1")
    assert (anothers.reason, "not catalog-1's" in anothers.error) == ("invalid", True)
