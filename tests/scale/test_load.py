"""A control plane under telemetry load: every span is accounted for, and changes still get through."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.envoy.xds_lab import until
from tests.fakes.otlp_sink import otlp_sink
from tests.scale import senders
from tests.scale.changes import changing_endpoints
from tests.scale.plane import control_plane

MEMORY = 450 * 1024 * 1024
"""Bytes. A control plane needs 100 MB, plus 64 MB for traces and 64 MB for forwarding, plus a margin."""


def total(metrics: Counter[str], name: str) -> int:
    """The sum of a counter over all its labels."""
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def processed_spans(metrics: Counter[str]) -> int:
    """Spans that were stored or dropped."""
    return total(metrics, "mesh_spans_total") + total(metrics, "mesh_spans_dropped_total")


def forwarded_spans(metrics: Counter[str]) -> int:
    """Spans that were forwarded, or counted as not forwarded."""
    return sum(
        value
        for key, value in metrics.items()
        if key.startswith(("mesh_forward_sent_total", "mesh_forward_dropped_total"))
        and 'signal="traces"' in key
    )


async def test_everything_is_accounted_for_under_load(tmp_path: Path) -> None:
    with otlp_sink() as collector, control_plane(tmp_path, MESH_OTLP_FORWARD=collector.address) as plane:
        async with changing_endpoints(plane, 5) as changes:
            load = senders.start(plane.pki, plane.addresses.otlp, seconds=6, spans=2_000)
            latencies = await changes.for_seconds(6)
            sent = await asyncio.to_thread(senders.finish, load, 60)
        assert len(latencies) >= 5
        assert sent["traces"] >= 2_000 * 5
        accepted = sent["traces"] - sent["traces RESOURCE_EXHAUSTED"]
        await until(lambda: processed_spans(plane.metrics()) == accepted)
        await until(lambda: forwarded_spans(plane.metrics()) == accepted)
        metrics = plane.metrics()
        assert collector.spans.total() == metrics['mesh_forward_sent_total{signal="traces"}']
        assert set(collector.spans.values()) == {1}
        assert total(metrics, "mesh_spans_dropped_total") == 0
        assert metrics['mesh_telemetry_received_total{signal="metrics"}'] == sent["metrics"] >= 200
        assert metrics["mesh_traces_kept"] <= 20_000
        assert plane.rss_bytes < MEMORY
