"""What a rate limit adds to a request: a mesh without, with a local and with a global limit, by turns.

The requests go one after the other through two sidecars on a kept-alive connection, so a turn's median is the
time of a request, not of a queue. The policies let everything through.

Then the store, and after it the control plane, stands still, as if its host had gone: what a request takes
until `onFailure` decides.
"""

from __future__ import annotations

import argparse
import http
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
  onFailure: {on_failure}
  limits: [{{requests: 1000000, per: 1s, by: [{{type: Caller}}]}}]
"""

SCOPES = ("none", "local", "global")

ON_FAILURE = {"allow": http.HTTPStatus.OK, "deny": http.HTTPStatus.SERVICE_UNAVAILABLE}
"""What a request gets when nobody counts."""

Figures = dict[str, dict[str, float]]


@contextmanager
def running() -> Iterator[Mesh]:
    """A mesh of a caller and a service, which responds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_mesh(Path(folder), [service("front"), service("back")]) as mesh,
    ):
        until(lambda: mesh.get("front-1", URL).ok, "the service responds")
        yield mesh


def measure(mesh: Mesh, turns: int, requests: int) -> Figures:
    """By scope, in ms: a turn's median request, and what it adds to that of the same turn without a limit.

    Both as the median over the turns; of what is added the least and the most, too.
    """
    medians: dict[str, list[float]] = {scope: [] for scope in SCOPES}
    for _ in range(turns):
        for scope in SCOPES:
            if scope != "none":
                mesh.apply(POLICY.format(scope=scope, on_failure="allow"))
            medians[scope].append(statistics.median(_durations(mesh, requests, http.HTTPStatus.OK)))
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


def measure_failures(mesh: Mesh, requests: int) -> Figures:
    """By what stands still and `onFailure`, in ms: requests without the process that counts them."""
    figures = {}
    for process in ("store", "control-plane"):
        for on_failure, status in ON_FAILURE.items():
            mesh.apply(POLICY.format(scope="global", on_failure=on_failure))
            until(lambda: mesh.get("front-1", URL).ok, "requests are counted")
            os.kill(mesh.pid(process), signal.SIGSTOP)
            try:
                durations = sorted(_durations(mesh, requests, status))
            finally:
                os.kill(mesh.pid(process), signal.SIGCONT)
            figures[f"{process}, {on_failure}"] = {
                "p50": statistics.median(durations),
                "p99": durations[int(len(durations) * 0.99)],
                "most": durations[-1],
            }
            until(lambda: mesh.get("front-1", URL).ok, "requests are counted again")
    mesh.delete("RateLimit", "limit")
    return figures


def _durations(mesh: Mesh, requests: int, status: http.HTTPStatus) -> list[float]:
    """The time of each request, in ms; each must have this status."""
    session = mesh.caller("front-1")
    durations = []
    for _ in range(requests):
        begun = time.perf_counter()
        response = session.get(URL, timeout=30)
        durations.append((time.perf_counter() - begun) * 1000)
        assert response.status_code == status, response.text
    return durations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with running() as mesh:
        figures = measure(mesh, options.turns, options.requests)
        failures = measure_failures(mesh, options.requests)
    if options.json:
        options.json.write_text(json.dumps(figures | failures, indent=1))
    for scope, row in figures.items():
        spread = f"[{row['least']:+.2f} {row['most']:+.2f}]"
        print(f"{scope:<8} p50 {row['p50']:6.2f} ms a request, {row['added']:+.2f} {spread} ms")
    for name, row in failures.items():
        print(f"{name:<20} p50 {row['p50']:6.2f}, p99 {row['p99']:6.2f}, most {row['most']:6.2f} ms")


if __name__ == "__main__":
    main()
