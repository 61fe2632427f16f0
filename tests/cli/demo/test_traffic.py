"""`mesh demo --traffic`: a real mesh, real services, every request counted."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from meshwright.cli.story.scenes import SCENES
from meshwright.cli.traffic.sender import ABORTED
from tests.cli.demo.running import READY, Demo, checked, demo
from tests.envoy.harness import until
from tests.services.ingress import authorization

SIGNED_UP = 6
"""People of the first 24 journeys of seed 25."""

STATELESS = (
    *("analytics", "catalog", "inbox", "inventory", "legacy", "mobile", "nfts", "notifications"),
    *("orders", "payments", "storefront", "trading", "users"),
)
"""The services of the demo that may have several instances: all but the broker."""


def test_ticks_reach_analytics_over_grpc(running: Demo) -> None:
    session = requests.Session()
    session.trust_env = False
    session.headers.update(authorization(running.url))

    def bars() -> Any:
        response = session.get(f"{running.url}/api/analytics/bars/BTC", timeout=60)
        return response.json()["bars"] if response.status_code == 200 else None

    first = until(bars, "a bar")
    until(lambda: bars() != first, "another tick")
    quotes = f"{running.url}/api/quotes/BTC"
    assert session.get(quotes, timeout=60).json()["price"] > 0
    assert session.get(quotes, timeout=60, headers={"authorization": ""}).status_code == 401

    def missing() -> Any:
        page = session.get(f"{running.url}/api/dashboard", timeout=60).json()
        return page["missing"]

    until(lambda: missing() == [], "a complete page")


def stock_is_read(running: Demo) -> bool:
    """Whether inventory answers ten requests in a row."""
    url, headers = f"{running.url}/api/inventory/seed-plate", authorization(running.url)
    return all(requests.get(url, headers=headers, timeout=20).status_code == 200 for _ in range(10))


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
    until(lambda: stock_is_read(running), "a breaker that a fault opened has closed", 120)
    with journeys(running, tmp_path, 2):
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


def test_a_fault_is_removed_even_while_the_control_plane_is_down(running: Demo) -> None:
    options = ("--traffic", "3", "--fault", "inventory:fail:600")
    with demo(running.folder, running.environment, *options) as child:
        until(running.faults, "the fault")
        record = running.folder / "state" / "run" / "control-plane.json"
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=120)
    assert child.returncode == 0
    assert running.faults() == []
    # A sidecar that was not connected when the fault was removed gets the change later.
    until(running.synced, "all sidecars are synced with the new control plane", 60, 1.0)


def test_a_running_demo_responds_to_every_request(running: Demo) -> None:
    counts = running.counts("--traffic", "4", "--for", "6", "--seed", "25")
    journeys = counts["journeys"]
    assert (journeys["planned"], journeys["started"], journeys["failed"]) == (24, 24, 0)
    assert counts["outcomes"].keys() <= {"200", "201", "402", "404", "409"}
    orders = sum(route["sent"] for name, route in counts["routes"].items() if "POST /api/orders" in name)
    created = counts["outcomes"]["201"] - SIGNED_UP - counts["routes"]["POST /api/nfts"]["sent"]
    assert 5 < orders == created + counts["outcomes"].get("402", 0)
    assert counts["routes"]["POST /api/auth/signup"]["sent"] == SIGNED_UP
    assert 0 < counts["latency_ms"]["p50"] <= counts["latency_ms"]["p99"] <= counts["latency_ms"]["max"]
    again = running.counts("--traffic", "8", "--for", "3", "--seed", "25")
    sequence = {name: route["sent"] for name, route in counts["routes"].items()}
    assert {name: route["sent"] for name, route in again["routes"].items()} == sequence
    assert again["outcomes"]["409"] == SIGNED_UP, "with the same seed come the same people"
    assert running.child.poll() is None


def messages(running: Demo) -> list[str]:
    """Those of the two newest revisions, newest first."""
    history = json.loads(running.mesh("history", "-n", "2", "-o", "json"))["items"]
    return [revision["message"] for revision in history]


def test_a_fault_causes_errors_only_while_it_is_active(running: Demo, tmp_path: Path) -> None:
    options, applied = ("--traffic", "5", "--seed", "11"), "mesh demo --fault legacy:fail:2"
    with demo(tmp_path, running.environment, *options, "--fault", "legacy:fail:2") as child:
        until(lambda: messages(running) == [f"{applied} is over", applied], "the fault's end", 180, 0.5)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=120)
    counts = checked(json.loads(out))
    fault, cut_off = counts["fault"], counts["outcomes"].get(ABORTED, 0)
    assert (fault["before"]["errors"], fault["after"]["errors"]) == (0, cut_off)
    assert fault["during"]["errors"] == counts["errors"] - cut_off == counts["outcomes"]["503"] > 0
    assert fault["before"]["sent"] >= 15
    failed = {name for name, route in counts["routes"].items() if route["errors"]}
    assert "GET /api/quotes/{symbol}" in failed
    assert len(failed) <= 1 + cut_off
    assert running.faults() == []


def test_a_slow_service_costs_latency_and_no_request(running: Demo) -> None:
    counts = running.counts("--traffic", "5", "--for", "7", "--fault", "orders:slow:2", "--seed", "12")
    assert counts["errors"] == 0
    assert counts["fault"]["during"]["latency_ms"]["p99"] > 950
    assert counts["fault"]["after"]["latency_ms"]["p50"] < 950
    assert running.faults() == []


def test_the_fault_is_removed_after_a_signal(running: Demo) -> None:
    """SIGTERM here; Ctrl-C is sent while the control plane is down."""
    options = ("--traffic", "5", "--fault", "inventory:fail:600")
    until(lambda: stock_is_read(running), "a breaker that a fault opened has closed", 120)
    with demo(running.folder, running.environment, *options) as child:
        until(running.faults, "the fault")
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert running.faults() == []
    counts = checked(json.loads(out))
    assert counts["seconds"] > 4
    assert counts["fault"]["before"]["errors"] == 0


def policies(running: Demo) -> Any:
    """All policies of the mesh."""
    return json.loads(running.mesh("get", "-o", "json"))


@pytest.mark.long
def test_the_tour_plays_its_scenes_and_leaves_the_mesh_as_it_was(running: Demo) -> None:
    before = policies(running)
    output = running.mesh("demo", "--story", "--pace", "0.3", "--traffic", "8", timeout=400)
    assert re.findall(r"(?m)^\d of 5: (.*)$", output) == [scene.title for scene in SCENES]
    assert "refused: " in output
    measured = re.findall(r"seen: (.*)", output)
    for number in (2, -2):  # orders without catalog, and the slip; a breaker may just be half-open
        assert "100 % succeed" not in measured[number], measured
    assert policies(running) == before
    assert "mesh demo --story: A rollback" in running.mesh("history", "-o", "json")


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_tour_that_is_stopped_leaves_the_mesh_as_it_was(running: Demo, number: int) -> None:
    before = policies(running)
    with demo(running.folder, running.environment, "--story", "--pace", "0.1") as child:
        until(running.faults, "the first fault")
        child.send_signal(number)
        output, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert "The tour is stopped." in output
    assert policies(running) == before


@pytest.mark.long
def test_a_second_demo_started_for_its_traffic_is_stopped_afterwards(running: Demo, tmp_path: Path) -> None:
    environment = {**running.environment, "MESH_STATE": str(tmp_path / "state")}
    port = running.url.rpartition(":")[2]
    ports = ("--port", f"ingress={port}", "--ports", "auto")
    options = (*ports, "--timeout", "150", "--traffic", "4", "--for", "5")
    with demo(tmp_path, environment, *options) as child:
        out, _ = child.communicate(timeout=280)
    progress = (tmp_path / "stderr").read_text()
    assert child.returncode == 0, progress
    counts = checked(json.loads(out))
    assert (counts["journeys"]["started"], counts["errors"]) == (20, 0)
    assert READY in progress
    assert progress.rstrip().endswith("stopping")
    assert not (tmp_path / "state" / "mesh.json").exists()
    assert running.synced()
