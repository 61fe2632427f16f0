"""What bystanders notice while another caller attacks: failed requests, and p99 with and without the attack.

`python -m bench.isolation [--rate 500] [--seconds 20] [--rounds 1] [--only TEXT] [--json FILE]`

The attacks are some of those in tests/envoy/isolation, at the ingress and between sidecars of a mesh. The
bystanders are a `wrk` that sends small requests at a steady pace through the same proxies and, between
sidecars, over the same connection. An nginx answers them itself and passes the attack's requests to a Python
app. As root, Envoys, nginx and wrk have real-time priority: neither the attack's client nor that app delays
them.
`no attack, same load` makes as many calls as an attack by aborts, and lets them end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import requests

from bench.paired import prefer
from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.isolation import attacks
from tests.envoy.isolation.conftest import entrance_of
from tests.envoy.isolation.entrance import Entrance
from tests.fakes.ports import free_port

RULES = """
  rules:
    - matches: [{path: {type: PathPrefix, value: /switch/late}}]
      timeouts: {request: 100ms}
      backendRefs: [{name: back}]
    - backendRefs: [{name: back}]
"""
POLICIES = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: edge}}
spec:
  parentRefs: [{{kind: Gateway, name: ingress}}]{RULES}---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: late}}
spec:
  parentRefs: [{{kind: Service, group: "", name: back}}]{RULES}"""
"""Calls to `/switch/late` time out, at the ingress and between sidecars."""

BYSTANDERS = 4
"""Connections of bystanders. Each makes a call, waits 10 ms, and makes the next one (paced.lua)."""

SCRIPT = Path(__file__).with_name("paced.lua")

NGINX_BINARY = shutil.which("nginx") or "/usr/sbin/nginx"
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
worker_rlimit_nofile 65536;
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder}; client_max_body_size 0;
  map $http_upgrade $wanted {{ default upgrade; "" ""; }}
  server {{ listen 127.0.0.1:{port};
    location = /hello {{ return 200 "hello\\n"; }}
    location / {{ proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wanted;
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s; }} }} }}
"""

SETTLE = 4.0
"""Seconds of calm between two measurements: calls of the last attack end."""


def _calls(rate: int, seconds: float, kind: attacks.Attack) -> attacks.Stall:
    @asynccontextmanager
    async def attack(entrance: Entrance, _: int) -> AsyncIterator[None]:
        task = asyncio.create_task(attacks.at_rate(kind(entrance), rate, seconds))
        yield
        await task

    return attack


def _finished_call(entrance: Entrance) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await entrance.get("/delay?ms=80")

    return call


@asynccontextmanager
async def _nothing(_: Entrance, __: int) -> AsyncIterator[None]:
    yield


async def _measure(
    entrance: Entrance, attack: AbstractAsyncContextManager[None], seconds: float
) -> dict[str, float]:
    """Calls and failures of the bystanders in `seconds` of an attack."""
    async with attack:
        target = f"http://127.0.0.1:{entrance.port}/hello"
        command = ["wrk", "-t1", f"-c{BYSTANDERS}", f"-d{seconds:.0f}s", "--latency", "-s", str(SCRIPT)]
        wrk = await asyncio.create_subprocess_exec(
            *(*command, "-H", f"Host: {entrance.host}", target),
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: prefer(0),
        )
        output, _ = await wrk.communicate()
    await asyncio.sleep(SETTLE)
    figure: dict[str, float] = json.loads(output.splitlines()[-1])
    return figure


async def measure(mesh: Mesh, options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds; each attack at each entrance relative to the calm of its round."""
    kinds: dict[str, attacks.Stall] = {
        "no attack, same load": _calls(options.rate, options.seconds, _finished_call),
        "abandoned calls": _calls(options.rate, options.seconds, attacks.abandoned_call),
        "timed-out calls": _calls(options.rate, options.seconds, attacks.timed_out_call),
        "abandoned WebSockets": _calls(options.rate, options.seconds, attacks.abandoned_websocket),
        "unread downloads": attacks.unread_downloads,
    }
    figures: dict[str, Any] = {}
    for place in options.places.split(","):
        entrance = entrance_of(mesh, place)
        rounds: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            calm = await _measure(entrance, _nothing(entrance, 0), options.seconds)
            for name, attack in kinds.items():
                if options.only in name:
                    figure = await _measure(entrance, attack(entrance, options.transfers), options.seconds)
                    ratio = round(figure["p99_ms"] / calm["p99_ms"], 2)
                    rounds.setdefault(name, []).append(figure | {"p99/calm": ratio})
        for name, results in rounds.items():
            key = f"{place}: {name}"
            figures[key] = {
                field: statistics.median(result[field] for result in results) for field in results[0]
            }
            print(f"{key}: {json.dumps(figures[key])}", flush=True)
    return figures


def _nginx(folder: Path, app: int) -> dict[str, Any]:
    """A service that answers `/hello` and passes everything else to the port `app`."""
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, app=app))
    return service("back") | {
        "command": [NGINX_BINARY, "-p", str(folder), "-c", str(file)],
        "ports": [{"name": "http", "port": port}],
        "health": "/hello",
    }


def _services(folder: Path) -> list[dict[str, Any]]:
    app = free_port()
    slow = service("slow") | {"ports": [{"name": "http", "port": app}]}
    return [service("front"), slow, _nginx(folder, app)]


def _prefer(mesh: Mesh) -> None:
    for name in ("ingress.proxy", "front-1.proxy", "back-1.proxy", "back-1"):
        for task in Path(f"/proc/{mesh.pid(name)}/task").iterdir():
            prefer(int(task.name))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--transfers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1, help="figures are medians of the rounds")
    parser.add_argument("--places", default="ingress,sidecar")
    parser.add_argument("--only", default="", help="attacks with this text in their name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_mesh(Path(folder), _services(Path(folder))) as mesh:
        mesh.apply(POLICIES)
        slow = f"{mesh.app('slow-1')}/switches/late/200?ms=1000"
        requests.post(slow, timeout=10).raise_for_status()
        _prefer(mesh)
        figures = asyncio.run(measure(mesh, options))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
