"""Compares pairs of Envoys on a machine that is busy with other things: short bursts, by turns, on one core.

A burst is a fraction of a second of `wrk`. All processes of a pair share one core, so that caches and batches
are the same in every burst. As root they also have real-time priority, so that nothing interrupts them. What
remains, such as other cores' use of the memory, changes slowly, and each burst is compared with the bursts of
the base right before and after it. A ratio is the median over the rounds, with its 95 % bootstrap interval.
"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.lean import Pair

REAL_TIME = os.geteuid() == 0
"""Linux leaves 5 % of each core to other programs (`sched_rt_runtime_us`)."""

RESAMPLES = 1000
"""Bootstrap samples of an interval."""


@dataclass(frozen=True)
class Sample:
    """One burst: CPU time of both Envoys (µs per request), requests per second."""

    cpu_us: float
    rps: float


@dataclass(frozen=True)
class Ratio:
    """A median ratio to the base, and the 95 % interval of the median."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What one pair needs, relative to the base."""

    cpu: Ratio
    rps: Ratio


def compare(
    pairs: Mapping[str, Pair], base: str, connections: int, rounds: int, seconds: float
) -> tuple[Sample, dict[str, Comparison]]:
    """The median burst of the base, and the other pairs relative to it."""
    core = max(os.sched_getaffinity(0))
    for pair in pairs.values():
        _settle(pair.pids, core)
        _burst(pair, connections, seconds, core)
    others = [name for name in pairs if name != base]
    order = random.Random(0)  # noqa: S311  no secret
    bases: list[Sample] = []
    turns: dict[str, list[tuple[Sample, Sample, Sample]]] = {name: [] for name in others}
    for _ in range(rounds):
        order.shuffle(others)
        before = _burst(pairs[base], connections, seconds, core)
        for name in others:
            sample = _burst(pairs[name], connections, seconds, core)
            after = _burst(pairs[base], connections, seconds, core)
            turns[name].append((before, sample, after))
            bases.append(after)
            before = after
    typical = Sample(
        statistics.median(sample.cpu_us for sample in bases),
        statistics.median(sample.rps for sample in bases),
    )
    return typical, {
        name: Comparison(
            cpu=ratio([2 * turn.cpu_us / (a.cpu_us + b.cpu_us) for a, turn, b in turns[name]]),
            rps=ratio([2 * turn.rps / (a.rps + b.rps) for a, turn, b in turns[name]]),
        )
        for name in pairs
        if name != base
    }


def ratio(values: Sequence[float]) -> Ratio:
    """The median of `values` and its interval, by the percentile bootstrap."""
    chance = random.Random(0)  # noqa: S311  no secret
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = (medians[round(share * (RESAMPLES - 1))] for share in (0.025, 0.975))
    return Ratio(statistics.median(values), low, high)


def _settle(pids: Iterable[int], core: int) -> None:
    """Move all threads of the processes to one core, with real-time priority where that is allowed."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            _place(int(task.name), core)


def _place(thread: int, core: int) -> None:
    os.sched_setaffinity(thread, {core})
    prefer(thread)


def prefer(thread: int) -> None:
    """Give a thread real-time priority where that is allowed; 0 is the caller."""
    if REAL_TIME:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))


def _burst(pair: Pair, connections: int, seconds: float, core: int) -> Sample:
    command = ["wrk", "-t1", f"-c{connections}", "-d60s", "-H", f"Host: {pair.host}"]
    if pair.header:
        command += ["-H", pair.header]
    before = pair.cpu_seconds()
    process = subprocess.Popen(
        [*command, pair.url],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: _place(0, core),  # noqa: PLW1509  no threads here
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "Non-2xx" not in output, output
    assert "Socket errors" not in output, output
    total, rate = re.search(r"(\d+) requests in", output), re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert total and rate, output
    return Sample(1e6 * (pair.cpu_seconds() - before) / int(total[1]), float(rate[1]))
