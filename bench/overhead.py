"""The overhead of Meshwright's configuration: two of its sidecars against two Envoys with minimal mTLS.

`python -m bench.overhead [--rounds 40] [--seconds 0.1] [--only mesh,transports,features,kinds] [--json FILE]`

All pairs do the same work: `wrk` sends HTTP/1.1 to the first Envoy, which calls the second with mutual TLS
1.3, which calls an nginx in plaintext. Each pair is compared with `lean`, the leanest pair with the mesh's
transport:

- `mesh`: a default mesh. Metrics, the request log and one trace per hundred requests go to its control plane.
- Transports: lean pairs that differ only in how one Envoy calls the other (docs/decisions/0009).
- Features: the lean pair with one feature of the mesh, and with all of them.
- Kinds: the lean pair with one policy in force at the second Envoy, which lets every request pass; TLS of
  clients; compression, compared with `lean` that sends the same 16 KiB as they are.

The bursts of a pair are compared with those of `lean` right before and after them (paired.py), so figures are
good on a busy machine too. Requests per second are those of one core that everything shares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import requests

from bench.features import SECRET, Change, credential, features, transports
from bench.gateway_kinds import PAGE, compressions, https
from bench.kinds import GLOBAL_LIMIT, kinds
from bench.lean import Pair, Upstream, lean_pair
from bench.limit_service import limit_service
from bench.paired import Comparison, Sample, compare
from bench.sink import sink
from meshwright.sidecar.proxy_credential import load_credential
from tests.envoy.harness import running_mesh, service, until
from tests.fakes.ports import free_port

CONNECTIONS = (4, 32)
LEAN = "lean"
HTTPS = "HTTPS listener"
PAGES = "lean, pages"
"""The base of compression: lean with 16 KiB of JSON as the response."""
PARTS = ("mesh", "transports", "features", "kinds")
BINARY = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello from the upstream\\n"; }}
    location = /page {{ root {folder}; default_type application/json; }} }} }}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[Upstream]:
    """One nginx worker on a free port."""
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port))
    (folder / "page").write_text(PAGE)
    process = subprocess.Popen([BINARY, "-p", str(folder), "-c", str(file)], start_new_session=True)
    try:
        yield Upstream(port, process.pid)
    finally:
        process.terminate()
        process.wait(10)


def wait_until_ready(pair: Pair) -> None:
    """Wait until the pair forwards requests."""
    name, _, value = pair.header.partition(": ")
    headers = {"Host": "back"} | ({name: value} if name else {})

    def answers() -> bool:
        with suppress(requests.ConnectionError), warnings.catch_warnings(action="ignore"):
            return requests.get(pair.url, headers=headers, timeout=5, verify=False).ok  # noqa: S501  loopback
        return False

    until(answers, f"the pair at port {pair.port}")


def measure(rounds: int, seconds: float, parts: tuple[str, ...]) -> dict[str, Any]:
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
        if "kinds" in parts:
            limits_port, limits_pid = stack.enter_context(limit_service())
            added = {HTTPS: https} | kinds(upstream.port, limits_port)
            added |= {PAGES: lambda side, bootstrap: None} | compressions()  # noqa: ARG005
            changes |= {name: (isolation, change) for name, change in added.items()}
        pairs = {
            name: stack.enter_context(lean_pair(folder / f"pair-{number}", upstream, *change))
            for number, (name, change) in enumerate(changes.items())
        }
        pairs = {name: replace(pair, header=credential(SECRET)) for name, pair in pairs.items()}
        if "mesh" in parts:
            pairs["mesh"] = stack.enter_context(_mesh_pair(folder / "mesh"))
        if "kinds" in parts:
            pairs[HTTPS] = replace(pairs[HTTPS], scheme="https")
            pairs[GLOBAL_LIMIT] = replace(pairs[GLOBAL_LIMIT], services=(limits_pid,))
        of_pages = {
            name: replace(pairs.pop(name), path="/page") for name in (PAGES, *compressions()) if name in pairs
        }
        for pair in (*pairs.values(), *of_pages.values()):
            wait_until_ready(pair)
        figures = {}
        for number in CONNECTIONS:
            figures[f"c{number}"] = _figures(LEAN, *compare(pairs, LEAN, number, rounds, seconds))
            if of_pages:
                of_page = _figures(PAGES, *compare(of_pages, PAGES, number, rounds, seconds))
                figures[f"c{number}, pages"] = of_page
    return {"transport": transport, **figures}


@contextmanager
def _mesh_pair(folder: Path) -> Iterator[Pair]:
    """The sidecars of `front` and `back` in a default mesh."""
    folder.mkdir()
    apps = [service("front"), behind_a_sidecar(folder)]
    with running_mesh(folder, apps, MESH_PROXY_CREDENTIAL="on") as mesh:
        secret = load_credential(mesh.state / "sidecars" / "front-1").secret
        pids = (mesh.pid("front-1.proxy"), mesh.pid("back-1.proxy"))
        yield Pair(mesh.ports("front-1")["outbound"], pids, mesh.pid("back-1"), credential(secret))


def behind_a_sidecar(folder: Path) -> dict[str, Any]:
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


def _figures(base: str, typical: Sample, comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    ratios = {name: asdict(comparison) for name, comparison in comparisons.items()}
    return {base: asdict(typical), **ratios}


def _print(figures: dict[str, Any]) -> None:
    print(f"transport of lean, of the features and of mesh: {figures.pop('transport')}")
    for connections, rows in figures.items():
        base = LEAN if LEAN in rows else PAGES
        typical = rows.pop(base)
        cost = f"{typical['cpu_us']:.0f} µs of CPU a request, {typical['rps']:.0f} requests/s"
        print(f"\n{connections}: {base} {cost}")
        print(f"{f'relative to {base}, 95 % interval':<34}{'CPU a request':<24}requests/s")
        for name, row in rows.items():
            columns = (
                f"{value['median']:.3f} [{value['low']:.3f} {value['high']:.3f}]"
                for value in (row["cpu"], row["rps"])
            )
            print(f"{name:<34}" + "".join(f"{column:<24}" for column in columns))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--only", default=",".join(PARTS), help="a selection of " + ",".join(PARTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.rounds, options.seconds, tuple(options.only.split(",")))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    _print(figures)


if __name__ == "__main__":
    main()
