"""How long a change takes to every sidecar, and what a sidecar costs: fake Envoys over mutual TLS.

`python -m bench.xds [--streams 100,500,1000] [--changes 200] [--json FILE]`

Server and clients are processes of their own. Printed for each number of streams: seconds to connect all of
them at once and have them ACK everything, then for changes of one service's endpoints, one at a time, the
time from publishing until a client has the change (both processes share the monotonic clock) and until the
server has its ACK, the server's CPU time in all and for each push to a stream, and its memory for each
stream; then the time and CPU of 200 changes published at once. A stream that is lost is not opened again: it
would show, and end the run.
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

PATIENCE = 120.0
BURST = 200
"""Changes published at once; what a stream has not been sent yet is merged."""


class Server:
    """The server's process, by commands."""

    def __init__(self, pki: Pki) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.xds_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        tls_credentials = pki.server()
        setup = {
            "certificate": tls_credentials.certificate,
            "key": tls_credentials.key,
            "roots": tls_credentials.roots,
        }
        self.port = self._ask({name: value.decode() for name, value in setup.items()})["port"]

    def publish(self, round_: int, size: int) -> float:
        """Change one service's endpoints and wait for `size` ACKs; when, by the monotonic clock."""
        return float(self._ask({"do": "publish", "round": round_, "acks": size})["at"])

    def burst(self, rounds: range) -> None:
        """Publish one change after the other, without waiting for anybody."""
        self._ask({"do": "burst", "rounds": list(rounds)})

    def acks(self) -> list[float]:
        """The seconds from each change to each of its ACKs, sorted."""
        return sorted(self._ask({"do": "acks"})["seconds"])

    def usage(self) -> dict[str, Any]:
        """CPU seconds, memory in bytes, open streams and those that have ACKed all."""
        return self._ask({"do": "usage"})

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        document: dict[str, Any] = json.loads(self.process.stdout.readline())
        return document


class Fleet:
    """All the fake sidecars; notes when they hear of the running change."""

    def __init__(self, pki: Pki, port: int, size: int) -> None:
        credentials = pki.client("orders")
        self.heard: list[float] = []
        self.envoys = [
            FakeEnvoy(f"127.0.0.1:{port}", credentials, EnvoyModel(node=f"orders-{number}"), (CDS, LDS))
            for number in range(size)
        ]
        for envoy in self.envoys:
            envoy.on_response = self._count

    def _count(self, response: v3.DeltaDiscoveryResponse) -> None:
        if response.type_url == EDS:
            self.heard.append(time.monotonic())


async def settle(server: Server, size: int) -> dict[str, Any]:
    """Wait until the server has `size` streams that ACKed everything."""
    deadline = time.monotonic() + PATIENCE
    while True:
        usage = await asyncio.to_thread(server.usage)
        if usage["streams"] == size == usage["synced"]:
            return usage
        if time.monotonic() > deadline:
            raise SystemExit(f"{usage['synced']} of {size} sidecars are in sync after {PATIENCE} s")
        await asyncio.sleep(0.2)


async def measure(size: int, changes: int) -> dict[str, float]:
    """The figures for one number of streams."""
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
            fleet.heard = []
            async with asyncio.timeout(PATIENCE):
                at = await asyncio.to_thread(server.publish, round_, size)
            receipts += [value - at for value in fleet.heard]
        after = await settle(server, size)
        acks = server.acks()
        began = time.monotonic()
        await asyncio.to_thread(server.burst, range(changes + 1, changes + 1 + BURST))
        last = await settle(server, size)
        burst = time.monotonic() - began
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
