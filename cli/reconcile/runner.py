"""Makes the changes of a plan, one after the other, so that callers always have an instance to send to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.progress import ReportProgress
from meshwright.cli.readiness import Readiness
from meshwright.cli.reconcile.changes import Change, plan_changes
from meshwright.cli.state_lock import StateLock
from meshwright.cli.workload_tokens import write_join_tokens
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError, MeshError
from meshwright.sidecar import control_client
from meshwright.sidecar.config import AGENT_CONFIG_FILE, AgentConfig, Workload, load_config

STOP_TIMEOUT = 120.0
"""Seconds that an instance has to drain and stop: more than all its limits together."""


@contextmanager
def changing(state: Path) -> Iterator[None]:
    """Only one command at a time changes what a mesh runs; raises InputError if another one does."""
    lock = StateLock(state / "changes", "another change", "wait until it is done")
    try:
        yield
    finally:
        lock.release()


def running_workloads(state: Path) -> tuple[Workload, ...]:
    """What the agent of a running mesh runs, healthy ones first; raises InputError if it does not respond."""
    try:
        status = control_client.fetch_status(state)
        config: AgentConfig = load_config(state / AGENT_CONFIG_FILE)
    except (OSError, ValueError):
        raise InputError(
            f"{state}: the mesh here is starting or stopping: see `mesh status`, and try again"
        ) from None
    healthy = {item.name for item in status.workloads if item.healthy}
    return tuple(sorted(config.workloads, key=lambda item: item.name not in healthy))


def changes_to(
    desired: Sequence[Workload],
    running: Sequence[Workload],
    state: Path,
    reasons: Mapping[str, str] | None = None,
) -> tuple[Change, ...]:
    """The changes from what runs to `desired` (see `plan_changes`)."""
    instances = call_api(calls.instances(), state)["instances"]
    return plan_changes(running, desired, taken={item["name"] for item in instances}, reasons=reasons)


class ChangeRunner:
    """Makes changes to the running mesh of a state directory.

    Each step has `timeout` seconds until what it starts is ready. What does not become ready is stopped
    again, and no later step is taken; what it was to replace goes on.
    """

    def __init__(self, state: Path, timeout: float, report: ReportProgress) -> None:
        self._state = state
        self._report = report
        self._readiness = Readiness(state, timeout, report, {})

    async def run(self, changes: Sequence[Change]) -> None:
        """Make the changes in their order, starts at once; raises CommandError for the first that fails."""
        new = [change.new for change in changes if change.new]
        await asyncio.to_thread(write_join_tokens, new, self._state)
        for is_start, group in groupby(changes, lambda change: change.action == "start"):
            if is_start:
                await self._start([change.new for change in group if change.new])
            else:
                for change in group:
                    await self._make(change)

    async def _make(self, change: Change) -> None:
        if change.new is None:
            await self._stop(change.subject.name)
        elif change.action == "replace":
            await self._start([change.new])
            await self._stop(change.subject.name)
        else:
            await self._stop(change.subject.name)
            await self._start([change.new], keep=True)

    async def _start(self, workloads: Sequence[Workload], *, keep: bool = False) -> None:
        """Start instances and wait until all callers send to them. `keep` what does not become healthy."""
        self._readiness.begin()
        for workload in workloads:
            await self._ask_agent(control_client.start_workload, self._state, workload)
        try:
            await self._readiness.until_healthy([workload.name for workload in workloads])
        except CommandError as error:
            stopped = [] if keep else await self._give_up(workloads)
            if not stopped:
                raise
            names = ", ".join(stopped)
            advice = f"{names}: stopped again; what it was to replace goes on, later changes were not made"
            raise CommandError(error.exit_code, f"{error}\n{advice}") from None
        for workload in workloads:
            if workload.role == "service":
                await self._readiness.until_served(workload.service, workload.name)

    async def _give_up(self, workloads: Sequence[Workload]) -> list[str]:
        """Stop again what did not become healthy; the names."""
        status = self._readiness.agent_status()
        healthy = {item.name for item in status.workloads if item.healthy} if status else set()
        failed = [workload.name for workload in workloads if workload.name not in healthy]
        for name in failed:
            await self._stop(name)
        return failed

    async def _stop(self, name: str) -> None:
        self._report("partial", name, "draining")
        await self._ask_agent(control_client.stop_workload, self._state, name, STOP_TIMEOUT)
        self._report("off", name, "stopped")

    async def _ask_agent(self, request: Callable[..., None], *arguments: object) -> None:
        try:
            await asyncio.to_thread(request, *arguments)
        except (OSError, ValueError) as error:
            raise CommandError(errors.FAILED, f"the agent of this mesh: {error}") from None


def forget_services(changes: Sequence[Change], desired: Collection[str], state: Path) -> None:
    """Remove from the mesh the services that the application does not have any more.

    Those with instances elsewhere stay.
    """
    stopped = {change.subject.service for change in changes if change.action == "stop"}
    for service in sorted(stopped - set(desired)):
        with suppress(MeshError):
            call_api(calls.forget_service(service), state)
