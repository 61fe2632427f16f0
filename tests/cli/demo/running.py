"""`mesh demo` as a child process, and commands for it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.envoy.harness import ROOT

READY = "ready in "


@contextmanager
def demo(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`mesh demo ARGUMENTS` as a child process; stopped by SIGINT."""
    with (folder / "stderr").open("w") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "meshwright.cli", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait(120)


class Demo:
    """A running demo, and commands for it."""

    def __init__(
        self, folder: Path, environment: dict[str, str], child: subprocess.Popen[str], port: int
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.environment = environment
        self.child = child
        self.sidecars = len(self.proxies())

    def mesh(self, *arguments: str, timeout: float = 120) -> str:
        """The output of `mesh ARGUMENTS`."""
        command = [sys.executable, "-m", "meshwright.cli", *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def counts(self, *arguments: str) -> dict[str, Any]:
        """The counts of `mesh demo --traffic`."""
        return checked(json.loads(self.mesh("demo", *arguments)))

    def proxies(self) -> dict[str, str]:
        """The states of the sidecars."""
        proxies = json.loads(self.mesh("status", "-o", "json"))["proxies"]
        return {proxy["name"]: proxy["state"] for proxy in proxies}

    def synced(self) -> bool:
        """Whether all sidecars of the start are connected and synced."""
        states = list(self.proxies().values())
        return states == ["synced"] * self.sidecars

    def faults(self) -> list[Any]:
        """The active FaultInjections."""
        return list(json.loads(self.mesh("get", "faultinjection", "-o", "json"))["items"])


def checked(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts, after checking that they add up."""
    journeys = counts["journeys"]
    assert journeys["started"] + journeys["unstarted"] == journeys["planned"]
    assert (journeys["failed"] > 0) == (counts["errors"] > 0)
    assert sum(counts["outcomes"].values()) == counts["sent"]
    for field in ("sent", "errors"):
        assert sum(route[field] for route in counts["routes"].values()) == counts[field]
    if "fault" in counts:
        assert (
            sum(counts["fault"][phase]["sent"] for phase in ("before", "during", "after")) == counts["sent"]
        )
    return counts
