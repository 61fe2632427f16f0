"""What the mesh costs a business: journeys through the exchange with sidecars, and without.

`python -m bench.journeys [--rounds 6] [--seconds 10] [--json FILE]`

Both exchanges run at once and take turns, with the same journeys: through the ingress and its sidecars, and
with services that call each other directly, in plaintext, where nobody verifies tokens, limits clients,
retries or traces. One person at a time shows latency; eight at a time show how many journeys a second the
machine makes. Cards that take 3 s by design are left out of the latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import psutil

from bench.demo import kind_of
from bench.direct import DirectExchange, DirectSession, direct_exchange
from meshwright.cli.traffic.counters import LatencyHistogram, TrafficCounters
from meshwright.cli.traffic.journeys import Journey, journeys
from meshwright.cli.traffic.people import People
from meshwright.cli.traffic.sender import RequestSender, open_session
from tests.cli.demo.running import READY, demo
from tests.envoy.harness import settings
from tests.fakes.ports import free_port

PEOPLE = (1, 8)
SIDES = ("sidecars", "direct")


@dataclass
class Side:
    """One exchange: how to send to it, its processes, and what was measured by the number of people."""

    session: aiohttp.ClientSession
    roots: list[psutil.Process]
    rates: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    made: int = 0
    errors: int = 0
    latencies: dict[int, LatencyHistogram] = field(default_factory=lambda: defaultdict(LatencyHistogram))

    def processes(self) -> list[psutil.Process]:
        """The processes of this exchange."""
        return [process for root in self.roots for process in (root, *root.children(recursive=True))]

    async def burst(self, people: int, seed: int, seconds: float) -> None:
        """Let so many people make journeys, each one after the other."""
        counters, before = TrafficCounters(), _cpu_times(self.processes())
        loop = asyncio.get_running_loop()
        sender, start = RequestSender(self.session, counters), loop.time()
        crowd, waiting = People(sender, seed), journeys(seed)

        async def go() -> None:
            while loop.time() < start + seconds:
                await _make(crowd, sender, next(waiting), counters)

        await asyncio.gather(*(go() for _ in range(people)))
        self.rates[people].append(counters.journeys.sent / (loop.time() - start))
        self.made += counters.journeys.sent
        self.errors += counters.all.errors
        for name, route in counters.routes.items():
            if "(slow)" not in name:
                self.latencies[people].buckets.update(route.latencies.buckets)
                self.latencies[people].max_ms = max(self.latencies[people].max_ms, route.latencies.max_ms)
        for pid, (kind, cpu) in _cpu_times(self.processes()).items():
            self.cpu[kind] += cpu - before.get(pid, (kind, 0.0))[1]


async def _make(crowd: People, sender: RequestSender, journey: Journey, counters: TrafficCounters) -> None:
    loop = asyncio.get_running_loop()
    start, ok = loop.time(), False
    if signed_in := await crowd.signed_in(journey.person, start):
        sent = [await sender.send(request, signed_in[0], loop.time()) for request in journey.requests]
        ok = all(response.ok for response in sent)
    counters.journeys.add(ok, (loop.time() - start) * 1000)


def _cpu_times(processes: list[psutil.Process]) -> dict[int, tuple[str, float]]:
    """Kind and CPU seconds of each process."""
    return {process.pid: (kind_of(process), sum(process.cpu_times()[:2])) for process in processes}


def _memory(processes: list[psutil.Process]) -> dict[str, dict[str, float]]:
    """Number and private memory (USS) in MB by kind of process."""
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: {"count": 0, "uss_mb": 0.0})
    for process in processes:
        kinds[kind_of(process)]["count"] += 1
        kinds[kind_of(process)]["uss_mb"] += process.memory_full_info().uss / 1e6
    return {kind: {**total, "uss_mb": round(total["uss_mb"])} for kind, total in sorted(kinds.items())}


def _figures(side: Side) -> dict[str, Any]:
    by_people = {
        f"p{people}": {
            "journeys_s": round(statistics.median(side.rates[people]), 2),
            "p50_ms": round(side.latencies[people].quantile(0.5), 2),
            "p99_ms": round(side.latencies[people].quantile(0.99), 2),
        }
        for people in PEOPLE
    }
    cpu = {kind: round(1000 * seconds / side.made, 1) for kind, seconds in sorted(side.cpu.items())}
    return {**by_people, "cpu_ms_a_journey": cpu, "errors": side.errors, "memory": _memory(side.processes())}


async def measure(
    rounds: int, seconds: float, ingress: int, root: int, exchange: DirectExchange
) -> dict[str, Any]:
    """Let both sides take turns; returns their figures."""
    base_url = f"http://127.0.0.1:{ingress}"
    async with open_session(base_url) as meshed, open_session(base_url) as plain:
        direct = cast("aiohttp.ClientSession", DirectSession(plain, exchange.ports))
        sides = {
            "sidecars": Side(meshed, [psutil.Process(root)]),
            "direct": Side(direct, [psutil.Process(pid) for pid in exchange.pids]),
        }
        for side in sides.values():
            await People(RequestSender(side.session, TrafficCounters()), 0).wait_until_accepted()
        for number, people in _turns(rounds):
            for name in SIDES if number % 2 else reversed(SIDES):
                await sides[name].burst(people, number, seconds)
        return {name: _figures(side) for name, side in sides.items()}


def _turns(rounds: int) -> Iterator[tuple[int, int]]:
    return ((number * len(PEOPLE) + n, people) for number in range(rounds) for n, people in enumerate(PEOPLE))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
        arguments = ("--port", f"ingress={port}", "--timeout", "150")
        child = stack.enter_context(demo(folder, settings(folder / "state"), *arguments))
        assert child.stdout is not None
        assert any(line.startswith(READY) for line in child.stdout)
        exchange = stack.enter_context(direct_exchange(folder))
        figures = asyncio.run(measure(options.rounds, options.seconds, port, child.pid, exchange))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    _print(figures)


def _print(figures: dict[str, Any]) -> None:
    meshed, direct = (figures[name] for name in SIDES)
    print(f"{'people, figure':<24}{'sidecars':>10}{'direct':>10}{'ratio':>8}")
    for people in PEOPLE:
        for name, value in meshed[f"p{people}"].items():
            other = direct[f"p{people}"][name]
            print(f"{f'{people}, {name}':<24}{value:>10}{other:>10}{value / other:>8.2f}")
    for name in SIDES:
        print(f"{name}: errors {figures[name]['errors']}")
        for kind, memory in figures[name]["memory"].items():
            cpu = figures[name]["cpu_ms_a_journey"].get(kind, 0.0)
            print(f"  {kind}: {memory['count']} processes, {memory['uss_mb']} MB, {cpu} ms of CPU a journey")


if __name__ == "__main__":
    main()
