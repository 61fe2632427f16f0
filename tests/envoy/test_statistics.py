"""What Envoy's pushed statistics count: the facts that the picture of the mesh is built on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import pytest
import requests

from meshwright.sidecar import bootstrap
from meshwright.sidecar.bootstrap import telemetry
from tests.envoy.harness import until
from tests.fakes.otlp import MetricsCollector, metrics_collector
from tests.fakes.ports import free_port
from tests.sidecar.conftest import ENVOY

TYPE = "type.googleapis.com/envoy.extensions"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
RETRY = {"retry_on": "5xx", "num_retries": 1}


class App(BaseHTTPRequestHandler):
    """Responds to `/503` with 503, to `/flip` with 503 and 200 in turn, to `/wait` once `resume` is set."""

    protocol_version = "HTTP/1.1"
    resume = Event()
    flips = 0

    def do_GET(self) -> None:
        App.flips += self.path == "/flip"
        if self.path == "/wait":
            App.resume.wait(20)
        self.send_response(503 if self.path == "/503" or (self.path == "/flip" and App.flips % 2) else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@dataclass
class Lab:
    """A real Envoy that routes `/CLUSTER/PATH` to the cluster, and the collector of its statistics."""

    port: int
    collector: MetricsCollector

    def get(self, path: str) -> int:
        """The status of the response."""
        return requests.get(f"http://127.0.0.1:{self.port}/{path}", timeout=30).status_code

    def pushed(self, cluster: str, **expected: int) -> dict[str, int]:
        """The statistics pushed for a cluster, once they include all of `expected` (`a__b` means a.b)."""
        counts = {name.replace("__", "."): count for name, count in expected.items()}
        until(lambda: counts.items() <= self.collector.of_cluster(cluster).items(), f"{cluster}: {counts}")
        return self.collector.of_cluster(cluster)


def cluster(name: str, port: int = 0, *, h2: bool = False, **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    hosts = [{"lb_endpoints": [{"endpoint": {"address": address}}]}] if port else []
    assignment = {"cluster_name": name, "endpoints": hosts}
    if h2:
        http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
        more["typed_extension_protocol_options"] = {
            OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **http2}
        }
    return {"name": name, "type": "STATIC", "load_assignment": assignment, **more}


def route(name: str, **more: Any) -> dict[str, Any]:
    return {"match": {"prefix": f"/{name}/"}, "route": {"cluster": name, "prefix_rewrite": "/", **more}}


def config(port: int, clusters: list[dict[str, Any]]) -> bootstrap.Json:
    routes = [
        {"match": {"prefix": "/lab.Rpc/"}, "route": {"cluster": "rpc:grpc"}},
        route("flaky", retry_policy=RETRY),
        route("slow", timeout="0.2s"),
        *(route(name) for name in ("limited", "empty", "gone")),
    ]
    filters = [
        {"name": "stats", "typed_config": {"@type": f"{TYPE}.filters.http.grpc_stats.v3.FilterConfig"}},
        {"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}},
    ]
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": filters,
    }
    listener = {
        "name": "outbound",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "node": {"id": "front-1", "cluster": "front"},
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "stats_config": telemetry.stats_config(),
        **telemetry.stats_sink("front", "front-1"),
    }


def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
    """A gRPC method that always fails with UNAVAILABLE."""
    context.abort(grpc.StatusCode.UNAVAILABLE, "no")


@contextmanager
def rpc() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    methods = {"Refuse": grpc.unary_unary_rpc_method_handler(refuse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Rpc", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder: Path = tmp_path_factory.mktemp("statistics")
    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    Thread(target=server.serve_forever, daemon=True).start()
    with metrics_collector() as (collector, otlp), rpc() as rpc_port:
        app, port = server.server_address[1], free_port()
        clusters = [
            cluster("/telemetry", otlp, h2=True),
            *(cluster(name, app) for name in ("flaky", "slow")),
            cluster("limited", app, circuit_breakers={"thresholds": [{"max_requests": 1}]}),
            cluster("empty"),
            cluster("gone", free_port()),
            cluster("rpc:grpc", rpc_port, h2=True),
        ]
        (folder / "bootstrap.json").write_text(json.dumps(config(port, clusters)))
        argv = bootstrap.envoy_command(str(ENVOY), "./bootstrap.json")
        with subprocess.Popen(argv, cwd=folder) as envoy:
            try:
                until(lambda: collector.resources, "the first push")
                yield Lab(port, collector)
            finally:
                App.resume.set()
                envoy.terminate()
                server.shutdown()


def call_flaky(lab: Lab) -> dict[str, int]:
    """The statistics of `flaky` after one successful request that is fully reported."""
    before = lab.collector.of_cluster("flaky")
    assert lab.get("flaky/ok") == 200
    names = ("upstream_rq_xx.2", "upstream_rq_time", "upstream_rq_total", "upstream_rq_completed")
    return lab.pushed("flaky", **{name.replace(".", "__"): before.get(name, 0) + 1 for name in names})


def test_statistics_name_their_sidecar_and_are_deltas(lab: Lab) -> None:
    call_flaky(lab)
    resource = lab.collector.resources[0]
    assert (resource["service.name"], resource["service.instance.id"]) == ("front", "front-1")
    assert lab.collector.temporalities == {1}
    assert lab.collector.bounds == {telemetry.DURATION_BOUNDS}
    assert not lab.collector.of_cluster("/telemetry")


def test_retried_request_counts_once_with_two_attempts(lab: Lab) -> None:
    before = call_flaky(lab)
    assert lab.get("flaky/flip") == 200
    expected = {
        "upstream_rq_retry": 1,
        "upstream_rq_total": before["upstream_rq_total"] + 2,
        "upstream_rq_completed": before["upstream_rq_completed"] + 1,
    }
    pushed = lab.pushed("flaky", **expected)
    assert "upstream_rq_xx.5" not in pushed


def test_timeout_is_a_failure_without_a_duration(lab: Lab) -> None:
    assert lab.get("slow/wait") == 504
    pushed = lab.pushed("slow", upstream_rq_xx__5=1, upstream_rq_timeout=1, upstream_rq_total=1)
    assert "upstream_rq_time" not in pushed


def test_request_over_the_limit_reaches_no_host(lab: Lab) -> None:
    App.resume.clear()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(lab.get, "limited/wait") for _ in range(3)]
        until(lambda: sum(future.done() for future in futures) == 2, "two rejections")
        App.resume.set()
    assert sorted(future.result() for future in futures) == [200, 503, 503]
    expected = {
        "upstream_rq_completed": 3,
        "upstream_rq_xx__5": 2,
        "upstream_rq_total": 1,
        "upstream_rq_time": 1,
    }
    lab.pushed("limited", **expected)


def test_cluster_without_a_host_fails_without_an_attempt(lab: Lab) -> None:
    assert (lab.get("empty/ok"), lab.get("gone/ok")) == (503, 503)
    assert "upstream_rq_total" not in lab.pushed("empty", upstream_rq_xx__5=1, upstream_rq_completed=1)
    assert "upstream_rq_total" not in lab.pushed("gone", upstream_rq_xx__5=1, upstream_cx_connect_fail=1)


def test_failed_grpc_call_is_http_200_with_a_grpc_status(lab: Lab) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{lab.port}") as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/lab.Rpc/Refuse", None, None)(b"", timeout=20)
    lab.pushed("rpc_grpc", grpc__14=1, upstream_rq_xx__2=1, upstream_rq_completed=1)
    assert ("rpc_grpc", "cluster.grpc", "14") in lab.collector.totals
