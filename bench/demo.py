"""The cost of the demo: time to ready, then CPU and memory of the idle mesh by kind of process.

`python -m bench.demo [--seconds 20] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from meshwright.cli.up import demo_application_file
from tests.envoy.harness import Mesh, running_mesh

SETTLE = 5.0


def kind_of(process: psutil.Process) -> str:
    """envoy, store, control plane, agent, mesh up, service or other."""
    command = " ".join(process.cmdline())
    for text, kind in (
        ("_bin/envoy", "envoy"), ("valkey-server", "store"), ("-m meshwright.control_plane", "control plane"),
        ("-m meshwright.sidecar", "agent"), ("-m meshwright.cli up", "mesh up"),
        ("-m meshwright.cli demo", "mesh up"), ("-m meshwright.services.", "service"),
        ("-m bench.direct_service", "service"),
    ):  # fmt: skip
        if text in command:
            return kind
    return "other"


def processes_of(mesh: Mesh) -> Iterator[psutil.Process]:
    """`mesh up` and all its descendants."""
    root = psutil.Process(mesh.process.pid)
    yield root
    yield from root.children(recursive=True)


def idle(mesh: Mesh, seconds: float) -> dict[str, dict[str, float]]:
    """Totals by kind of process: number, CPU in percent of one core, private memory (USS) in MB."""
    processes = list(processes_of(mesh))
    before = {process.pid: sum(process.cpu_times()[:2]) for process in processes}
    time.sleep(seconds)
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: {"count": 0, "cpu_percent": 0.0, "uss_mb": 0.0})
    for process in processes:
        total = kinds[kind_of(process)]
        total["count"] += 1
        total["cpu_percent"] += (sum(process.cpu_times()[:2]) - before[process.pid]) / seconds * 100
        total["uss_mb"] += process.memory_full_info().uss / 1e6
    return {
        kind: {key: round(value, 2) for key, value in total.items()} for kind, total in sorted(kinds.items())
    }


def measure(seconds: float) -> dict[str, Any]:
    """Start the exchange as `mesh demo` does, on free ports, and measure it."""
    spec = YAML(typ="safe").load(demo_application_file().read_text())["spec"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with running_mesh(Path(folder), spec["services"]) as mesh:
            ready = time.monotonic() - start
            time.sleep(SETTLE)
            return {"ready_s": round(ready, 2), "idle": idle(mesh, seconds)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.seconds)
    print(f"ready in {figures['ready_s']} s")
    for kind, figure in figures["idle"].items():
        print(f"{kind}: {json.dumps(figure)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
