"""Starts and stops a mesh on this host: store, control plane and agent, in this order and back.

Each is a supervised child process with a log. The agent in turn supervises the Envoys and the services.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from meshwright.cli.agent_config import agent_config
from meshwright.cli.application import GatewayEntry
from meshwright.cli.documents import load_documents
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.leftovers import AGENT_GRACE, stop_leftovers
from meshwright.cli.options import author
from meshwright.cli.progress import ReportProgress
from meshwright.cli.python_module import module_command
from meshwright.cli.readiness import Readiness
from meshwright.cli.reconcile.applied import APPLIED_FILE, AppliedApplication
from meshwright.cli.reconcile.changes import with_names_of
from meshwright.cli.reconcile.policies import policy_notes
from meshwright.cli.state_lock import remove_abandoned_instances
from meshwright.cli.workload_tokens import write_join_tokens
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.store import embedded
from meshwright.sidecar.child_process import Program
from meshwright.sidecar.config import AGENT_CONFIG_FILE, Workload, load_config
from meshwright.sidecar.files import write_private
from meshwright.sidecar.orphans import find_orphans
from meshwright.sidecar.status import AgentStatus
from meshwright.sidecar.supervisor import Supervisor

STOP_GRACE = 10.0
"""Seconds that the store and the control plane have to stop."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What to start. `timeout` is how many seconds everything has to become ready. `policies`: apply those of
    the application also to a mesh that had some before. `resumed`: a `mesh up` goes on in place of another
    one, so that what is not ready stops nothing."""

    applied: AppliedApplication
    settings: Settings
    timeout: float = 60.0
    policies: bool = False
    resumed: bool = False

    @property
    def gateways(self) -> tuple[GatewayEntry, ...]:
        """The gateways to start."""
        return self.applied.application.spec.gateways

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Everything that the agent is to run: what an earlier start left running keeps its name."""
        state = self.settings.state
        serving = {record.name for record, _ in find_orphans(state)}
        with suppress(OSError, ValueError, InputError):
            before = load_config(state / AGENT_CONFIG_FILE).workloads
            left = [item for item in before if item.name in serving or f"{item.name}.proxy" in serving]
            return with_names_of(left, self.applied.workloads(state))
        return self.applied.workloads(state)

    def documents(self) -> list[SourcedDocument]:
        """The policies of the application; raises InputError."""
        paths = self.applied.policy_paths
        return load_documents(paths) if paths else []

    @property
    def workload_names(self) -> frozenset[str]:
        """The names of everything that the agent is to run."""
        return frozenset(workload.name for workload in self.workloads)


class MeshLauncher:
    """A mesh on this host. `up` returns when it is ready; call `down` in any case."""

    def __init__(self, plan: LaunchPlan, report: ReportProgress) -> None:
        self._plan = plan
        self._report = report
        self._state = plan.settings.state
        self._supervisors: list[Supervisor] = []
        self._exits: dict[str, str] = {}
        self._readiness = Readiness(self._state, plan.timeout, report, self._exits)

    async def up(self) -> None:
        """Start everything and wait until it is ready; raises CommandError with the cause."""
        self._readiness.begin()
        left = await asyncio.to_thread(stop_leftovers, self._state, self._plan.workload_names)
        for record in (*left.stopped, *await asyncio.to_thread(remove_abandoned_instances, self._state)):
            self._report("off", record.name, f"left over from an earlier start (pid {record.pid}), stopped")
        if left.serving:
            names = ", ".join(record.name for record in left.serving)
            self._report("off", "earlier start", f"its processes go on: {names}")
        # What a resumed one is to run is known nowhere else.
        for name in ("mesh.json", "agent.json", *(() if self._plan.resumed else (APPLIED_FILE,))):
            (self._state / name).unlink(missing_ok=True)
        await self._start_store()
        addresses = await self._start_control_plane()
        await self._apply_initial_policies()
        await self._start_agent(addresses)

    async def down(self) -> None:
        """Stop everything that was started, in reverse order."""
        for supervisor in reversed(self._supervisors):
            await supervisor.stop()
        (self._state / "mesh.json").unlink(missing_ok=True)

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
        await self._readiness.until(ready.done, "store")
        await ready
        self._report("good", "store", "embedded Valkey is ready")

    async def _start_control_plane(self) -> MeshAddresses:
        path = self._state / "mesh.json"
        self._start("control-plane", module_command("control_plane"), STOP_GRACE)
        await self._readiness.until(path.exists, "control-plane")
        addresses = MeshAddresses.model_validate_json(read_private(path))
        self._report("good", "control-plane", f"admin API {addresses.admin}, xDS {addresses.xds}")
        return addresses

    async def _apply_initial_policies(self) -> None:
        """Apply the policies of the application to a mesh that never had any, or where that was asked for.

        Says what else is in force: a state directory keeps the policies of what ran before.
        """
        documents = self._plan.documents()
        if self._plan.policies or await self._has_no_revision():
            await self._apply(documents)
        if not self._plan.resumed:
            in_force = (await self._call(calls.policies()))["documents"]
            for note in policy_notes(documents, in_force, self._plan.applied.file):
                self._report("partial", "policies", note)

    async def _apply(self, documents: list[SourcedDocument]) -> None:
        if not documents:
            return
        applied = await self._call(
            calls.apply(documents, calls.ChangeOptions(message="mesh up", author=author()))
        )
        count = f"{len(documents)} {'document' if len(documents) == 1 else 'documents'}"
        self._report("good", "policies", f"{count}, revision {applied['revision']}")

    async def _has_no_revision(self) -> bool:
        return not (await self._call(calls.history(limit=1)))["revisions"]

    async def _start_agent(self, addresses: MeshAddresses) -> None:
        plan, settings = self._plan, self._plan.settings
        for name in ("data", "tokens"):
            private_folder(self._state / name)
        items = plan.workloads
        await asyncio.to_thread(write_join_tokens, items, self._state)
        config = agent_config(settings, self._state, addresses, *items)
        path = self._state / AGENT_CONFIG_FILE
        write_private(path, config.model_dump_json(indent=1))
        self._start("agent", module_command("sidecar", "--config", str(path)), AGENT_GRACE)
        await self._until_healthy([item.name for item in items])
        plan.applied.save(self._state)

    async def _until_healthy(self, names: list[str]) -> None:
        """Wait for the workloads. What was not healthy before a resumed start need not be so after it."""
        try:
            await self._readiness.until_healthy(names)
        except CommandError as error:
            if not self._plan.resumed or "agent" in self._exits:
                raise
            self._report("bad", "not ready", str(error))

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

    async def _call(self, call: calls.ApiCall) -> Any:
        return await asyncio.to_thread(call_api, call, self._state)

    def agent_status(self) -> AgentStatus | None:
        """The agent's status file; None before it is written."""
        return self._readiness.agent_status()
