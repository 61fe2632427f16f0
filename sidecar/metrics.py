"""The agent's Prometheus metrics of one workload. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from meshwright.control_plane.api.software_version import VERSION
from meshwright.sidecar.status import WorkloadStatus


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process uses: resident memory in bytes, and the CPU time since its start in seconds."""

    memory: int
    cpu_seconds: float


def workload_metrics(workload: WorkloadStatus, usage: Mapping[str, ProcessUsage]) -> Iterator[Metric]:
    """The metrics of a workload. `usage` has those of the agent and of each child process."""
    info = GaugeMetricFamily("mesh_agent_info", "Always 1, with the agent's version.", labels=["version"])
    info.add_metric([VERSION], 1)
    yield info
    phase = GaugeMetricFamily("mesh_agent_phase", "1 for the workload's current phase.", labels=["phase"])
    phase.add_metric([workload.phase], 1)
    yield phase
    yield GaugeMetricFamily(
        "mesh_agent_healthy",
        "Whether the app is healthy; for a gateway, whether it runs.",
        value=workload.available,
    )
    yield GaugeMetricFamily(
        "mesh_agent_error", "Whether the workload has an error; see its log.", value=bool(workload.error)
    )
    yield GaugeMetricFamily(
        "mesh_agent_certificate_expiry_timestamp_seconds",
        "Expiry of the workload's certificate, in seconds since the epoch; 0 without one.",
        value=workload.expires,
    )
    starts = CounterMetricFamily(
        "mesh_agent_process_starts", "Starts of each of the workload's processes.", labels=["process"]
    )
    for name, count in sorted(workload.starts.items()):
        starts.add_metric([name], count)
    yield starts
    yield from _usage_metrics(usage)


def _usage_metrics(usage: Mapping[str, ProcessUsage]) -> Iterator[Metric]:
    resident = GaugeMetricFamily(
        "mesh_agent_process_resident_memory_bytes", "Resident memory of each process.", labels=["process"]
    )
    cpu = CounterMetricFamily(
        "mesh_agent_process_cpu_seconds", "CPU time of each process, user and system.", labels=["process"]
    )
    for name, used in sorted(usage.items()):
        resident.add_metric([name], used.memory)
        cpu.add_metric([name], used.cpu_seconds)
    yield resident
    yield cpu
