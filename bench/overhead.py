"""The overhead of Meshwright's configuration: two of its sidecars against two Envoys with minimal mTLS.

`python -m bench.overhead [--rounds 5] [--seconds 2] [--only mesh,transports,features] [--json FILE]`

All pairs do the same work: `wrk` sends HTTP/1.1 to the first Envoy, which calls the second with mutual TLS
1.3, which calls an nginx in plaintext. Each pair is compared with `lean`, the leanest pair with the mesh's
transport:

- `mesh`: a default mesh. Metrics, the request log and one trace per hundred requests go to its control plane.
- Transports: lean pairs that differ only in how one Envoy calls the other (docs/decisions/0009).
- Features: the lean pair with one feature of the mesh, and with all of them.

The pairs take turns in rotating order, so that other load affects all of them; a ratio is the median of the
ratios of the rounds. CPU per request depends less on other load than requests per second do. Every process
has its own session, because Linux shares the CPUs among sessions.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.features import SECRET, Change, credential, features, transports
from bench.lean import Pair, lean_pair
from bench.sink import sink
from meshwright.sidecar.proxy_credential import load_credential
from tests.envoy.harness import running_mesh, service
from tests.fakes.ports import free_port

CONNECTIONS = (4, 32)
LEAN = "lean"
PARTS = ("mesh", "transports", "features")
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


def wrk(pair: Pair, connections: int, seconds: int) -> dict[str, float]:
    """Requests, requests per second and latencies (ms) of one run; fails on any error."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", "Host: back"]
    if pair.header:
        command += ["-H", pair.header]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{pair.port}/"], capture_output=True, text=True, check=True
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


def measure(rounds: int, seconds: int, parts: tuple[str, ...]) -> dict[str, Any]:
    """The figures of all pairs for each number of connections."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(nginx(folder))
        collector = stack.enter_context(sink())
        (transport, isolation), *others = transports().items()
        changes: dict[str, tuple[Change, ...]] = {LEAN: (isolation,)}
        if "transports" in parts:
            changes |= {name: (change,) for name, change in others}
        if "features" in parts:
            added = features(collector.port)
            changes |= {name: (isolation, change) for name, change in added.items()}
        pairs = {
            name: stack.enter_context(lean_pair(folder / f"pair-{number}", upstream, *change))
            for number, (name, change) in enumerate(changes.items())
        }
        pairs = {name: replace(pair, header=credential(SECRET)) for name, pair in pairs.items()}
        if "mesh" in parts:
            pairs["mesh"] = stack.enter_context(_mesh_pair(folder / "mesh"))
        figures = {f"c{number}": _compare(pairs, number, rounds, seconds) for number in CONNECTIONS}
    return {"transport": transport, **figures}


@contextmanager
def _mesh_pair(folder: Path) -> Iterator[Pair]:
    """The sidecars of `front` and `back` in a default mesh."""
    folder.mkdir()
    apps = [service("front"), _behind_a_sidecar(folder)]
    with running_mesh(folder, apps, MESH_PROXY_CREDENTIAL="on") as mesh:
        secret = load_credential(mesh.state / "sidecars" / "front-1").secret
        pids = (mesh.pid("front-1.proxy"), mesh.pid("back-1.proxy"))
        yield Pair(mesh.ports("front-1")["outbound"], pids, credential(secret))


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


def _compare(pairs: Mapping[str, Pair], connections: int, rounds: int, seconds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in pairs}
    for pair in pairs.values():
        wrk(pair, connections, 1)
    order = list(pairs)
    for _ in range(rounds):
        for name in order:
            runs[name].append(_run(pairs[name], connections, seconds))
        order.append(order.pop(0))
    return {name: _figures(rows, runs[LEAN]) for name, rows in runs.items()}


def _run(pair: Pair, connections: int, seconds: int) -> dict[str, float]:
    """One run, with the CPU time of both Envoys per request."""
    before = pair.cpu_seconds()
    figures = wrk(pair, connections, seconds)
    return figures | {"cpu_us": 1e6 * (pair.cpu_seconds() - before) / figures["requests"]}


def _figures(rows: list[dict[str, float]], lean: list[dict[str, float]]) -> dict[str, float]:
    """Medians, and medians of the ratios to the lean pair of the same round."""
    medians = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    ratios = {
        f"{key}/lean": round(
            statistics.median(row[key] / other[key] for row, other in zip(rows, lean, strict=True)), 3
        )
        for key in ("rps", "cpu_us")
    }
    return medians | ratios


def _print(figures: dict[str, Any]) -> None:
    print(f"transport of lean, of the features and of mesh: {figures['transport']}")
    for connections, rows in figures.items():
        if connections == "transport":
            continue
        columns = "".join(
            f"{title:>9}" for title in ("rps", "of lean", "CPU µs", "of lean", "p50 ms", "p99 ms")
        )
        print(f"\n{connections:<32}{columns}")
        for name, row in rows.items():
            keys = ("rps", "rps/lean", "cpu_us", "cpu_us/lean", "p50_ms", "p99_ms")
            print(f"{name:<32}" + "".join(f"{row[key]:>9.4g}" for key in keys))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help="a selection of " + ",".join(PARTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.rounds, options.seconds, tuple(options.only.split(",")))
    _print(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
