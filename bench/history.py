"""The cost of the recorded past: bytes in the store and CPU time of a moment, for a mesh under traffic.

`python -m bench.history [--services 60] [--edges 200] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.models.moments import Moment
from meshwright.control_plane.api.models.topology import (
    ServiceList,
    ServiceSummary,
    ServiceTrend,
    Topology,
    TopologyEdge,
    TopologyNode,
)
from meshwright.control_plane.api.models.verdict import Verdict
from meshwright.control_plane.moments.codec import decode, encode
from meshwright.control_plane.moments.retention import COARSE_STEP, FINE_SECONDS, STEP, Kept, Retention

ROUNDS = 50
DAY = 86_400


def moment(services: int, edges: int, dice: random.Random) -> Moment:
    """A moment with figures that no compression can guess: every edge has traffic, a fifth of them fails."""
    names = [f"service-{number}" for number in range(services)]
    return Moment(
        time=time.time(),
        revision=41,
        verdict=Verdict(summary=f"healthy: {services} services, {services} proxies, 900.0 requests/s"),
        topology=Topology(
            nodes=tuple(TopologyNode(name=name, health="healthy", instances=2, healthy=2) for name in names),
            edges=tuple(_edge(dice.sample(names, 2), dice) for _ in range(edges)),
        ),
        services=ServiceList(services=tuple(_row(name, dice) for name in names)),
    )


def _edge(ends: list[str], dice: random.Random) -> TopologyEdge:
    caller, callee = ends
    return TopologyEdge(from_=caller, to=callee, mtls=True, breaker="closed", **_figures(dice))


def _row(name: str, dice: random.Random) -> ServiceSummary:
    trend = ServiceTrend(step=16.0, rps=tuple(dice.random() for _ in range(56)))
    return ServiceSummary(
        name=name, health="healthy", instances=2, healthy=2, history=trend, **_figures(dice)
    )


def _figures(dice: random.Random) -> dict[str, Any]:
    p50 = dice.uniform(1, 50)
    success = 1.0 if dice.random() < 0.8 else dice.uniform(0.5, 1)
    return {
        "rps": dice.uniform(0, 200),
        "success": success,
        "p50_ms": p50,
        "p95_ms": p50 * 2.1,
        "p99_ms": p50 * dice.uniform(3, 9),
        "retries_per_s": dice.choice((0.0, dice.random())),
    }


def measure(services: int, edges: int) -> dict[str, Any]:
    """Bytes of a moment and of a full store, and milliseconds of CPU for each step."""
    dice = random.Random(7)  # noqa: S311  the same figures in every run
    moments = [moment(services, edges, dice) for _ in range(ROUNDS)]
    start = time.process_time()
    texts = [encode(each) for each in moments]
    encoded = time.process_time()
    for text in texts:
        decode(text)
    decoded = time.process_time()
    size = sum(map(len, texts)) / ROUNDS
    fine, coarse = FINE_SECONDS // STEP, (DAY - FINE_SECONDS) // COARSE_STEP
    entries = [Kept(at, round(size)) for at in range(0, FINE_SECONDS + DAY, COARSE_STEP)]
    before_thinning = time.process_time()
    Retention(DAY, 64_000_000).surplus(entries, DAY)
    return {
        "bytes": round(size),
        "fine_mb_per_hour": round(size * fine / 1e6, 2),
        "coarse_mb_per_hour": round(size * 3600 / COARSE_STEP / 1e6, 2),
        "mb_of_24_hours": round(size * (fine + coarse) / 1e6, 1),
        "encode_ms": round((encoded - start) * 1000 / ROUNDS, 2),
        "decode_ms": round((decoded - encoded) * 1000 / ROUNDS, 2),
        "thin_ms": round((time.process_time() - before_thinning) * 1000, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=60)
    parser.add_argument("--edges", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.services, options.edges)
    print(f"{options.services} services, {options.edges} edges: {json.dumps(figures)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
