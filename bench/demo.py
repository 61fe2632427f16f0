"""What the demo costs a machine: time to ready, then CPU and memory of an idle mesh by kind of process.

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
    """Envoy, store, control plane, agent, mesh up, or a service."""
    line = " ".join(process.cmdline())
    for mark, kind in (
        ("_bin/envoy", "envoy"), ("valkey-server", "store"), ("-m control_plane", "control plane"),
        ("-m sidecar", "agent"), ("-m cli up", "mesh up"), ("-m meshwright.services.", "service"),
    ):  # fmt: skip
        if mark in line:
            return kind
    return "other"


def family(mesh: Mesh) -> Iterator[psutil.Process]:
    """`mesh up` and all that came of it."""
    root = psutil.Process(mesh.process.pid)
    yield root
    yield from root.children(recursive=True)


def idle(mesh: Mesh, seconds: float) -> dict[str, dict[str, float]]:
    """By kind: how many, CPU in percent of one core, own memory (USS) in MB, all of them together."""
    processes = list(family(mesh))
    before = {process.pid: sum(process.cpu_times()[:2]) for process in processes}
    time.sleep(seconds)
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: {"count": 0, "cpu_percent": 0.0, "uss_mb": 0.0})
    for process in processes:
        figure = kinds[kind_of(process)]
        figure["count"] += 1
        figure["cpu_percent"] += (sum(process.cpu_times()[:2]) - before[process.pid]) / seconds * 100
        figure["uss_mb"] += process.memory_full_info().uss / 1e6
    return {
        kind: {key: round(value, 2) for key, value in figure.items()}
        for kind, figure in sorted(kinds.items())
    }


def measure(seconds: float) -> dict[str, Any]:
    """Start the exchange as `mesh demo` does, on free ports, and look at it."""
    spec = YAML(typ="safe").load(demo_application_file().read_text())["spec"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with running_mesh(Path(folder), spec["services"]) as mesh:
            ready = time.monotonic() - began
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
