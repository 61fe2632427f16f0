"""The overhead of Meshwright's configuration: two of its sidecars against two Envoys with minimal mTLS.

`python -m bench.overhead [--rounds 5] [--seconds 4] [--json FILE]`

All pairs do the same work: `wrk` sends HTTP/1.1 to the first Envoy, which calls the second over HTTP/2 with
mutual TLS 1.3, which calls an nginx in plaintext. `mesh` is a default mesh: metrics, and one trace per
hundred requests, are sent to its control plane; `traced` sends the spans to a collector that only counts. The
pairs take turns in rotating order, so that other load affects all of them; the figure is the median of the
ratios of the rounds. Every process has its own session, because Linux shares the CPUs among sessions.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.lean import Pair, lean_pair
from bench.sink import sink
from tests.envoy.harness import running_mesh, service
from tests.fakes.ports import free_port

CONNECTIONS = (4, 32)
BINARY = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello from the upstream\\n"; }} }} }}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """One nginx worker on a free port."""
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port))
    process = subprocess.Popen([BINARY, "-p", str(folder), "-c", str(file)], start_new_session=True)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


def wrk(port: int, connections: int, seconds: int) -> dict[str, float]:
    """Requests, requests per second and latencies (ms) of one run; fails on any error."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", "Host: back"]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in output, output
    assert "Socket errors" not in output, output
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    total = re.search(r"(\d+) requests in", output)
    p50, p99 = (re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", output) for share in (50, 99))
    assert rate and total and p50 and p99, output
    return {"requests": float(total[1]), "rps": float(rate[1]), "p50_ms": _ms(p50), "p99_ms": _ms(p99)}


def _ms(match: re.Match[str]) -> float:
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]


def measure(rounds: int, seconds: int) -> dict[str, Any]:
    """The figures of all pairs for each number of connections, and the number of spans."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(nginx(folder))
        pairs = {"lean": stack.enter_context(lean_pair(folder / "lean", upstream))}
        collector = stack.enter_context(sink())
        for name, environment in (("mesh", {}), ("traced", {"MESH_OTLP": f"127.0.0.1:{collector.port}"})):
            (folder / name).mkdir()
            apps = [service("front"), _behind_a_sidecar(folder / name)]
            mesh = stack.enter_context(running_mesh(folder / name, apps, **environment))
            pids = (mesh.pid("front-1.proxy"), mesh.pid("back-1.proxy"))
            pairs[name] = Pair(mesh.ports("front-1")["outbound"], pids)
        figures: dict[str, Any] = {
            f"c{number}": _compare(pairs, number, rounds, seconds) for number in CONNECTIONS
        }
    return figures | {"spans": collector.spans}


def _behind_a_sidecar(folder: Path) -> dict[str, Any]:
    """Another nginx as a service of the mesh."""
    port = free_port()
    path = folder / "nginx"
    path.mkdir()
    file = path / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=path, port=port))
    return service("back") | {
        "command": [BINARY, "-p", str(path), "-c", str(file)],
        "ports": [{"name": "http", "port": port}],
        "health": "/",
    }


def _compare(pairs: dict[str, Pair], connections: int, rounds: int, seconds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in pairs}
    for pair in pairs.values():
        wrk(pair.port, connections, 1)
    order = list(pairs)
    for _ in range(rounds):
        for name in order:
            runs[name].append(_run(pairs[name], connections, seconds))
        order.append(order.pop(0))
    figures: dict[str, Any] = {
        name: {key: round(statistics.median(values[key] for values in rows), 3) for key in rows[0]}
        for name, rows in runs.items()
    }
    for name in ("mesh", "traced"):
        for key in ("rps", "cpu_us"):
            rounds_of_both = zip(runs[name], runs["lean"], strict=True)
            figures[f"{name}/lean {key}"] = round(
                statistics.median(value[key] / lean[key] for value, lean in rounds_of_both), 3
            )
    return figures


def _run(pair: Pair, connections: int, seconds: int) -> dict[str, float]:
    """One run, with the CPU time of both Envoys per request, which depends little on other load."""
    before = pair.cpu_seconds()
    figures = wrk(pair.port, connections, seconds)
    return figures | {"cpu_us": 1e6 * (pair.cpu_seconds() - before) / figures["requests"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.rounds, options.seconds)
    for name, figure in figures.items():
        print(f"{name}: {json.dumps(figure)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
