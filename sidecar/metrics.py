"""One workload as metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from meshwright.sidecar.status import WorkloadStatus


def workload_metrics(one: WorkloadStatus, memory: Mapping[str, int]) -> Iterator[Metric]:
    """The metrics of a workload; `memory` has the resident bytes of its processes and the agent's."""
    phase = GaugeMetricFamily("mesh_agent_phase", "1 for the phase the workload is in.", labels=["phase"])
    phase.add_metric([one.phase], 1)
    yield phase
    yield GaugeMetricFamily(
        "mesh_agent_healthy", "Whether its app is healthy (a gateway: whether it runs).", value=one.available
    )
    yield GaugeMetricFamily(
        "mesh_agent_trouble", "Whether something is wrong with it; its log says what.", value=bool(one.error)
    )
    yield GaugeMetricFamily(
        "mesh_agent_certificate_expiry_timestamp_seconds",
        "When its certificate ends, in seconds since the epoch; 0: it has none.",
        value=one.expires,
    )
    starts = CounterMetricFamily(
        "mesh_agent_process_starts", "How often each of its processes was started.", labels=["process"]
    )
    for name, count in sorted(one.starts.items()):
        starts.add_metric([name], count)
    yield starts
    resident = GaugeMetricFamily(
        "mesh_agent_process_resident_memory_bytes", "What each process holds.", labels=["process"]
    )
    for name, size in sorted(memory.items()):
        resident.add_metric([name], size)
    yield resident
