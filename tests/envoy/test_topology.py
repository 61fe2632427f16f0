"""The picture is true: what sidecars tell of counted calls is what was sent, for HTTP, gRPC and TCP."""

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
"""The steady load of HTTP: so long, so many requests in a second, from so many threads."""

RPC_RATE, TCP_RATE = 20, 5
"""gRPC calls and TCP connections in a second, meanwhile."""

FAILS, RETRIED, SLOW = 100, 20, 25
"""One request of so many fails for good, is tried again, takes SLOW_MS."""

SLOW_MS = 400
"""So long that what a busy machine adds to it is less than the width of its class."""

FADES = 8.0

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
    """A service that is another fake than the HTTP one."""
    return {
        **service(name),
        "command": [sys.executable, "-m", f"tests.fakes.{module}"],
        "ports": [{"name": protocol, "protocol": protocol, "number": 15432}],
        "health": None,
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    front = {**service("front"), "upstreams": ["db"]}
    services = [front, service("back"), fake("rpc", "grpc", "grpc_app"), fake("db", "tcp", "tcp_app")]
    folder = tmp_path_factory.mktemp("topology")
    with running_mesh(folder, services, MESH_EDGE_TTL=f"{FADES:g}") as running:
        running.apply(RETRY)
        yield running


@dataclass(frozen=True)
class Sent:
    """What a caller did: whether each call was fine, how long it took in ms, and when it had ended."""

    fine: list[bool]
    durations: list[float]
    ended: list[float]

    @property
    def counts(self) -> dict[str, int]:
        """As a history adds up."""
        return {"requests": len(self.fine), "failures": self.fine.count(False)}

    def rate(self, now: float, within: float, share: float = 1) -> Any:
        """What may be shown at `now` as the rate of this, or of a share of it.

        Some ten seconds are shown, told every two. A machine that pauses makes some poor and others rich.
        """
        ends = (now - late / 5 for late in range(16))
        values = [self._rate(end - seconds, end) * share for end in ends for seconds in (8, 10, 12)]
        middle = (min(values) + max(values)) / 2
        return pytest.approx(middle, abs=max(values) - middle + within * middle)

    def _rate(self, begin: float, end: float) -> float:
        return sum(begin < value <= end for value in self.ended) / (end - begin)

    @property
    def p99(self) -> float:
        return sorted(self.durations)[math.ceil(0.99 * len(self.durations)) - 1]


@dataclass(frozen=True)
class Load:
    """The three loads, what was shown at a moment of them, and how many retries the app saw."""

    http: Sent
    rpc: Sent
    tcp: Sent
    seen: float
    edges: Edges
    rows: dict[str, dict[str, Any]]
    retries: int


def steadily(rate: int, workers: int, call: Callable[[int], bool]) -> Sent:
    """Call for SECONDS at a rate; `call` gets the number of the call."""
    begun = time.monotonic()

    def work(worker: int) -> list[tuple[bool, float, float]]:
        done = []
        for number in range(worker, SECONDS * rate, workers):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            at = time.perf_counter()
            fine, took = call(number), time.perf_counter() - at
            done.append((fine, took * 1000, time.monotonic()))
        return done

    with ThreadPoolExecutor(workers) as pool:
        entries = [entry for done in pool.map(work, range(workers)) for entry in done]
    return Sent(*(list(column) for column in zip(*entries, strict=True)))


def path(number: int) -> str:
    """What request `number` asks for."""
    if number % FAILS == 7:
        return "/status/500"
    if number % RETRIED == 3:
        return f"/once/{number}"
    return f"/delay?ms={SLOW_MS}" if number % SLOW == 11 else "/echo"


def http_load(mesh: Mesh) -> Sent:
    with mesh.caller("front-1") as session:
        return steadily(
            RATE, WORKERS, lambda n: session.get(f"http://back{path(n)}", timeout=30).status_code < 500
        )


def rpc_load(mesh: Mesh) -> Sent:
    """One of ten is unavailable, one of ten is not found, which is no failure, one of twenty is slow."""
    options = [("grpc.default_authority", "rpc"), ("grpc.enable_http_proxy", 0)]
    outbound = f"127.0.0.1:{mesh.ports('front-1')['outbound']}"
    with grpc.insecure_channel(outbound, options=options) as channel:
        method = channel.unary_unary("/fake.Echo/Echo", None, None)

        def call(number: int) -> bool:
            kinds = {1: {"fail": "UNAVAILABLE"}, 5: {"fail": "NOT_FOUND"}, 8: {"delay": SLOW_MS / 1000}}
            value = kinds.get(number % 10, {}) if number % 20 != 8 else {}
            try:
                method(json.dumps(value).encode(), timeout=20)
            except grpc.RpcError as error:
                return bool(error.code() is grpc.StatusCode.NOT_FOUND)
            return True

        return steadily(RPC_RATE, 4, call)


def db(mesh: Mesh) -> tuple[str, int]:
    """Where the app in front finds db."""
    parts = Path(f"/proc/{mesh.pid('front-1')}/environ").read_text().split("\0")
    host, _, port = dict(text.split("=", 1) for text in parts if text)["DB_ADDRESS"].rpartition(":")
    return host, int(port)


def tcp_load(mesh: Mesh) -> Sent:
    where = db(mesh)

    def call(_number: int) -> bool:
        with socket.create_connection(where, timeout=30) as connection:
            connection.sendall(b"x\n")
            return connection.recv(100) == b"db-1: x\n"

    return steadily(TCP_RATE, 1, call)


@pytest.fixture(scope="module")
def load(mesh: Mesh) -> Load:
    mesh.get("front-1", "http://back/echo")
    until(lambda: totals(mesh, "front", "back")["requests"] == 1, "a first call, told")
    mesh.reset("back-1")
    with ThreadPoolExecutor(3) as aside:
        loads, begun = (
            [aside.submit(function, mesh) for function in (http_load, rpc_load, tcp_load)],
            time.monotonic(),
        )
        until(lambda: time.monotonic() - begun > SECONDS - 1, "a window that is full of it")
        at, seen, table = until(lambda: look(mesh), "edges that are told no more of while they are looked at")
        http, rpc, tcp = (future.result() for future in loads)
    sent = {"back": len(http.fine) + 1, "rpc": len(rpc.fine), "db": len(tcp.fine)}
    until(
        lambda: all(totals(mesh, "front", to)["requests"] >= count for to, count in sent.items()),
        "the last flush",
    )
    return Load(http, rpc, tcp, at, seen, table, app_requests(mesh, "back-1") - len(http.fine))


def look(mesh: Mesh) -> tuple[float, Edges, dict[str, dict[str, Any]]] | None:
    """When it was, the edges, and the table shown at the same time; None when there is news meanwhile."""
    now, before, table = time.monotonic(), edges(mesh), service_rows(mesh)
    return (now, before, table) if edges(mesh) == before else None


def bucket(ms: float) -> int:
    """The bucket of the histogram that a duration is in."""
    return next((n for n, bound in enumerate(DURATION_BOUNDS) if ms <= bound), len(DURATION_BOUNDS))


def test_every_request_is_told(mesh: Mesh, load: Load) -> None:
    assert load.http.counts == {"requests": SECONDS * RATE, "failures": SECONDS * RATE // FAILS}
    assert load.retries == SECONDS * RATE // RETRIED
    expected = {"requests": SECONDS * RATE + 1, "failures": SECONDS * RATE // FAILS, "retries": load.retries}
    assert totals(mesh, "front", "back") == expected
    assert service_totals(mesh, "back") == expected


def test_rates_errors_and_latency_are_what_was_sent(load: Load) -> None:
    edge = load.edges["front", "back"]
    assert (edge["protocol"], edge["breaker"], edge["mtls"]) == ("http", "closed", True)
    assert edge["rps"] == load.http.rate(load.seen, 0.02)
    assert edge["success"] == pytest.approx(1 - 1 / FAILS, abs=0.001 + 1 / (RATE * 10))
    assert edge["retries_per_s"] == load.http.rate(load.seen, 0.2, 1 / RETRIED)
    assert abs(bucket(edge["p99_ms"]) - bucket(load.http.p99)) <= 1


def test_grpc_is_told_by_its_own_status(mesh: Mesh, load: Load) -> None:
    edge = load.edges["front", "rpc"]
    assert (edge["protocol"], edge["mtls"]) == ("grpc", True)
    assert edge["rps"] == load.rpc.rate(load.seen, 0.05)
    assert edge["success"] == pytest.approx(0.9, abs=0.01)
    assert abs(bucket(edge["p99_ms"]) - bucket(load.rpc.p99)) <= 1
    counts = totals(mesh, "front", "rpc")
    assert {"requests": counts["requests"], "failures": counts["failures"]} == load.rpc.counts
    assert load.rpc.counts["failures"] == SECONDS * RPC_RATE // 10


def test_tcp_is_told_by_connections(mesh: Mesh, load: Load) -> None:
    edge = load.edges["front", "db"]
    assert (edge["protocol"], edge["mtls"], edge["success"], edge["p99_ms"]) == ("tcp", True, 1, 0)
    assert edge["rps"] == load.tcp.rate(load.seen, 0.1)
    counts = totals(mesh, "front", "db")
    assert {"requests": counts["requests"], "failures": counts["failures"]} == load.tcp.counts


def test_the_table_of_services_agrees_with_the_edges(load: Load) -> None:
    for name in ("back", "rpc", "db"):
        row, edge = load.rows[name], load.edges["front", name]
        for figure in ("rps", "success", "p50_ms", "p99_ms", "retries_per_s"):
            assert row[figure] == pytest.approx(edge[figure], rel=0.05), (name, figure)
        assert (row["breaker"], row["mtls"]) == (edge["breaker"], edge["mtls"])
        assert row["history"]["rps"][-1] == row["rps"]
        assert (row["instances"], row["healthy"]) == (1, 1)
    assert (load.rows["front"]["rps"], load.rows["front"]["health"]) == (0, "healthy")


def test_there_is_no_phantom_edge(mesh: Mesh, load: Load) -> None:
    assert mesh.outside("/echo").status_code in (200, 404)
    mesh.get("front-1", "http://nobody/echo")
    mesh.get("front-1", "http://back/echo")
    mesh.get("back-1", "http://front/echo")
    until(lambda: ("back", "front") in edges(mesh), "an edge by one call")
    sent = {("front", "back"), ("front", "rpc"), ("front", "db"), ("back", "front")}
    assert {*load.edges} == sent - {("back", "front")}
    actual_graph = topology(mesh)
    assert {(edge["from"], edge["to"]) for edge in actual_graph["edges"]} <= sent
    assert {node["name"]: node["role"] for node in actual_graph["nodes"]} == {
        "back": "service", "front": "service", "rpc": "service", "db": "service", "ingress": "gateway",
    }  # fmt: skip


@contextmanager
def calling(mesh: Mesh) -> Iterator[None]:
    """A call twice a second meanwhile, so that no edge fades."""
    done = threading.Event()

    def call() -> None:
        while not done.wait(0.5):
            mesh.get("front-1", "http://back/echo")

    with ThreadPoolExecutor(1) as aside:
        calls = aside.submit(call)
        try:
            yield
        finally:
            done.set()
            calls.result()


def test_the_picture_for_people(mesh: Mesh) -> None:
    with calling(mesh):
        until(lambda: ("front", "back") in edges(mesh), "an edge")
        assert "front back http" in " ".join(mesh.run("topology").stdout.split())
        assert '"front" -> "back"' in mesh.run("topology", "-o", "dot").stdout
        assert "n_front -->|" in mesh.run("topology", "-o", "mermaid").stdout
        shown = mesh.run("top").stdout.splitlines()
    assert shown[0].split()[:3] == ["SERVICE", "RPS", "SUCCESS"]
    assert {line.split()[1] for line in shown[1:]} == {"back", "front", "rpc", "db", "ingress"}


def test_an_edge_fades_unless_a_connection_is_open(mesh: Mesh) -> None:
    with socket.create_connection(db(mesh), timeout=30) as connection:
        connection.sendall(b"x\n")
        assert connection.recv(100) == b"db-1: x\n"
        called = time.monotonic()
        mesh.get("front-1", "http://back/echo")
        until(lambda: {("front", "back"), ("front", "db")} <= {*edges(mesh)}, "both edges")
        until(lambda: ("front", "back") not in edges(mesh), "an edge that fades", every=0.3)
        assert time.monotonic() - called >= FADES
        until(lambda: time.monotonic() - called > FADES + 5, "more time than connections are shown for")
        until(lambda: edges(mesh)["front", "db"]["rps"] == 0, "an edge of no new connection")
    until(lambda: ("front", "db") not in edges(mesh), "an edge that fades when it is closed", every=0.3)


def test_tcp_fails_where_nobody_is(mesh: Mesh) -> None:
    where, before = db(mesh), totals(mesh, "front", "db")
    mesh.stop_workload("db-1")
    for _ in range(3):
        with socket.create_connection(where, timeout=30) as connection:
            assert connection.recv(100) == b""
    expected = {**before, "requests": before["requests"] + 3, "failures": before["failures"] + 3}
    until(lambda: totals(mesh, "front", "db") == expected, "three failures, told")
