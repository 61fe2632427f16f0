"""The picture is true: what sidecars tell of a counted load is what was sent."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cli.connection import ask
from control_plane.api import operations
from sidecar.telemetry import DURATION_BOUNDS
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.load import tries

SECONDS, RATE, WORKERS = 14, 60, 4
"""The steady load: so long, so many requests in a second, from so many threads."""

ERRORS, RETRIED, SLOW = 100, 20, 25
"""One request of so many fails for good, is tried again, takes SLOW_MS."""

SLOW_MS = 40

RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: once}
spec:
  targetRefs: [{kind: Service, name: back}]
  attempts: 1
  on: [503]
  backoff: {base: 1ms, max: 2ms}
  budget: {percent: 100, minConcurrency: 1000}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("topology")
    with running_mesh(folder, [service("front"), service("back"), service("quiet")]) as running:
        running.apply(RETRY)
        yield running


def graph(mesh: Mesh) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(mesh.run("topology", "-o", "json").stdout)
    return found


def edges(mesh: Mesh) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["from"], one["to"]): one for one in graph(mesh)["edges"]}


def totals(mesh: Mesh) -> dict[str, int]:
    """All that was told of front's calls to back."""
    points = ask(operations.edge_history("front", "back"), mesh.state)["points"]
    return {name: round(sum(one[name] for one in points)) for name in ("requests", "failures", "retries")}


def path(number: int) -> str:
    """What request `number` asks for."""
    if number % ERRORS == 7:
        return "/status/500"
    if number % RETRIED == 3:
        return "/fail?rate=0.5&code=503&pattern=alternate"
    return f"/delay?ms={SLOW_MS}" if number % SLOW == 11 else "/echo"


def load(mesh: Mesh) -> tuple[list[int], list[float], float]:
    """Send the steady load from front; statuses, durations in ms, and requests in a second as sent."""
    begun = time.monotonic()

    def work(worker: int) -> list[tuple[int, float]]:
        done = []
        with mesh.caller("front-1") as session:
            for number in range(worker, SECONDS * RATE, WORKERS):
                time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
                at = time.perf_counter()
                status = session.get(f"http://back{path(number)}", timeout=30).status_code
                done.append((status, (time.perf_counter() - at) * 1000))
        return done

    with ThreadPoolExecutor(WORKERS) as pool:
        results = [one for done in pool.map(work, range(WORKERS)) for one in done]
    took = time.monotonic() - begun
    return [status for status, _ in results], [ms for _, ms in results], len(results) / took


def bucket(ms: float) -> int:
    """The number of the bucket a duration falls in."""
    return next((i for i, bound in enumerate(DURATION_BOUNDS) if ms <= bound), len(DURATION_BOUNDS))


def test_the_picture_is_what_was_sent(mesh: Mesh) -> None:
    assert edges(mesh) == {}
    mesh.reset("back-1")
    with ThreadPoolExecutor(1) as aside:
        loading, begun = aside.submit(load, mesh), time.monotonic()
        until(lambda: time.monotonic() - begun > SECONDS - 1, "a window that is full of it")
        (edge,) = ask(operations.topology(), mesh.state)["edges"]
        statuses, durations, sent = loading.result()
    assert (edge["from"], edge["to"]) == ("front", "back")
    count, failures = len(statuses), sum(status >= 500 for status in statuses)
    retries = tries(mesh, "back-1") - count
    assert failures >= count // ERRORS
    assert retries >= count // RETRIED // 4
    assert edge["rps"] == pytest.approx(sent, rel=0.02)
    assert edge["success"] == pytest.approx(1 - failures / count, abs=0.005)
    true = sorted(durations)[math.ceil(0.99 * len(durations)) - 1]
    assert abs(bucket(edge["p99_ms"]) - bucket(true)) <= 1
    assert edge["mtls"] is True
    assert (edge["breaker"], edge["protocol"]) == ("closed", "http")
    wanted = {"requests": count, "failures": failures, "retries": retries}
    until(lambda: totals(mesh)["requests"] >= count, "the last flush")
    assert totals(mesh) == wanted


def test_there_is_no_phantom_edge(mesh: Mesh) -> None:
    assert mesh.outside("/echo").status_code in (200, 404)
    mesh.get("front-1", "http://nobody/echo")
    mesh.get("front-1", "http://back/echo")
    mesh.get("back-1", "http://front/echo")
    until(lambda: ("back", "front") in edges(mesh), "an edge by one call")
    found = graph(mesh)
    assert {(one["from"], one["to"]) for one in found["edges"]} <= {("front", "back"), ("back", "front")}
    assert {one["name"]: one["role"] for one in found["nodes"]} == {
        "back": "service", "front": "service", "quiet": "service", "ingress": "gateway",
    }  # fmt: skip
    assert {one["health"] for one in found["nodes"]} == {"healthy"}


def test_a_stopped_service_is_unhealthy_soon(mesh: Mesh) -> None:
    mesh.stop_workload("quiet-1")
    begun = time.monotonic()
    until(lambda: health(mesh, "quiet") == "unhealthy", "seen as stopped", 5)
    assert time.monotonic() - begun < 5


def health(mesh: Mesh, name: str) -> str:
    return next(str(one["health"]) for one in graph(mesh)["nodes"] if one["name"] == name)


def test_the_graph_for_people(mesh: Mesh) -> None:
    mesh.get("front-1", "http://back/echo")
    until(lambda: edges(mesh), "an edge")
    assert "front back http" in " ".join(mesh.run("topology").stdout.split())
    assert '"front" -> "back"' in mesh.run("topology", "-o", "dot").stdout
    assert "n_front -->|" in mesh.run("topology", "-o", "mermaid").stdout
