"""What a mesh adds to a minimal pair of Envoys, in instructions of user space, which load does not change.

`python -m bench.instructions [--requests 300] [--only "all features,tracer"]`

The pairs are those of bench.overhead. Both Envoys run under Valgrind's callgrind, 50 times slower, and only
their worker threads count. The kernel's part is missing: it is the same for all pairs, because they make the
same system calls, and about half of a request's CPU time. So a ratio here is larger than one of CPU time.
Two runs of one pair differ by up to 3 %, as telemetry is sent by the clock and not by the request.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from bench.features import SECRET, Change, credential, features, transports
from bench.lean import Pair, lean_pair
from bench.overhead import LEAN, nginx, wait_until_ready
from bench.sink import sink
from meshwright.control_plane.envoy_binary import envoy_binary
from tests.envoy.harness import until

CONTROL = shutil.which("callgrind_control") or "/usr/bin/callgrind_control"

WARM_UP = 100

TIMEOUT = 60.0
"""Seconds for a request: Envoy is slow under callgrind, the first request above all."""

SCRIPT = """#!/bin/sh
exec valgrind -q --tool=callgrind --instr-atstart=no --separate-threads=yes \\
  --callgrind-out-file={folder}/%p.out {envoy} "$@"
"""

TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


def count(folder: Path, pair: Pair, requests: int) -> tuple[int, int]:
    """Instructions of the first and of the second Envoy for one request."""
    _call(pair, WARM_UP)
    for pid in pair.envoys:
        _control("--instr=on", pid)
    _call(pair, requests)
    second, first = (_worker(folder, pid) // requests for pid in pair.envoys)
    return first, second


def _call(pair: Pair, number: int) -> None:
    name, _, value = pair.header.partition(": ")
    connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=TIMEOUT)
    for _ in range(number):
        connection.request("GET", "/", headers={"Host": "back", name: value})
        response = connection.getresponse()
        response.read()
        assert response.status == http.HTTPStatus.OK, response.status
    connection.close()


def _control(command: str, pid: int) -> None:
    subprocess.run(
        [CONTROL, command, str(pid)],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )


def _worker(folder: Path, pid: int) -> int:
    """Instructions of the thread that has most: with one worker, that is the worker."""
    _control("--instr=off", pid)
    _control("--dump", pid)
    return max(_totals(folder, pid))


def _totals(folder: Path, pid: int) -> Iterator[int]:
    for file in folder.glob(f"{pid}.out*"):
        yield from map(int, TOTAL.findall(file.read_text(errors="replace")))


def _wait(pair: Pair) -> None:
    def ready() -> bool:
        with suppress(OSError):
            wait_until_ready(pair)
            return True
        return False

    until(ready, f"the pair at port {pair.port}", TIMEOUT)


def measure(requests: int, only: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """The name and the two figures of each pair, `lean` first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = folder / "envoy"
        script.write_text(SCRIPT.format(folder=folder, envoy=envoy_binary()))
        script.chmod(0o700)
        os.environ["MESH_ENVOY"] = str(script)
        upstream = stack.enter_context(nginx(folder))
        isolation = next(iter(transports().values()))
        changes: dict[str, tuple[Change, ...]] = {LEAN: (isolation,)}
        added = features(stack.enter_context(sink()).port)
        changes |= {name: (isolation, added[name]) for name in only or added}
        for number, (name, change) in enumerate(changes.items()):
            with lean_pair(folder / f"pair-{number}", upstream, *change) as bare:
                pair = replace(bare, header=credential(SECRET))
                _wait(pair)
                yield name, *count(folder, pair, requests)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--only", default="", help="names of bench.overhead's features; default: all")
    options = parser.parse_args()
    print(f"{'thousands of instructions a request':<40}{'caller':>8}{'callee':>8}{'both':>8}{'ratio':>8}")
    lean = 0
    for name, first, second in measure(options.requests, tuple(filter(None, options.only.split(",")))):
        lean = lean or first + second
        figures = "".join(f"{value / 1000:8.1f}" for value in (first, second, first + second))
        print(f"{name:<40}{figures}{(first + second) / lean:8.2f}", flush=True)


if __name__ == "__main__":
    main()
