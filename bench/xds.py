"""The latency of a change to all sidecars, and the cost of a sidecar: fake Envoys over mutual TLS.

`python -m bench.xds [--streams 100,500,1000] [--changes 200] [--json FILE]`

The server and the clients are separate processes. For each number of streams it prints the seconds until all
of them, connecting at once, have ACKed everything; then, for single changes of one service's endpoints, the
time from publication until a client has the change (both processes share the monotonic clock) and until the
server has its ACK, the server's CPU time in total and per push, and its memory per stream; then time and CPU
of 200 changes published at once. A lost stream is not reopened, so it ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from meshwright.control_plane.core.resource import CDS, EDS, LDS
from meshwright.control_plane.envoy import v3
from tests.fakes.envoy import EnvoyModel, FakeEnvoy
from tests.fakes.pki import Pki

TIMEOUT = 120.0
BURST = 200
"""Changes published at once; those that a stream has not been sent yet are merged."""


class Server:
    """The server process, controlled by commands."""

    def __init__(self, pki: Pki) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.xds_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        credentials = pki.server()
        setup = {
            "certificate": credentials.certificate,
            "key": credentials.key,
            "roots": credentials.roots,
        }
        self.port = self._command({name: value.decode() for name, value in setup.items()})["port"]

    def publish(self, round_: int, size: int) -> float:
        """Change one service's endpoints and wait for `size` ACKs; returns when it was published."""
        return float(self._command({"do": "publish", "round": round_, "acks": size})["at"])

    def burst(self, rounds: range) -> None:
        """Publish several changes without waiting for ACKs."""
        self._command({"do": "burst", "rounds": list(rounds)})

    def acks(self) -> list[float]:
        """Seconds from each change to each of its ACKs, sorted."""
        return sorted(self._command({"do": "acks"})["seconds"])

    def usage(self) -> dict[str, Any]:
        """CPU seconds, memory in bytes, open streams, and streams that have ACKed everything."""
        return self._command({"do": "usage"})

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reply


class Fleet:
    """All fake sidecars; `received_at` are the times at which they received the current change."""

    def __init__(self, pki: Pki, port: int, size: int) -> None:
        credentials = pki.client("orders")
        self.received_at: list[float] = []
        self.envoys = [
            FakeEnvoy(f"127.0.0.1:{port}", credentials, EnvoyModel(node=f"orders-{number}"), (CDS, LDS))
            for number in range(size)
        ]
        for envoy in self.envoys:
            envoy.on_response = self._record

    def _record(self, response: v3.DeltaDiscoveryResponse) -> None:
        if response.type_url == EDS:
            self.received_at.append(time.monotonic())


async def settle(server: Server, size: int) -> dict[str, Any]:
    """Wait until the server has `size` streams that ACKed everything."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        usage = await asyncio.to_thread(server.usage)
        if usage["streams"] == size == usage["synced"]:
            return usage
        if time.monotonic() > deadline:
            raise SystemExit(f"{usage['synced']} of {size} sidecars are in sync after {TIMEOUT} s")
        await asyncio.sleep(0.2)


async def measure(size: int, changes: int) -> dict[str, float]:
    """The figures for a number of streams."""
    pki = Pki()
    server = Server(pki)
    fleet = Fleet(pki, server.port, size)
    try:
        before = server.usage()
        start = time.monotonic()
        await asyncio.gather(*(envoy.start() for envoy in fleet.envoys))
        idle = await settle(server, size)
        connected = time.monotonic() - start
        receipts: list[float] = []
        for round_ in range(1, changes + 1):
            fleet.received_at = []
            async with asyncio.timeout(TIMEOUT):
                published_at = await asyncio.to_thread(server.publish, round_, size)
            receipts += [at - published_at for at in fleet.received_at]
        after = await settle(server, size)
        acks = server.acks()
        burst_start = time.monotonic()
        await asyncio.to_thread(server.burst, range(changes + 1, changes + 1 + BURST))
        last = await settle(server, size)
        burst = time.monotonic() - burst_start
    finally:
        await asyncio.gather(*(envoy.close() for envoy in fleet.envoys))
        server.stop()
    assert len(acks) == len(receipts) == size * changes, (len(acks), len(receipts))
    receipts.sort()
    cpu = after["cpu"] - idle["cpu"]
    return {
        "streams": size,
        "lost": size - after["streams"],
        "connect_s": connected,
        "changes": changes,
        "receipt_p50_ms": 1000 * receipts[len(receipts) // 2],
        "receipt_p99_ms": 1000 * receipts[len(receipts) * 99 // 100],
        "ack_p50_ms": 1000 * acks[len(acks) // 2],
        "ack_p99_ms": 1000 * acks[len(acks) * 99 // 100],
        "cpu_s": cpu,
        "cpu_us_per_push": 1e6 * cpu / len(acks),
        "burst_s": burst,
        "burst_cpu_s": last["cpu"] - after["cpu"],
        "rss_kb_per_stream": (after["rss"] - before["rss"]) / 1024 / size,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", default="100,500,1000")
    parser.add_argument("--changes", type=int, default=0, help="0: 200 for 500 streams or fewer, else 50")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for size in map(int, arguments.streams.split(",")):
        figures = asyncio.run(measure(size, arguments.changes or (200 if size <= 500 else 50)))
        rows.append(figures)
        print("  ".join(f"{name} {value:.6g}" for name, value in figures.items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
