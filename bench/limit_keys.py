"""What ever new keys of limits cost in memory: each request has a header with a value of its own.

The global limit keeps 100,000 values (store/limit_counters.py), the local one 10,000 in each proxy. Requests
go through two sidecars as fast as they pass; further values must cost no more memory. Those of the global
limit share one bucket, so they are refused.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.overhead import behind_a_sidecar
from tests.envoy.harness import Mesh, running_mesh, service, until

POLICIES = """
apiVersion: meshwright.io/v1
kind: RateLimit
metadata: {name: together}
spec:
  targetRefs: [{kind: Service, name: back}]
  scope: global
  limits: [{requests: 10, per: 1h, by: [{type: Header, name: x-key}]}]
---
apiVersion: meshwright.io/v1
kind: RateLimit
metadata: {name: apart}
spec:
  targetRefs: [{kind: Service, name: back}]
  limits: [{requests: 10, per: 1h, by: [{type: Header, name: x-key}]}]
"""

SCRIPT = """
local run, number = "", 0
init = function(args) run = args[1] end
request = function()
  number = number + 1
  return wrk.format("GET", "/", {["Host"] = "back", ["x-key"] = run .. "-" .. number})
end
"""

CONNECTIONS, SECONDS = 16, 10
PROCESSES = ("store", "control-plane", "back-1.proxy")


def measure(keys: int) -> list[dict[str, Any]]:
    """Memory of each process in MiB before, and after each run of wrk, until there were this many keys."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_mesh(Path(folder), [service("front"), behind_a_sidecar(Path(folder))]) as mesh,
    ):
        until(lambda: mesh.get("front-1", "http://back/").ok, "the service responds")
        mesh.apply(POLICIES)
        script = Path(folder) / "keys.lua"
        script.write_text(SCRIPT)
        sent = refused = 0
        rows = [{"keys": 0, "refused": 0, **_memory(mesh)}]
        while sent < keys:
            total, more = _send(mesh, script, f"run-{len(rows)}")
            sent, refused = sent + total, refused + more
            rows.append({"keys": sent, "refused": refused, **_memory(mesh)})
        return rows


def _memory(mesh: Mesh) -> dict[str, float]:
    return {name: _rss(mesh.pid(name)) for name in PROCESSES}


def _rss(pid: int) -> float:
    """Resident memory of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert resident, text
    return int(resident[1]) / 1024


def _send(mesh: Mesh, script: Path, run: str) -> tuple[int, int]:
    """Send requests for a while, each with a key of its own; how many there were, and were refused."""
    url = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "30s", "-s", str(script)]
    output = subprocess.run([*command, url, "--", run], check=True, stdout=subprocess.PIPE, text=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    total = re.search(r"(\d+) requests in", output)
    assert total, output
    return int(total[1]), int(refused[1]) if refused else 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.keys)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"{'keys':>8}{'refused':>9}" + "".join(f"{name + ', MiB':>20}" for name in PROCESSES))
    for row in rows:
        print(f"{row['keys']:>8}{row['refused']:>9}" + "".join(f"{row[name]:>20.1f}" for name in PROCESSES))


if __name__ == "__main__":
    main()
