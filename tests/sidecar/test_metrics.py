"""The agent's metrics of one workload."""

from __future__ import annotations

from meshwright.control_plane.api.software_version import VERSION
from meshwright.sidecar.metrics import ProcessUsage, workload_metrics
from meshwright.sidecar.status import WorkloadStatus


def samples(workload: WorkloadStatus, **usage: ProcessUsage) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in workload_metrics(workload, usage)
        for sample in metric.samples
    }


def test_service_has_its_state_and_its_processes() -> None:
    workload = WorkloadStatus(
        name="orders-1",
        role="service",
        service="orders",
        phase="running",
        healthy=True,
        expires=1.9e9,
        starts={"app": 3, "proxy": 1},
    )
    metrics = samples(workload, app=ProcessUsage(5000, 1.0), proxy=ProcessUsage(7000, 2.5))
    assert metrics["mesh_agent_phase", "running"] == 1
    assert metrics["mesh_agent_healthy",] == 1
    assert metrics["mesh_agent_error",] == 0
    assert metrics["mesh_agent_certificate_expiry_timestamp_seconds",] == 1.9e9
    assert metrics["mesh_agent_process_starts_total", "app"] == 3
    assert metrics["mesh_agent_process_resident_memory_bytes", "proxy"] == 7000
    assert metrics["mesh_agent_process_cpu_seconds_total", "proxy"] == 2.5
    assert metrics["mesh_agent_info", VERSION] == 1


def test_gateway_is_healthy_while_it_runs() -> None:
    gateway = WorkloadStatus(
        name="in", role="gateway", service="in", phase="running", healthy=False, error="x"
    )
    assert samples(gateway)["mesh_agent_healthy",] == 1
    assert samples(gateway)["mesh_agent_error",] == 1
    assert samples(gateway.model_copy(update={"phase": "draining"}))["mesh_agent_healthy",] == 0
