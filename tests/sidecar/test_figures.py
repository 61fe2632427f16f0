"""A workload as metrics of its agent."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from meshwright.sidecar.metrics import workload_metrics
from meshwright.sidecar.status import WorkloadStatus


def told(one: WorkloadStatus, **memory: int) -> dict[tuple[str, ...], float]:
    found: list[Metric] = list(workload_metrics(one, memory))
    return {
        (sample.name, *sample.labels.values()): sample.value for family in found for sample in family.samples
    }


def test_a_service_is_told_with_its_processes() -> None:
    one = WorkloadStatus(
        name="orders-1",
        role="service",
        service="orders",
        phase="running",
        healthy=True,
        expires=1.9e9,
        starts={"app": 3, "proxy": 1},
    )
    found = told(one, app=5000, proxy=7000)
    assert found["mesh_agent_phase", "running"] == 1
    assert found["mesh_agent_healthy",] == 1
    assert found["mesh_agent_trouble",] == 0
    assert found["mesh_agent_certificate_expiry_timestamp_seconds",] == 1.9e9
    assert found["mesh_agent_process_starts_total", "app"] == 3
    assert found["mesh_agent_process_resident_memory_bytes", "proxy"] == 7000


def test_a_gateway_is_well_when_it_runs() -> None:
    one = WorkloadStatus(name="in", role="gateway", service="in", phase="running", healthy=False, error="x")
    assert told(one)["mesh_agent_healthy",] == 1
    assert told(one)["mesh_agent_trouble",] == 1
    assert told(one.model_copy(update={"phase": "draining"}))["mesh_agent_healthy",] == 0
