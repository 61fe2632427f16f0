"""The agent's status, as written to `agent.json` and served on its control socket."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel


class WorkloadStatus(ApiModel):
    """One workload. `phase` is a `lifecycle.Phase`; `error` is what is wrong at present, empty if nothing.

    `reason` is why it is unhealthy, `starting` whether its app still has time to become healthy. `expires` is
    the expiry of its certificate in seconds since the epoch, `starts` the number of starts of each process.
    `pids` has `app` and `proxy` while they run. `ports` has `outbound`, `inbound`, `ready`,
    `app.<name>` and `gateway.<listener>`. `logs` are paths of log files, the app's first.
    """

    name: str
    role: str
    service: str
    phase: str
    healthy: bool
    error: str = ""
    reason: str = ""
    starting: bool = False
    expires: float = 0.0
    starts: dict[str, int] = Field(default_factory=dict)
    pids: dict[str, int] = Field(default_factory=dict)
    ports: dict[str, int] = Field(default_factory=dict)
    logs: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether it is healthy. A gateway has no app, so running is enough."""
        return self.healthy or (self.role == "gateway" and self.phase == "running")


class AgentStatus(ApiModel):
    """All workloads, in the order of the configuration. `version` is the agent's release."""

    pid: int
    version: str = ""
    workloads: tuple[WorkloadStatus, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether there are workloads and all of them are healthy."""
        return bool(self.workloads) and all(workload.healthy for workload in self.workloads)
