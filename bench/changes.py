"""What requests notice of changes to a running mesh: reconcile, scale, restart, upgrade. Nothing is retried.

`python -m bench.changes [--rate 100] [--calm 10] [--only scale,...] [--json FILE]`

A gateway calls `front` (2 instances behind sidecars), and a route is the only policy. Requests start at fixed
times on connections that are kept, whether earlier ones have ended or not, and their latency counts from that
time. They are POST: clients retry others by themselves if a kept connection was closed. Before each change
the same load runs for `--calm` seconds without one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.cli.test_up import ROUTE, application_file, stopped_afterwards
from tests.envoy.harness import ROOT, service, settings
from tests.fakes.ports import free_port

TIMEOUT = 300.0

GONE_ON = 2.0
"""Seconds of load after a command has returned: what it left may fail later."""


@dataclass(frozen=True, slots=True)
class Change:
    """A command, and what its file has as an environment variable from then on; empty: what it had."""

    name: str
    arguments: tuple[str, ...]
    colour: str = ""


CHANGES = (
    Change("reconcile: another environment", ("up",), colour="blue"),
    Change("scale to 4", ("scale", "front=4")),
    Change("scale to 2", ("scale", "front=2")),
    Change("restart", ("restart", "front")),
    Change("upgrade: control plane and agent", ("upgrade", "--force")),
    Change("upgrade: Envoys", ("upgrade", "--envoys")),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """A change: its requests and failures, p99 with and without it in ms, and how many seconds it took."""

    change: str
    seconds: float
    requests: int
    failed: int
    p99_ms: float
    calm_p99_ms: float
    calm_failed: int


class Load:
    """Requests at a rate until it is stopped."""

    def __init__(self, session: aiohttp.ClientSession, url: str, rate: float) -> None:
        self._session, self._url, self._interval = session, url, 1 / rate
        self.latencies: list[float] = []
        self.failed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Start a request at each time that is due, and wait for all of them at the end."""
        due = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(self._request(due))
                due += self._interval
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async def _request(self, due: float) -> None:
        try:
            async with self._session.post(self._url) as response:
                await response.read()
                self.failed += response.status != 200
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
        self.latencies.append(asyncio.get_running_loop().time() - due)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the latencies so far."""
        ordered = sorted(self.latencies)
        return round(ordered[int(len(ordered) * 0.99)] * 1000, 1)


async def mesh_command(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Run a `mesh` command; returns its seconds, and exits with its output if it fails."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshwright.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    if process.returncode:
        sys.exit(output.decode())
    return time.monotonic() - started


async def measure(change: Change, url: str, environment: dict[str, str], rate: float, calm: float) -> Figures:
    """Load without the change, then with it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30), trust_env=False) as session:
        loads = Load(session, url, rate), Load(session, url, rate)
        seconds = 0.0
        for load in loads:
            stop = asyncio.Event()
            running = asyncio.create_task(load.run(stop))
            if load is loads[0]:
                await asyncio.sleep(calm)
            else:
                seconds = await mesh_command(change.arguments, environment)
                await asyncio.sleep(GONE_ON)
            stop.set()
            await running
    before, during = loads
    return Figures(
        change.name,
        round(seconds, 1),
        len(during.latencies),
        during.failed,
        during.p99_ms,
        before.p99_ms,
        before.failed,
    )


def measure_all(only: set[str], rate: float, calm: float) -> list[Figures]:
    """Start a mesh and make the changes one after the other."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        environment = settings(folder / "state")
        (folder / "route.yaml").write_text(ROUTE)

        def application(colour: str) -> Path:
            entry = service("front", replicas=2, COLOUR=colour)
            return application_file(folder, [entry], port, policies=["route.yaml"])

        with stopped_afterwards(environment):
            file = application("red")
            asyncio.run(mesh_command(("up", "-f", str(file), "--detach"), environment))
            for change in CHANGES:
                if only and not only & set(change.name.replace(":", "").split()):
                    continue
                if change.colour:
                    application(change.colour)
                url = f"http://127.0.0.1:{port}/echo"
                figures.append(asyncio.run(measure(change, url, environment, rate, calm)))
                print(json.dumps(asdict(figures[-1])), flush=True)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--calm", type=float, default=10.0, help="seconds of load before each change")
    parser.add_argument("--only", default="", help="words of the changes to make, separated by commas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure_all({word for word in options.only.split(",") if word}, options.rate, options.calm)
    if options.json:
        document: dict[str, Any] = {"rate": options.rate, "changes": [asdict(item) for item in figures]}
        options.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
