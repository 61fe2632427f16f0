"""The topology agrees with the calls that were sent, for HTTP, gRPC and TCP."""

from __future__ import annotations

import json
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from meshwright.sidecar.bootstrap.telemetry import DURATION_BOUNDS
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_topology import Edges, edges, service_rows, service_totals, topology, totals
from tests.envoy.wrk import app_requests

SECONDS, RATE, WORKERS = 20, 100, 8
"""The HTTP load: its duration, requests per second, and threads."""

RPC_RATE, TCP_RATE = 20, 5
"""gRPC calls and TCP connections per second at the same time."""

FAIL_EVERY, RETRY_EVERY, SLOW_EVERY = 100, 20, 25
"""One request of this many fails, is retried, or takes SLOW_MS."""

SLOW_MS = 400
"""Long enough that the delays of a busy machine stay below the width of its histogram bucket."""

EDGE_TTL = 8.0
"""Seconds after the last call within which an edge is shown."""

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


def fake(name: str, protocol: str, module: str) -> dict[str, Any]:
    """A service whose app is the gRPC or the TCP fake."""
    return {
        **service(name),
        "command": [sys.executable, "-m", f"tests.fakes.{module}"],
        "ports": [{"name": protocol, "protocol": protocol, "number": 15432}],
        "health": {"interval": "1s"},
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    front = {**service("front"), "upstreams": ["db"]}
    services = [front, service("back"), fake("rpc", "grpc", "grpc_app"), fake("db", "tcp", "tcp_app")]
    folder = tmp_path_factory.mktemp("topology")
    with running_mesh(folder, services, MESH_EDGE_TTL=f"{EDGE_TTL:g}") as running:
        running.apply(RETRY)
        yield running


@dataclass(frozen=True)
class SentCalls:
    """The calls of a load: whether each succeeded, its duration in ms, and the time of its end."""

    successes: list[bool]
    durations: list[float]
    ended: list[float]

    @property
    def counts(self) -> dict[str, int]:
        """Totals as in a history."""
        return {"requests": len(self.successes), "failures": self.successes.count(False)}

    def rate(self, now: float, tolerance: float, share: float = 1) -> Any:
        """The rates that may be shown at `now` for these calls, or for a share of them.

        A rate covers about ten seconds and is reported every two. Pauses of the machine move calls between
        windows, so windows of several lengths and ends are allowed.
        """
        ends = (now - delay / 5 for delay in range(16))
        rates = [self._rate(end - seconds, end) * share for end in ends for seconds in (8, 10, 12)]
        middle = (min(rates) + max(rates)) / 2
        return pytest.approx(middle, abs=max(rates) - middle + tolerance * middle)

    def _rate(self, start: float, end: float) -> float:
        return sum(start < moment <= end for moment in self.ended) / (end - start)

    @property
    def p99(self) -> float:
        return sorted(self.durations)[math.ceil(0.99 * len(self.durations)) - 1]


@dataclass(frozen=True)
class LoadedMesh:
    """The three loads, the topology at `shown_at` during them, and the retries that the app saw."""

    http: SentCalls
    rpc: SentCalls
    tcp: SentCalls
    shown_at: float
    edges: Edges
    rows: dict[str, dict[str, Any]]
    retries: int


def call_steadily(rate: int, workers: int, call: Callable[[int], bool]) -> SentCalls:
    """Call for SECONDS at a rate. The argument of `call` is the number of the call."""
    start = time.monotonic()

    def work(worker: int) -> list[tuple[bool, float, float]]:
        results = []
        for number in range(worker, SECONDS * rate, workers):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            called_at = time.perf_counter()
            ok, took = call(number), time.perf_counter() - called_at
            results.append((ok, took * 1000, time.monotonic()))
        return results

    with ThreadPoolExecutor(workers) as pool:
        results = [result for batch in pool.map(work, range(workers)) for result in batch]
    return SentCalls(*(list(column) for column in zip(*results, strict=True)))


def path(number: int) -> str:
    """The path of a request by its number."""
    if number % FAIL_EVERY == 7:
        return "/status/500"
    if number % RETRY_EVERY == 3:
        return f"/once/{number}"
    return f"/delay?ms={SLOW_MS}" if number % SLOW_EVERY == 11 else "/echo"


def http_load(mesh: Mesh) -> SentCalls:
    with mesh.caller("front-1") as session:
        return call_steadily(
            RATE, WORKERS, lambda n: session.get(f"http://back{path(n)}", timeout=30).status_code < 500
        )


def rpc_load(mesh: Mesh) -> SentCalls:
    """One call of ten fails, one of ten returns NOT_FOUND, which is no failure, and one of twenty is slow."""
    options = [("grpc.default_authority", "rpc"), ("grpc.enable_http_proxy", 0)]
    outbound = f"127.0.0.1:{mesh.ports('front-1')['outbound']}"
    with grpc.insecure_channel(outbound, options=options) as channel:
        method = channel.unary_unary("/fake.Echo/Echo", None, None)

        def call(number: int) -> bool:
            kinds = {1: {"fail": "UNAVAILABLE"}, 5: {"fail": "NOT_FOUND"}, 8: {"delay": SLOW_MS / 1000}}
            message = kinds.get(number % 10, {}) if number % 20 != 8 else {}
            try:
                method(json.dumps(message).encode(), timeout=20)
            except grpc.RpcError as error:
                return bool(error.code() is grpc.StatusCode.NOT_FOUND)
            return True

        return call_steadily(RPC_RATE, 4, call)


def db_address(mesh: Mesh) -> tuple[str, int]:
    """The address of db for the app of front, from its environment."""
    variables = Path(f"/proc/{mesh.pid('front-1')}/environ").read_text().split("\0")
    host, _, port = dict(variable.split("=", 1) for variable in variables if variable)[
        "DB_ADDRESS"
    ].rpartition(":")
    return host, int(port)


def tcp_load(mesh: Mesh) -> SentCalls:
    address = db_address(mesh)

    def call(_number: int) -> bool:
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(b"x\n")
            return connection.recv(100) == b"db-1: x\n"

    return call_steadily(TCP_RATE, 1, call)


@pytest.fixture(scope="module")
def load(mesh: Mesh) -> LoadedMesh:
    mesh.get("front-1", "http://back/echo")
    until(lambda: totals(mesh, "front", "back")["requests"] == 1, "a first call is reported")
    mesh.reset("back-1")
    start = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(function, mesh) for function in (http_load, rpc_load, tcp_load)]
        until(lambda: time.monotonic() - start > SECONDS - 1, "the window is full of the load")
        shown_at, shown, table = until(lambda: consistent_topology(mesh), "edges without a report in between")
        http, rpc, tcp = (future.result() for future in loads)
    sent = {"back": len(http.successes) + 1, "rpc": len(rpc.successes), "db": len(tcp.successes)}
    until(
        lambda: all(totals(mesh, "front", to)["requests"] >= count for to, count in sent.items()),
        "all calls are reported",
    )
    return LoadedMesh(
        http, rpc, tcp, shown_at, shown, table, app_requests(mesh, "back-1") - len(http.successes)
    )


def consistent_topology(mesh: Mesh) -> tuple[float, Edges, dict[str, dict[str, Any]]] | None:
    """The time, and the edges and the service table at that time; None if a report came in between."""
    now, before, table = time.monotonic(), edges(mesh), service_rows(mesh)
    return (now, before, table) if edges(mesh) == before else None


def bucket(ms: float) -> int:
    """The index of the histogram bucket of a duration."""
    return next((n for n, bound in enumerate(DURATION_BOUNDS) if ms <= bound), len(DURATION_BOUNDS))


def test_every_http_request_is_counted(mesh: Mesh, load: LoadedMesh) -> None:
    assert load.http.counts == {"requests": SECONDS * RATE, "failures": SECONDS * RATE // FAIL_EVERY}
    assert load.retries == SECONDS * RATE // RETRY_EVERY
    expected = {
        "requests": SECONDS * RATE + 1,
        "failures": SECONDS * RATE // FAIL_EVERY,
        "retries": load.retries,
    }
    assert totals(mesh, "front", "back") == expected
    assert service_totals(mesh, "back") == expected


def test_http_edge_has_the_rates_errors_and_latency_of_the_load(load: LoadedMesh) -> None:
    edge = load.edges["front", "back"]
    assert (edge["protocol"], edge["breaker"], edge["mtls"]) == ("http", "none", True)
    assert edge["rps"] == load.http.rate(load.shown_at, 0.02)
    assert edge["success"] == pytest.approx(1 - 1 / FAIL_EVERY, abs=0.001 + 1 / (RATE * 10))
    assert edge["retries_per_s"] == load.http.rate(load.shown_at, 0.2, 1 / RETRY_EVERY)
    assert abs(bucket(edge["p99_ms"]) - bucket(load.http.p99)) <= 1


def test_grpc_edge_counts_failures_by_grpc_status(mesh: Mesh, load: LoadedMesh) -> None:
    edge = load.edges["front", "rpc"]
    assert (edge["protocol"], edge["mtls"]) == ("grpc", True)
    assert edge["rps"] == load.rpc.rate(load.shown_at, 0.05)
    assert edge["success"] == pytest.approx(0.9, abs=0.01)
    assert abs(bucket(edge["p99_ms"]) - bucket(load.rpc.p99)) <= 1
    counts = totals(mesh, "front", "rpc")
    assert {"requests": counts["requests"], "failures": counts["failures"]} == load.rpc.counts
    assert load.rpc.counts["failures"] == SECONDS * RPC_RATE // 10


def test_tcp_edge_counts_connections(mesh: Mesh, load: LoadedMesh) -> None:
    edge = load.edges["front", "db"]
    assert (edge["protocol"], edge["mtls"], edge["success"], edge["p99_ms"]) == ("tcp", True, 1, 0)
    assert edge["rps"] == load.tcp.rate(load.shown_at, 0.1)
    counts = totals(mesh, "front", "db")
    assert {"requests": counts["requests"], "failures": counts["failures"]} == load.tcp.counts


def test_service_table_agrees_with_the_edges(load: LoadedMesh) -> None:
    for name in ("back", "rpc", "db"):
        row, edge = load.rows[name], load.edges["front", name]
        for column in ("rps", "success", "p50_ms", "p99_ms", "retries_per_s"):
            assert row[column] == pytest.approx(edge[column], rel=0.05), (name, column)
        assert (row["breaker"], row["mtls"]) == (edge["breaker"], edge["mtls"])
        assert row["history"]["rps"][-1] == row["rps"]
        assert (row["instances"], row["healthy"]) == (1, 1)
    assert (load.rows["front"]["rps"], load.rows["front"]["health"]) == (0, "healthy")


def test_topology_has_no_edge_without_a_call(mesh: Mesh, load: LoadedMesh) -> None:
    assert mesh.outside("/echo").status_code in (200, 404)
    mesh.get("front-1", "http://nobody/echo")
    mesh.get("front-1", "http://back/echo")
    mesh.get("back-1", "http://front/echo")
    until(lambda: ("back", "front") in edges(mesh), "one call makes an edge")
    sent = {("front", "back"), ("front", "rpc"), ("front", "db"), ("back", "front")}
    assert {*load.edges} == sent - {("back", "front")}
    document = topology(mesh)
    assert {(edge["from"], edge["to"]) for edge in document["edges"]} <= sent
    assert {node["name"]: node["role"] for node in document["nodes"]} == {
        "back": "service", "front": "service", "rpc": "service", "db": "service", "ingress": "gateway",
    }  # fmt: skip


@contextmanager
def keep_edge(mesh: Mesh) -> Iterator[None]:
    """Call twice a second during the block, so that the edge from front to back stays."""
    done = threading.Event()

    def call() -> None:
        while not done.wait(0.5):
            mesh.get("front-1", "http://back/echo")

    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(call)
        try:
            yield
        finally:
            done.set()
            calls.result()


def test_topology_and_top_print_all_formats(mesh: Mesh) -> None:
    with keep_edge(mesh):
        until(lambda: ("front", "back") in edges(mesh), "an edge")
        assert "front back http" in " ".join(mesh.run("topology").stdout.split())
        assert '"front" -> "back"' in mesh.run("topology", "-o", "dot").stdout
        assert "n_front -->|" in mesh.run("topology", "-o", "mermaid").stdout
        table = mesh.run("top").stdout.splitlines()
    assert table[0].split()[:3] == ["SERVICE", "RPS", "SUCCESS"]
    assert {line.split()[1] for line in table[1:]} == {"back", "front", "rpc", "db", "ingress"}


def test_edge_disappears_unless_a_connection_is_open(mesh: Mesh) -> None:
    with socket.create_connection(db_address(mesh), timeout=30) as connection:
        connection.sendall(b"x\n")
        assert connection.recv(100) == b"db-1: x\n"
        called = time.monotonic()
        mesh.get("front-1", "http://back/echo")
        until(lambda: {("front", "back"), ("front", "db")} <= {*edges(mesh)}, "both edges")
        until(lambda: ("front", "back") not in edges(mesh), "the edge without calls disappears", every=0.3)
        assert time.monotonic() - called >= EDGE_TTL
        until(lambda: time.monotonic() - called > EDGE_TTL + 5, "longer than the window of connections")
        until(lambda: edges(mesh)["front", "db"]["rps"] == 0, "the edge has no new connections")
    until(
        lambda: ("front", "db") not in edges(mesh),
        "the edge disappears after the connection is closed",
        every=0.3,
    )


def test_tcp_connection_without_an_instance_is_a_failure(mesh: Mesh) -> None:
    address, before = db_address(mesh), totals(mesh, "front", "db")
    mesh.stop_workload("db-1")
    for _ in range(3):
        with socket.create_connection(address, timeout=30) as connection:
            assert connection.recv(100) == b""
    expected = {**before, "requests": before["requests"] + 3, "failures": before["failures"] + 3}
    until(lambda: totals(mesh, "front", "db") == expected, "three failures are reported")
