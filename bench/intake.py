"""What taking in telemetry costs: folding alone, and the whole way through the port of a control plane.

`python -m bench.intake [--spans 300000] [--seconds 15] [--json FILE]`

Folding: exports of Envoy's spans (14 attributes, ten to a trace) and flushes of metrics (10 clusters) go
through the folds as the port's server has them go, in slices. Printed: processor time a span, spans a second
of one core, what slices took of the processor, and memory for each span that is kept; then what it costs to
check spans and take them to pass them on. Through the port: 5,000 spans a
second and the metrics of 100 sidecars over mutual TLS; the control plane's processor time and memory.
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
    """Runs folds as the server does, and notes what each slice took, in seconds of the processor.

    So that it is no matter what else the machine does meanwhile.
    """

    def __init__(self) -> None:
        self.lasted: list[float] = []
        self._begun = 0.0

    def run(self, steps: Iterator[None]) -> None:
        """Exhaust one fold."""
        self._begun = time.process_time()
        for _ in steps:
            self._look(SLICE_SECONDS)
        self._look(0.0)

    def _look(self, least: float) -> None:
        now = time.process_time()
        if now - self._begun >= least:
            self.lasted.append(now - self._begun)
            self._begun = time.process_time()

    def figures(self) -> dict[str, float]:
        """Quantiles in ms."""
        lasted = sorted(self.lasted)
        places = {"p50": len(lasted) // 2, "p99": len(lasted) * 99 // 100, "max": len(lasted) - 1}
        return {f"slice_{name}_ms": round(1000 * lasted[at], 3) for name, at in places.items()}


def spans(count: int) -> dict[str, float]:
    """Fold so many spans; the store fills up on the way, and is then full."""
    span_template, slices, traces = senders.SpanTemplate("orders", BATCH), Slices(), TraceStore()
    identity = Identity(DOMAIN, "service", "orders")
    memory = psutil.Process().memory_info().rss
    cpu = 0.0
    for _ in range(count // BATCH):
        body = span_template.with_new_ids()
        began = time.process_time()
        slices.run(traces.handle(identity, body, 0.0))
        cpu += time.process_time() - began
    number = psutil.Process().memory_info().rss - memory
    return {
        "spans": traces.stored_total,
        "us_per_span": round(1e6 * cpu / traces.stored_total, 2),
        "spans_per_core_second": round(traces.stored_total / cpu),
        **slices.figures(),
        "kept": traces.span_count,
        "bytes_per_kept_span": round(number / traces.span_count),
        "bytes_estimated": round(traces.size_bytes / traces.span_count),
    }


def forwarding(count: int) -> dict[str, float]:
    """Check and take so many spans to pass them on."""
    span_template, slices, cpu, taken = senders.SpanTemplate("orders", BATCH), Slices(), 0.0, 0
    for _ in range(count // BATCH):
        body = span_template.with_new_ids()
        began = time.process_time()
        resource_chunks: list[ResourceChunk] = []
        slices.run(_noting(resource_chunks, body))
        cpu += time.process_time() - began
        taken += sum(resource_chunk.count for resource_chunk in resource_chunks)
    return {"spans": taken, "us_per_span": round(1e6 * cpu / taken, 2), **slices.figures()}


def _noting(resource_chunks: list[ResourceChunk], body: bytes) -> Iterator[None]:
    for resource_chunk in split("traces", "orders", body, 0.0):
        if isinstance(resource_chunk, ResourceChunk):
            resource_chunks.append(resource_chunk)
        yield


def metrics() -> dict[str, float]:
    """Fold a minute of flushes of a hundred sidecars."""
    clusters = {f"svc{number}": senders.STATS for number in range(senders.CLUSTERS)}
    slices, flows, cpu = Slices(), TrafficWindows(), 0.0
    for round_ in range(FLUSHES):
        for node in range(NODES):
            body = metrics_export(f"svc{node}", f"svc{node}-1", clusters, at=2.0 * round_)
            identity = Identity(DOMAIN, "service", f"svc{node}")
            began = time.process_time()
            slices.run(flows.handle(identity, body, 100.0 + 2.0 * round_))
            cpu += time.process_time() - began
    folded = FLUSHES * NODES
    return {"flushes": folded, "us_per_flush": round(1e6 * cpu / folded, 1), **slices.figures()}


async def port(seconds: int) -> dict[str, float]:
    """The whole way, over mutual TLS, to a control plane that does nothing else."""
    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder)) as plane:
        load = senders.start(plane.pki, plane.addresses.otlp, seconds=seconds + 4, spans=RATE, nodes=NODES)
        await asyncio.sleep(4)
        cpu, began, before = plane.cpu_seconds, time.monotonic(), plane.metrics()["mesh_spans_total"]
        await asyncio.sleep(seconds - 1)
        took = plane.metrics()["mesh_spans_total"] - before
        share, rate = (plane.cpu_seconds - cpu), took / (time.monotonic() - began)
        memory = plane.rss_bytes
        sent = await asyncio.to_thread(senders.finish, load, 60)
    return {
        "spans_per_second": round(rate),
        "cpu_percent": round(100 * share / (took / rate), 1),
        "us_per_span_with_its_share_of_calls_and_metrics": round(1e6 * share / took, 1),
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
        "folding spans": spans(arguments.spans),
        "forwarding spans": forwarding(arguments.spans // 3),
        "folding metrics": metrics(),
        "through the port": asyncio.run(port(arguments.seconds)),
    }
    for name, figure in figures.items():
        print(f"{name}: " + "  ".join(f"{key} {value:g}" for key, value in figure.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
