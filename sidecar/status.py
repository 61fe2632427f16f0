"""What the agent says of its workloads, in `agent.json` and on its control socket."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel


class WorkloadStatus(ApiModel):
    """One workload. `phase` as in `lifecycle.Phase`; `error` is the last thing that went wrong and still is.

    `expires` is the end of its certificate in seconds since the epoch, `starts` how often each of its
    processes was started. `pids` has `app` and `proxy` while they run; `ports` has `outbound`, `inbound`,
    `ready`, `app.<name>` and `gateway.<listener>`; `logs` are the files to look into, the app's first.
    """

    name: str
    role: str
    service: str
    phase: str
    healthy: bool
    error: str = ""
    expires: float = 0.0
    starts: dict[str, int] = Field(default_factory=dict)
    pids: dict[str, int] = Field(default_factory=dict)
    ports: dict[str, int] = Field(default_factory=dict)
    logs: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether it is healthy; a gateway has no app, so it is when it runs."""
        return self.healthy or (self.role == "gateway" and self.phase == "running")


class AgentStatus(ApiModel):
    """All of them, in the order of the configuration."""

    pid: int
    workloads: tuple[WorkloadStatus, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether every workload is up and healthy."""
        return bool(self.workloads) and all(workload.healthy for workload in self.workloads)
