"""What a gateway on the way outside costs: an ExternalService called directly, and the same with `via`.

`python -m bench.egress [--rounds 40] [--seconds 0.1] [--json FILE]`

`wrk` sends HTTP/1.1 to a sidecar of a default mesh, which calls an nginx outside: itself, or by mutual TLS
through the proxy of a gateway. The bursts are compared as in bench.overhead; all processes share one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import requests

from bench.lean import Pair
from bench.overhead import CONNECTIONS, nginx
from bench.paired import compare
from tests.envoy.harness import running_mesh, service, until
from tests.fakes.ports import free_port

DIRECT, VIA = "direct", "via"

OUTSIDE = """---
apiVersion: meshwright.io/v1
kind: ExternalService
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example]
  ports: [{{port: 80, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1}}]
"""


@contextmanager
def pairs(folder: Path) -> Iterator[dict[str, Pair]]:
    """The two ways from one sidecar to one nginx."""
    gateway = {"name": "egress", "port": free_port(), "concurrency": 1}
    mesh_folder = folder / "mesh"
    mesh_folder.mkdir()
    with nginx(folder) as upstream, running_mesh(mesh_folder, [service("front")], gateways=[gateway]) as mesh:
        direct = OUTSIDE.format(name=DIRECT, port=upstream.port)
        mesh.apply(direct + OUTSIDE.format(name=VIA, port=upstream.port) + "  via: {name: egress}\n")
        port, sidecar, egress = (
            mesh.ports("front-1")["outbound"],
            mesh.pid("front-1.proxy"),
            mesh.pid("egress.proxy"),
        )
        yield {
            DIRECT: Pair(port, (sidecar,), upstream.pid, host=f"{DIRECT}.example"),
            VIA: Pair(port, (sidecar, egress), upstream.pid, host=f"{VIA}.example"),
        }


def _answers(pair: Pair) -> bool:
    return requests.get(pair.url, headers={"Host": pair.host}, timeout=5).ok


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """For each number of connections the cost of a direct call, and that of `via` relative to it."""
    figures = {}
    with tempfile.TemporaryDirectory() as name, pairs(Path(name)) as ways:
        for pair in ways.values():
            until(partial(_answers, pair), pair.host)
        for number in CONNECTIONS:
            typical, comparisons = compare(ways, DIRECT, number, rounds, seconds)
            figures[f"c{number}"] = {DIRECT: asdict(typical), VIA: asdict(comparisons[VIA])}
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.rounds, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    for connections, row in figures.items():
        typical, via = row[DIRECT], row[VIA]
        print(f"{connections}: {DIRECT} {typical['cpu_us']:.0f} µs of CPU, {typical['rps']:.0f} requests/s")
        for what, unit in (("cpu", "CPU a request"), ("rps", "requests/s")):
            value = via[what]
            interval = f"[{value['low']:.2f} {value['high']:.2f}]"
            print(f"  {VIA}: {value['median']:.2f} {interval} times the {unit}")


if __name__ == "__main__":
    main()
