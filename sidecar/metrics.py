"""The agent's Prometheus metrics of one workload. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from meshwright.sidecar.status import WorkloadStatus


def workload_metrics(workload: WorkloadStatus, memory: Mapping[str, int]) -> Iterator[Metric]:
    """The metrics of a workload. `memory` has the resident bytes of the agent and of each child process."""
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
    resident = GaugeMetricFamily(
        "mesh_agent_process_resident_memory_bytes", "Resident memory of each process.", labels=["process"]
    )
    for name, size in sorted(memory.items()):
        resident.add_metric([name], size)
    yield resident
