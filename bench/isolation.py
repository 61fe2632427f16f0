"""What bystanders notice while another caller attacks: failed requests, and p99 with and without the attack.

`python -m bench.isolation [--rate 500] [--seconds 20] [--transfers 50] [--json FILE]`

The attacks and bystanders are those of tests/envoy/isolation, at the ingress and between sidecars of a mesh.
The client of the attack and the apps are Python on the same cores, so part of a longer p99 is theirs:
`no attack, same load` makes as many calls as an attack by aborts, and lets them end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import requests

from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.isolation import attacks
from tests.envoy.isolation.bystanders import bystanders
from tests.envoy.isolation.conftest import POLICIES, entrance_of
from tests.envoy.isolation.entrance import Entrance

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
    """Small calls and failures of the bystanders in `seconds` of an attack."""
    async with bystanders([entrance]) as report, attack:
        report.seconds.clear()
        await asyncio.sleep(seconds)
        taken = sorted(report.seconds)
    await asyncio.sleep(SETTLE)
    middle, high = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
    return {
        "small calls": len(taken),
        "failed": len(report.failures),
        "p50_ms": round(middle, 1),
        "p99_ms": round(high, 1),
    }


async def measure(mesh: Mesh, rate: int, seconds: float, transfers: int) -> dict[str, Any]:
    """The figures of each attack at each entrance, and the ratio of its p99 to that without an attack."""
    kinds: dict[str, attacks.Stall] = {
        "no attack": _nothing,
        "no attack, same load": _calls(rate, seconds, _finished_call),
        "abandoned calls": _calls(rate, seconds, attacks.abandoned_call),
        "timed-out calls": _calls(rate, seconds, attacks.timed_out_call),
        "abandoned WebSockets": _calls(rate, seconds, attacks.abandoned_websocket),
        "unread downloads": attacks.unread_downloads,
        "unread uploads": attacks.unread_uploads,
        "unread WebSockets": attacks.unread_websockets,
    }
    figures: dict[str, Any] = {}
    for place in ("ingress", "sidecar"):
        entrance, calm = entrance_of(mesh, place), 0.0
        for name, attack in kinds.items():
            figure = await _measure(entrance, attack(entrance, transfers), seconds)
            calm = calm or figure["p99_ms"]
            figures[f"{place}: {name}"] = figure | {"p99/calm": round(figure["p99_ms"] / calm, 2)}
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--transfers", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    services = [service(name) for name in ("front", "back", "echo", "raw", "raw2")]
    with tempfile.TemporaryDirectory() as folder, running_mesh(Path(folder), services) as mesh:
        mesh.apply(POLICIES)
        slow = f"{mesh.app('back-1')}/switches/late/200?ms=1000"
        requests.post(slow, timeout=10).raise_for_status()
        figures = asyncio.run(measure(mesh, options.rate, options.seconds, options.transfers))
    for name, figure in figures.items():
        print(f"{name}: {json.dumps(figure)}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
