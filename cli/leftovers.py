"""What a killed `mesh up` left running: its supervisors are stopped, what serves requests goes on.

Store, control plane and agent belong to their `mesh up`: the next one starts its own. Envoys and apps are
taken over by the new agent, so that requests go on meanwhile.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.orphans import find_orphans, reap_orphans, remove_proxy_traces

AGENT_GRACE = 75.0
"""Seconds that the agent has to drain everything: a little more than its own limit."""

_AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was `stopped`, and what is `serving` until the new agent takes it over."""

    stopped: tuple[ProcessRecord, ...] = ()
    serving: tuple[ProcessRecord, ...] = ()


def stop_leftovers(state: Path, workloads: Collection[str]) -> Leftovers:
    """Stop what an earlier start left, but the Envoys and apps of `workloads`. Blocks until it has ended."""
    # The agent first and without a drain: on SIGTERM it would stop everything that it supervises.
    stopped = reap_orphans(state, names=(_AGENT,), signals=(signal.SIGKILL,))
    keep = {name for workload in workloads for name in (workload, f"{workload}.proxy")}
    others = {record.name for record, _ in find_orphans(state)} - keep
    stopped += reap_orphans(state, names=others)
    remove_proxy_traces(state)
    return Leftovers(tuple(stopped), tuple(record for record, _ in find_orphans(state)))


def stop_all(state: Path) -> list[ProcessRecord]:
    """Stop everything that an earlier start left: first the agent, which drains what it supervises."""
    stopped = [*reap_orphans(state, AGENT_GRACE, names=(_AGENT,)), *reap_orphans(state)]
    remove_proxy_traces(state)
    return stopped
