"""`mesh restart` of the demo's services while people make journeys: nobody notices."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshwright.cli.traffic.sender import ABORTED
from tests.cli.demo.running import Demo, checked, demo
from tests.envoy.harness import until

STATELESS = (
    *("analytics", "catalog", "inbox", "inventory", "legacy", "mobile", "nfts", "notifications"),
    *("orders", "payments", "storefront", "trading", "users"),
)
"""The services of the demo that may have several instances: all but the broker."""


@contextmanager
def journeys(running: Demo, folder: Path, rate: int) -> Iterator[None]:
    """So many journeys a second meanwhile. Fails the test if a request failed other than by the end."""
    with demo(folder, running.environment, "--traffic", f"{rate}") as child:
        until(lambda: "--seed" in (folder / "stderr").read_text(), "traffic", 120)
        yield
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=120)
    counts = checked(json.loads(out))
    failed = {name: route for name, route in counts["routes"].items() if route["errors"]}
    assert counts["errors"] == counts["outcomes"].get(ABORTED, 0), (counts["outcomes"], failed)
    assert counts["journeys"]["started"] > rate


def restart(running: Demo, service: str, instances: int) -> None:
    """`mesh restart SERVICE`, of so many instances."""
    output = running.mesh("restart", service, "--timeout", "180s", timeout=600)
    assert f"restarted {instances} of {instances} instances of {service}" in output


def test_no_journey_fails_while_services_restart(running: Demo, tmp_path: Path) -> None:
    """Two versions of one service by HTTP, and the only broker by TCP, for which events wait."""
    with journeys(running, tmp_path, 3):
        restart(running, "inventory", 2)
        restart(running, "broker", 1)


@pytest.mark.long
@pytest.mark.timeout(3600)  # some forty commands, each of which starts services
def test_no_journey_fails_while_every_service_is_scaled_and_restarted(running: Demo, tmp_path: Path) -> None:
    """A second instance comes, both are restarted one after the other, and one of them leaves."""
    with journeys(running, tmp_path, 3):
        for service in STATELESS:
            running.mesh("scale", f"{service}=2", "--timeout", "180s", timeout=600)
            restart(running, service, 2)
            before = 2 if service == "inventory" else 1
            running.mesh("scale", f"{service}={before}", "--timeout", "180s", timeout=600)
        restart(running, "broker", 1)
    until(running.synced, "all sidecars are synced", 120, 1.0)
