"""Steady load by wrk in the background of a test."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACE = "function delay() return math.random(5, 25) end\n"
"""The pause between two requests on a connection, in ms, so that the load does not saturate the machine."""

SHORTEST = 3.0
"""Seconds of load at least, however short its block: some 500 requests even on a busy machine."""


@dataclass
class LoadResult:
    """The counts of wrk, set when the load has ended. `failed`: non-2xx responses and socket errors."""

    requests: int = 0
    failed: int = 0
    report: str = ""


@contextmanager
def load(folder: Path, url: str, *headers: str, connections: int = 4) -> Iterator[LoadResult]:
    """Send requests to `url` on keep-alive connections for the duration of the block, SHORTEST at least."""
    script = folder / "pace.lua"
    script.write_text(PACE)
    options = [argument for header in headers for argument in ("-H", header)]
    process = subprocess.Popen(
        [
            shutil.which("wrk") or "wrk",
            "-t1",
            f"-c{connections}",
            "-d600s",
            "--timeout",
            "20s",
            "-s",
            str(script),
            *options,
            url,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    result = LoadResult()
    end = time.monotonic() + SHORTEST
    try:
        yield result
        time.sleep(max(0.0, end - time.monotonic()))
        assert process.poll() is None, "wrk ended early"
        process.send_signal(signal.SIGINT)
        result.report, _ = process.communicate(timeout=30)
        _read_report(result)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _read_report(result: LoadResult) -> None:
    total = re.search(r"(\d+) requests in", result.report)
    assert total, result.report
    result.requests = int(total[1])
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", result.report):
        result.failed += int(match[1])
    if errors := re.search(r"Socket errors: (.*)", result.report):
        result.failed += sum(map(int, re.findall(r"\d+", errors[1])))
