"""Starts and stops a mesh on this host: store, control plane and agent, in this order and back.

Each is a supervised child process with a log. The agent in turn supervises the Envoys and the services.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meshwright.cli.application import Application, InstanceSpec, workloads
from meshwright.cli.documents import load_documents
from meshwright.cli.envoy_binary import envoy_binary
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.leftovers import AGENT_GRACE, stop_leftovers
from meshwright.cli.options import author
from meshwright.cli.output import Level
from meshwright.cli.python_module import module_command
from meshwright.cli.startup_problem import StartupProblem
from meshwright.cli.state_lock import remove_abandoned_instances
from meshwright.cli.token import AGENT_TOKEN_TTL, write_secret
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import MeshError
from meshwright.control_plane.store import embedded
from meshwright.sidecar.child_process import Program, log_path
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.files import tail, write_private
from meshwright.sidecar.status import AgentStatus, WorkloadStatus
from meshwright.sidecar.supervisor import Supervisor

POLL_INTERVAL = 0.1

STOP_GRACE = 10.0
"""Seconds that the store and the control plane have to stop."""

LOG_LINES = 12
"""Lines of each log in an error message."""

STORE_ADVICE = "if the log names the append only file (AOF), `mesh store repair` cuts the damaged end off"

_CONFIGURED_STATES = ("synced", "rejected")
"""States of a proxy that has responded to its whole configuration."""

ReportProgress = Callable[[Level, str, str], None]
"""Reports the progress of one part: level, name, message."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What to start. `timeout` is how many seconds everything has to become ready."""

    application: Application
    file: Path
    instances: tuple[InstanceSpec, ...]
    settings: Settings
    timeout: float = 60.0


class MeshLauncher:
    """A mesh on this host. `up` returns when it is ready; call `down` in any case."""

    def __init__(self, plan: LaunchPlan, report: ReportProgress) -> None:
        self._plan = plan
        self._report = report
        self._state = plan.settings.state
        self._supervisors: list[Supervisor] = []
        self._exits: dict[str, str] = {}
        self._deadline = 0.0

    async def up(self) -> None:
        """Start everything and wait until it is ready; raises CommandError with the cause."""
        self._deadline = time.monotonic() + self._plan.timeout
        left = await asyncio.to_thread(stop_leftovers, self._state, self._workload_names())
        for record in (*left.stopped, *await asyncio.to_thread(remove_abandoned_instances, self._state)):
            self._report("off", record.name, f"left over from an earlier start (pid {record.pid}), stopped")
        if left.serving:
            names = ", ".join(record.name for record in left.serving)
            self._report("off", "earlier start", f"its processes go on: {names}")
        (self._state / "mesh.json").unlink(missing_ok=True)
        (self._state / "agent.json").unlink(missing_ok=True)
        await self._start_store()
        addresses = await self._start_control_plane()
        await self._apply_initial_policies()
        await self._start_agent(addresses)

    async def down(self) -> None:
        """Stop everything that was started, in reverse order."""
        for supervisor in reversed(self._supervisors):
            await supervisor.stop()
        (self._state / "mesh.json").unlink(missing_ok=True)

    def _workload_names(self) -> frozenset[str]:
        gateways = (gateway.name for gateway in self._plan.application.spec.gateways)
        return frozenset((*gateways, *(item.name for item in self._plan.instances)))

    # --- parts ------------------------------------------------------------------------------------

    async def _start_store(self) -> None:
        if self._plan.settings.redis_url:
            self._report("good", "store", "MESH_REDIS_URL")
            return
        store = embedded.prepare(self._state)
        if await asyncio.to_thread(embedded.is_running, store):
            raise CommandError(
                errors.FAILED,
                f"{store.socket}: a Valkey that this mesh did not start is using {store.folder}: stop it",
            )
        self._start("store", store.argv, STOP_GRACE)
        ready = asyncio.create_task(embedded.wait_ready(store, self._plan.timeout))
        await self._wait_until(ready.done, "store")
        await ready
        self._report("good", "store", "embedded Valkey is ready")

    async def _start_control_plane(self) -> MeshAddresses:
        path = self._state / "mesh.json"
        self._start("control-plane", module_command("control_plane"), STOP_GRACE)
        await self._wait_until(path.exists, "control-plane")
        addresses = MeshAddresses.model_validate_json(read_private(path))
        self._report("good", "control-plane", f"admin API {addresses.admin}, xDS {addresses.xds}")
        return addresses

    async def _apply_initial_policies(self) -> None:
        """Apply the policies of the application to a mesh that never had any."""
        spec = self._plan.application.spec
        if not spec.policies or (await self._call(calls.history(limit=1)))["revisions"]:
            return
        folder = self._plan.file.parent
        documents = load_documents([str(folder / path) for path in spec.policies])
        options = calls.ChangeOptions(base=0, message="first start", author=author())
        applied = await self._call(calls.apply(documents, options))
        count = f"{len(documents)} {'document' if len(documents) == 1 else 'documents'}"
        self._report("good", "policies", f"{count}, revision {applied['revision']}")

    async def _start_agent(self, addresses: MeshAddresses) -> None:
        plan, settings = self._plan, self._plan.settings
        tokens = private_folder(self._state / "tokens")
        environment = {"DATA_DIR": str(private_folder(self._state / "data"))}
        folder = plan.file.absolute().parent
        items = workloads(plan.application.spec, plan.instances, folder, tokens, environment)
        for role, name in sorted({(item.role, item.service) for item in items}):
            created = await self._call(calls.create_token(role, name, AGENT_TOKEN_TTL))
            write_secret(tokens / name, f"{created['token']}\n")
        config = AgentConfig(
            addresses=addresses,
            state=self._state,
            envoy=envoy_binary(),
            bind=settings.bind,
            advertise=settings.advertise,
            trust_domain=settings.trust_domain,
            otlp=os.environ.get("MESH_OTLP", ""),
            proxy_credential=settings.proxy_credential == "on",
            drain_delay=settings.drain_delay,
            certificates=settings.certificate_folder,
            workloads=items,
        )
        path = self._state / "agent-config.json"
        write_private(path, config.model_dump_json(indent=1))
        self._start("agent", module_command("sidecar", "--config", str(path)), AGENT_GRACE)
        await self._wait_all_ready([item.name for item in items])

    def _start(self, name: str, argv: tuple[str, ...], grace: float) -> None:
        environment = {**os.environ, "MESH_STATE": str(self._state)}
        program = Program(name, argv, environment, grace=grace)
        supervisor = Supervisor(
            name, lambda: program, self._state, lambda reason: self._on_exit(name, reason)
        )
        self._supervisors.append(supervisor)
        supervisor.start()

    def _on_exit(self, name: str, reason: str) -> None:
        self._exits[name] = reason
        self._report("bad", name, f"{reason}; restarting")

    # --- waiting ----------------------------------------------------------------------------------

    async def _call(self, call: calls.ApiCall) -> Any:
        return await asyncio.to_thread(call_api, call, self._state)

    async def _wait_until(self, condition: Callable[[], bool], part: str) -> None:
        """Wait for a condition; raises CommandError if the part exits or time runs out."""
        while not condition():
            if part in self._exits:
                raise self._failure(part, self._exits[part])
            if time.monotonic() > self._deadline:
                raise self._failure(part, f"not ready after {self._plan.timeout:g} s")
            await asyncio.sleep(POLL_INTERVAL)

    async def _wait_all_ready(self, names: list[str]) -> None:
        """Wait until every workload is healthy and every sidecar has responded to its configuration."""
        pending = dict.fromkeys(names, StartupProblem())
        while pending:
            proxies = await self._proxies()
            for workload in self._workloads():
                if workload.name in pending:
                    proxy = proxies.get((workload.service, workload.name), {})
                    self._observe(workload, proxy, pending)
            late = next(iter(pending), None)
            if late and time.monotonic() > self._deadline:
                reason = pending[late].last_error or self._phase(late)
                raise self._failure(late, f"not ready after {self._plan.timeout:g} s: {reason}")
            if "agent" in self._exits:
                raise self._failure("agent", self._exits["agent"])
            await asyncio.sleep(POLL_INTERVAL)

    def _observe(
        self, workload: WorkloadStatus, proxy: dict[str, Any], pending: dict[str, StartupProblem]
    ) -> None:
        """Update `pending` by the state of a workload; raises CommandError if it cannot become ready."""
        name = workload.name
        if workload.healthy and proxy.get("state") in _CONFIGURED_STATES:
            del pending[name]
            self._report_ready(name, proxy)
            return
        if workload.phase == "starting app" and "app" in workload.pids:
            # The app runs and may use all the time there is: only the deadline ends this.
            pending[name] = replace(pending[name], last_error=workload.error)
            return
        now = time.monotonic()
        pending[name] = pending[name].observe(workload.error or proxy.get("error", ""), now)
        if pending[name].is_permanent(now):
            raise self._failure(name, pending[name].last_error)

    def _report_ready(self, name: str, proxy: dict[str, Any]) -> None:
        """A policy that Envoy rejects does not stop the start: otherwise nobody could roll it back."""
        if proxy["state"] == "synced":
            self._report("good", name, "healthy, sidecar synced")
        else:
            self._report("partial", name, f"healthy, but its Envoy rejects configuration: {proxy['error']}")

    async def _proxies(self) -> dict[tuple[str, str], Any]:
        """Every proxy by service and name."""
        with suppress(MeshError):
            proxies = (await self._call(calls.status()))["proxies"]
            return {(proxy["service"], proxy["name"]): proxy for proxy in proxies}
        return {}

    def agent_status(self) -> AgentStatus | None:
        """The agent's status file; None before it is written."""
        try:
            return AgentStatus.model_validate_json((self._state / "agent.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _workloads(self) -> tuple[WorkloadStatus, ...]:
        status = self.agent_status()
        return status.workloads if status else ()

    def _phase(self, name: str) -> str:
        phases = [workload.phase for workload in self._workloads() if workload.name == name]
        return phases[0] if phases else "the agent has not started it yet"

    def _failure(self, name: str, reason: str) -> CommandError:
        """An error with the last lines of the part's logs."""
        logs = [Path(log) for item in self._workloads() if item.name == name for log in item.logs]
        lines = [f"{name}: {reason}"]
        for log in logs or [log_path(self._state, name)]:
            end = tail(log, LOG_LINES)
            lines += [f"--- end of {log}", end] if end else []
        lines += [STORE_ADVICE] if name == "store" else []
        return CommandError(errors.FAILED, "\n".join(lines))
