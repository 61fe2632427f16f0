"""Two Envoys with a minimal hand-written mutual TLS configuration: static, no RDS, no extra filters."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.features import Change
from meshwright.control_plane.envoy_binary import envoy_binary
from tests.envoy.harness import until
from tests.fakes.pki import Pki, key_pem
from tests.fakes.ports import free_port

Json = dict[str, Any]
TYPE = "type.googleapis.com/envoy.extensions"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Upstream:
    """The app behind a pair: its port on 127.0.0.1 and its process."""

    port: int
    pid: int


@dataclass(frozen=True)
class Pair:
    """Two Envoys: the first one's port, the processes, a header that callers must send, and what they get.

    `services` are processes that the Envoys ask.
    """

    port: int
    envoys: tuple[int, ...]
    upstream: int
    header: str = ""
    scheme: str = "http"
    path: str = "/"
    services: tuple[int, ...] = ()
    host: str = "back"

    @property
    def url(self) -> str:
        """What callers get."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the Envoys, of the app behind them, and of what they ask."""
        return (*self.envoys, self.upstream, *self.services)

    def cpu_seconds(self) -> float:
        """CPU seconds used by both Envoys, as the scheduler counts them (in ns)."""
        tasks = (task for pid in self.envoys for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def lean_pair(folder: Path, upstream: Upstream, *changes: Change) -> Iterator[Pair]:
    """Client and server Envoy in front of `upstream`, with `changes` to their bootstraps."""
    folder.mkdir()
    pki = Pki()
    (folder / "root.pem").write_bytes(pki.roots)
    for name in ("front", "back"):
        signed, key = pki.svid(name)
        (folder / f"{name}.pem").write_text(signed.certificate)
        (folder / f"{name}.key").write_bytes(key_pem(key))
    plain_port, tls_port = free_port(), free_port()
    client = _bootstrap(_listener(plain_port, None), _cluster(tls_port, _tls("front", folder, upstream=True)))
    server = _bootstrap(
        _listener(tls_port, _tls("back", folder, upstream=False)), _cluster(upstream.port, None)
    )
    for change in changes:
        change("client", client)
        change("server", server)
    with ExitStack() as stack:
        configs = (("server", server), ("client", client))
        pids = [stack.enter_context(_envoy(folder / f"{name}.json", config)) for name, config in configs]
        yield Pair(plain_port, tuple(pids), upstream.pid)


@contextmanager
def _envoy(path: Path, config: Json) -> Iterator[int]:
    path.write_text(json.dumps(config))
    options = ("--concurrency", "1", "--disable-hot-restart", "-l", "error")
    ready = Path(config["admin"]["address"]["pipe"]["path"])
    process = subprocess.Popen([str(envoy_binary()), "-c", str(path), *options], start_new_session=True)
    try:
        until(ready.exists, f"Envoy of {path.name}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _bootstrap(listener: Json, cluster: Json) -> Json:
    pipe = f"/tmp/lean-{free_port()}.sock"  # noqa: S108  a unix socket's path is short
    return {
        "node": {"id": "lean", "cluster": "lean"},
        "admin": {"address": {"pipe": {"path": pipe}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _socket(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(port: int, tls: Json | None) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "lean",
        "http_filters": [router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next"}}],
                }
            ]
        },
    }
    chain: Json = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    }
    if tls:
        chain["transport_socket"] = tls
    return {"name": "lean", "address": _socket(port), "filter_chains": [chain]}


def _cluster(port: int, tls: Json | None) -> Json:
    endpoint = {"endpoint": {"address": _socket(port)}}
    cluster: Json = {
        "name": "next",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if tls:
        cluster["transport_socket"] = tls
        options = {"@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions"}
        explicit: Json = {"explicit_http_config": {"http2_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {OPTIONS: options | explicit}
    return cluster


def _tls(name: str, folder: Path, *, upstream: bool) -> Json:
    context: Json = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(folder / f"{name}.pem")},
                "private_key": {"filename": str(folder / f"{name}.key")},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(folder / "root.pem")}},
        "alpn_protocols": ["h2"],
    }
    kind = "UpstreamTlsContext" if upstream else "DownstreamTlsContext"
    config: Json = {"@type": f"{TYPE}.transport_sockets.tls.v3.{kind}", "common_tls_context": context}
    if not upstream:
        config["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}
