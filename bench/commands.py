"""What commands cost where no work is due: CPU time of reading, of changes that change nothing, and of a Tab.

`python -m bench.commands [--runs 7] [--only status,get] [--json FILE]`

It starts a mesh of two services and runs each command so many times, in turns. A figure is the median of user
and system time of its process and of those that it waits for, so the time that the control plane needs
does not count. Commands should answer within 300 ms, and a Tab within 150 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.envoy.harness import Mesh, running_mesh, service, until

GOAL_MS, TAB_GOAL_MS = 300, 150

POLICIES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
---
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec:
  targetRefs: [{kind: Service, name: back}]
  attempts: 2
"""

OFFLINE = (
    *("--help", "--version", "get --help", "up --help", "apply --help", "dash --help", "convert --help"),
    *("schema", "schema Retry", "validate -f {policies}", "context list", "completion bash"),
)
READ = (
    *(
        "status",
        "status -o json",
        "get",
        "get services",
        "get instances",
        "get Retry/back -o yaml",
        "ps",
        "proxies",
    ),
    *(
        "proxy front-1 routes",
        "proxy front-1 clusters",
        "proxy front-1 stats",
        "topology",
        "top --once",
        "events",
    ),
    *("logs front", "traces", "trace {trace}", "why {trace}", "history", "show 1", "at -1s", "authz matrix"),
    *("explain --from front --to back GET /", "lint", "push status", "rollout list", "token list", "version"),
    "doctor",
)
NO_CHANGE = ("diff -f {policies}", "apply -f {policies}", "up -f {application}")
TABS = ("", "sta", "get ", "get Retry/", "logs ", "rollback ", "proxy ", "top --", "--context ")


def recorded_trace(mesh: Mesh) -> str:
    """The ID of a trace that the mesh has recorded."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    mesh.get("front-1", "http://back/", headers=headers).raise_for_status()
    until(lambda: mesh.run("trace", trace, check=False).returncode == 0, "the trace", every=0.5)
    return trace


def command_lines(mesh: Mesh, policies: Path, trace: str) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of each process to measure; names of Tabs begin with `Tab:`."""
    values = {
        "policies": str(policies),
        "application": str(mesh.state.with_name("application.yaml")),
        "trace": trace,
    }
    for text in (*OFFLINE, *READ, *NO_CHANGE):
        name = text.format(policies="policies.yaml", application="application.yaml", trace="ID")
        yield name, ["-m", "meshwright.cli", *shlex.split(text.format(**values))]
    for text in TABS:
        yield f"Tab: mesh {text}", ["-I", "-m", "meshwright.cli.completion.answer", *text.split(" ")]


def cpu_ms(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Milliseconds of user and system time of a Python process; only `doctor` may fail, by its findings."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode and "doctor" not in arguments:
            errors.seek(0)
            raise RuntimeError(f"{shlex.join(arguments)}: {errors.read().decode()}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(runs: int, only: Sequence[str]) -> dict[str, float]:
    """The median of each command in ms; `only`: those with one of these texts in their name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policies = folder / "policies.yaml"
        policies.write_text(POLICIES)
        with running_mesh(folder, [service("front"), service("back")]) as mesh:
            mesh.run("apply", "-f", str(policies), "--wait")
            chosen = [
                (command, arguments)
                for command, arguments in command_lines(mesh, policies, recorded_trace(mesh))
                if not only or any(text in command for text in only)
            ]
            samples: dict[str, list[float]] = defaultdict(list)
            for _ in range(runs):
                for command, arguments in chosen:
                    samples[command].append(cpu_ms(arguments, mesh.environment))
    return {command: round(statistics.median(each), 1) for command, each in samples.items()}


def main() -> None:
    """Measure and print, the dearest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", default="", help="commands with one of these texts, separated by commas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = measure(options.runs, [each for each in options.only.split(",") if each])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print(f"{'command':<42}{'CPU (ms)':>10}{'goal':>8}")
    for command, ms in sorted(figures.items(), key=lambda item: -item[1]):
        goal = TAB_GOAL_MS if command.startswith("Tab:") else GOAL_MS
        print(f"{command:<42}{ms:>10}{goal:>8}{'  over' if ms > goal else ''}")


if __name__ == "__main__":
    main()
