"""What a rate limit adds to a request: a mesh without, with a local and with a global limit, by turns.

The requests go one after the other through two sidecars on a kept-alive connection, so a turn's median is the
time of a request, not of a queue. The policies let everything through.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from tests.envoy.harness import Mesh, running_mesh, service, until

URL = "http://back/echo"

POLICY = """
apiVersion: meshwright.io/v1
kind: RateLimit
metadata: {{name: limit}}
spec:
  targetRefs: [{{kind: Service, name: back}}]
  scope: {scope}
  limits: [{{requests: 1000000, per: 1s, by: [{{type: Caller}}]}}]
"""

SCOPES = ("none", "local", "global")


def measure(turns: int, requests: int) -> dict[str, dict[str, float]]:
    """By scope, in ms: a turn's median request, and what it adds to that of the same turn without a limit.

    Both as the median over the turns; of what is added the least and the most, too.
    """
    medians: dict[str, list[float]] = {scope: [] for scope in SCOPES}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_mesh(Path(folder), [service("front"), service("back")]) as mesh,
    ):
        until(lambda: mesh.get("front-1", URL).ok, "the service responds")
        for _ in range(turns):
            for scope in SCOPES:
                if scope != "none":
                    mesh.apply(POLICY.format(scope=scope))
                medians[scope].append(_median(mesh, requests))
            mesh.delete("RateLimit", "limit")
    figures = {}
    for scope, values in medians.items():
        added = [value - none for value, none in zip(values, medians["none"], strict=True)]
        figures[scope] = {
            "p50": statistics.median(values),
            "added": statistics.median(added),
            "least": min(added),
            "most": max(added),
        }
    return figures


def _median(mesh: Mesh, requests: int) -> float:
    session = mesh.caller("front-1")
    durations = []
    for _ in range(requests):
        begun = time.perf_counter()
        session.get(URL, timeout=30).raise_for_status()
        durations.append((time.perf_counter() - begun) * 1000)
    return statistics.median(durations)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.turns, options.requests)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    for scope, row in figures.items():
        spread = f"[{row['least']:+.2f} {row['most']:+.2f}]"
        print(f"{scope:<8} p50 {row['p50']:6.2f} ms a request, {row['added']:+.2f} {spread} ms")


if __name__ == "__main__":
    main()
