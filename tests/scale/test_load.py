"""A control plane under a load of telemetry: all is accounted for, and changes go on getting through."""

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
"""Bytes that a control plane may have: 100 of its own, 64 for traces, as much to forward, and air."""


def of(counted: Counter[str], name: str) -> int:
    """A counter's sum over all its labels."""
    return sum(value for key, value in counted.items() if key.partition("{")[0] == name)


def spans_known(counted: Counter[str]) -> int:
    """Spans that were kept or dropped by themselves."""
    return of(counted, "mesh_spans_total") + of(counted, "mesh_spans_dropped_total")


def forwarded(counted: Counter[str]) -> int:
    """Spans that were passed on, or that were counted as not."""
    return sum(
        value
        for key, value in counted.items()
        if key.startswith(("mesh_forward_sent_total", "mesh_forward_dropped_total"))
        and 'signal="traces"' in key
    )


async def test_everything_is_accounted_for_under_load(tmp_path: Path) -> None:
    with otlp_sink() as collector, control_plane(tmp_path, MESH_OTLP_FORWARD=collector.address) as plane:
        async with changing_endpoints(plane, 5) as changes:
            load = senders.start(plane.pki, plane.addresses.otlp, seconds=6, spans=2_000)
            took = await changes.for_seconds(6)
            sent = await asyncio.to_thread(senders.finish, load, 60)
        assert len(took) >= 5
        assert sent["traces"] >= 2_000 * 5
        taken = sent["traces"] - sent["traces RESOURCE_EXHAUSTED"]
        await until(lambda: spans_known(plane.metrics()) == taken)
        await until(lambda: forwarded(plane.metrics()) == taken)
        counted = plane.metrics()
        assert collector.spans.total() == counted['mesh_forward_sent_total{signal="traces"}']
        assert set(collector.spans.values()) == {1}
        assert of(counted, "mesh_spans_dropped_total") == 0
        assert counted['mesh_telemetry_received_total{signal="metrics"}'] == sent["metrics"] >= 200
        assert counted["mesh_traces_kept"] <= 20_000
        assert plane.rss_bytes < MEMORY
