"""Test applications as child processes.

```
with running_app("orders") as app:
    app.port, app.pid, app.url, app.counts(), app.reset()
```
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class RunningApp:
    """An application on 127.0.0.1:`port`. `process` is for tests that stop it in a special way."""

    name: str
    port: int
    pid: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its URL without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """Requests by `METHOD /path` since the start or the last reset."""
        return dict(self._call("/count", "GET"))

    def reset(self) -> None:
        """Reset the counts and the random seed."""
        self._call("/reset", "POST")

    def set_ready(self, ready: bool) -> None:
        """Make /health/ready reply 200 or 503."""
        self._call("/health/ok" if ready else "/health/fail", "POST")

    def _call(self, path: str, method: str) -> Any:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310  an own URL
        with _DIRECT.open(request, timeout=60) as response:
            return json.load(response)


@contextmanager
def running_app(name: str, port: int = 0, *, seed: int = 7, grace: float = 10.0) -> Iterator[RunningApp]:
    """An application in a child process that listens; stopped at the end."""
    command = [sys.executable, "-m", "tests.fakes.app", "--port", str(port), "--name", name]
    process = subprocess.Popen(
        [*command, "--seed", str(seed), "--grace", str(grace)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield RunningApp(name=name, process=process, pid=process.pid, port=_read_port(process, name))
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL if it does not exit; does nothing if it has exited."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def _read_port(process: subprocess.Popen[bytes], name: str) -> int:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if ready else b""
    if not line:
        raise RuntimeError(f"application {name} did not start: exit {process.poll()}")
    return int(json.loads(line)["port"])
