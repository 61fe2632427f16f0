"""The cost of telemetry ingestion: processing alone, and through the port of a control plane.

`python -m bench.intake [--spans 300000] [--seconds 15] [--json FILE]`

Processing: exports of Envoy spans (14 attributes, ten to a trace) and flushes of metrics (10 clusters) go
through the handlers in slices, as in the port's server. It prints CPU time per span, spans per second of one
core, CPU time of the slices, and memory per stored span; then the cost of splitting spans for export.
Through the port: 5,000 spans per second and the metrics of 100 sidecars over mutual TLS, with the control
plane's CPU time and memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.background import GC_THRESHOLDS
from meshwright.control_plane.telemetry.export.queue import ResourceChunk
from meshwright.control_plane.telemetry.export.split import split
from meshwright.control_plane.telemetry.ingest.server import SLICE_SECONDS
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.fakes.pki import DOMAIN
from tests.scale import senders
from tests.scale.plane import control_plane

BATCH, NODES, FLUSHES, RATE = 200, 100, 30, 5_000


class Slices:
    """Runs handlers as the server does and records the CPU seconds of each slice.

    CPU time, because other load on the machine then matters little.
    """

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._start = 0.0

    def run(self, steps: Iterator[None]) -> None:
        """Run one handler to its end."""
        self._start = time.process_time()
        for _ in steps:
            self._end_slice(SLICE_SECONDS)
        self._end_slice(0.0)

    def _end_slice(self, min_seconds: float) -> None:
        now = time.process_time()
        if now - self._start >= min_seconds:
            self.durations.append(now - self._start)
            self._start = time.process_time()

    def figures(self) -> dict[str, float]:
        """Quantiles in ms."""
        durations = sorted(self.durations)
        positions = {"p50": len(durations) // 2, "p99": len(durations) * 99 // 100, "max": len(durations) - 1}
        return {f"slice_{name}_ms": round(1000 * durations[index], 3) for name, index in positions.items()}


def spans(count: int) -> dict[str, float]:
    """Process `count` spans; the store fills up and stays full."""
    template, slices, traces = senders.SpanTemplate("orders", BATCH), Slices(), TraceStore()
    identity = Identity(DOMAIN, "service", "orders")
    memory = psutil.Process().memory_info().rss
    cpu = 0.0
    for _ in range(count // BATCH):
        body = template.with_new_ids()
        start = time.process_time()
        slices.run(traces.handle(identity, body, 0.0))
        cpu += time.process_time() - start
    growth = psutil.Process().memory_info().rss - memory
    return {
        "spans": traces.stored_total,
        "us_per_span": round(1e6 * cpu / traces.stored_total, 2),
        "spans_per_core_second": round(traces.stored_total / cpu),
        **slices.figures(),
        "stored": traces.span_count,
        "bytes_per_stored_span": round(growth / traces.span_count),
        "bytes_estimated": round(traces.size_bytes / traces.span_count),
    }


def exporting(count: int) -> dict[str, float]:
    """Split `count` spans into chunks for export."""
    template, slices, cpu, total = senders.SpanTemplate("orders", BATCH), Slices(), 0.0, 0
    for _ in range(count // BATCH):
        body = template.with_new_ids()
        start = time.process_time()
        chunks: list[ResourceChunk] = []
        slices.run(_collect(chunks, body))
        cpu += time.process_time() - start
        total += sum(chunk.count for chunk in chunks)
    return {"spans": total, "us_per_span": round(1e6 * cpu / total, 2), **slices.figures()}


def _collect(chunks: list[ResourceChunk], body: bytes) -> Iterator[None]:
    for chunk in split("traces", "orders", body, 0.0):
        if isinstance(chunk, ResourceChunk):
            chunks.append(chunk)
        yield


def metrics() -> dict[str, float]:
    """Process a minute of flushes of a hundred sidecars."""
    clusters = {f"svc{number}": senders.STATS for number in range(senders.CLUSTERS)}
    slices, windows, cpu = Slices(), TrafficWindows(), 0.0
    for round_ in range(FLUSHES):
        for node in range(NODES):
            body = metrics_export(f"svc{node}", f"svc{node}-1", clusters, at=2.0 * round_)
            identity = Identity(DOMAIN, "service", f"svc{node}")
            start = time.process_time()
            slices.run(windows.handle(identity, body, 100.0 + 2.0 * round_))
            cpu += time.process_time() - start
    flushes = FLUSHES * NODES
    return {"flushes": flushes, "us_per_flush": round(1e6 * cpu / flushes, 1), **slices.figures()}


async def port(seconds: int) -> dict[str, float]:
    """Send over mutual TLS to a control plane that does nothing else."""
    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder)) as plane:
        load = senders.start(plane.pki, plane.addresses.otlp, seconds=seconds + 4, spans=RATE, nodes=NODES)
        await asyncio.sleep(4)
        cpu, start, before = plane.cpu_seconds, time.monotonic(), plane.metrics()["mesh_spans_total"]
        await asyncio.sleep(seconds - 1)
        spans = plane.metrics()["mesh_spans_total"] - before
        used, rate = plane.cpu_seconds - cpu, spans / (time.monotonic() - start)
        memory = plane.rss_bytes
        sent = await asyncio.to_thread(senders.finish, load, 60)
    return {
        "spans_per_second": round(rate),
        "cpu_percent": round(100 * used / (spans / rate), 1),
        "us_per_span_including_calls_and_metrics": round(1e6 * used / spans, 1),
        "refused": sent["traces RESOURCE_EXHAUSTED"],
        "rss_mb": memory >> 20,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=300_000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    figures: dict[str, Any] = {
        "processing spans": spans(arguments.spans),
        "exporting spans": exporting(arguments.spans // 3),
        "processing metrics": metrics(),
        "through the port": asyncio.run(port(arguments.seconds)),
    }
    for name, figure in figures.items():
        print(f"{name}: " + "  ".join(f"{key} {value:g}" for key, value in figure.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
