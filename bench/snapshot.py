"""The cost of translation: the first snapshot of a large mesh, and single changes to it.

`python -m bench.snapshot [--services 1000] [--instances 5] [--json FILE]`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import Instance, PolicyDocument, Service, World
from meshwright.control_plane.policies.retry.spec import Retry

PORTS = (Port(),)


def services(count: int, instances: int) -> Mapping[str, Service]:
    """`count` services with `instances` instances each."""
    return {
        name: Service(
            name, PORTS, tuple(Instance(f"{name}-{i}", "10.0.0.1", 20000 + i) for i in range(instances))
        )
        for name in (f"s{number}" for number in range(count))
    }


def retry(service: str, attempts: int) -> PolicyDocument:
    """A Retry for one service."""
    body = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": "bench"},
        "spec": {"targetRefs": [{"kind": "Service", "name": service}], "attempts": attempts},
    }
    return PolicyDocument(Retry.model_validate(body), 1)


def timed(work: Callable[[], Translation]) -> tuple[Translation, float]:
    """The result of `work` and its duration in ms."""
    start = time.perf_counter()
    translation = work()
    return translation, (time.perf_counter() - start) * 1000


def measure(count: int, instances: int) -> dict[str, Any]:
    """Milliseconds for each step, and the memory of the first snapshot."""
    initial = services(count, instances)
    before = psutil.Process().memory_info().rss
    first, first_ms = timed(lambda: translate(World(1, initial)))
    growth = psutil.Process().memory_info().rss - before
    fewer = dict(initial)
    fewer["s5"] = Service("s5", PORTS, initial["s5"].instances[1:])
    second, instance_ms = timed(lambda: translate(World(1, fewer), first))
    third, added_ms = timed(lambda: translate(World(2, fewer, (retry("s5", 2),)), second))
    _, changed_ms = timed(lambda: translate(World(3, fewer, (retry("s5", 3),)), third))
    changed = len(third.snapshot.changed_from(second.snapshot))
    return {
        "first_ms": round(first_ms, 1),
        "rss_mb": round(growth / 1e6, 1),
        "instance_change_ms": round(instance_ms, 2),
        "policy_added_ms": round(added_ms, 1),
        "policy_changed_ms": round(changed_ms, 1),
        "resources_changed_by_policy": changed,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.services, options.instances)
    print(f"{options.services} services x {options.instances}: {json.dumps(figures)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
