"""Faults of a host under load: frozen processes, lost packets. A call with a healthy path does not fail."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import addresses, wait_until_synced
from tests.envoy.steady_load import load
from tests.envoy.test_outages import NAMES, ROUTE, frozen, instances, unaffected

pytestmark = pytest.mark.long

FAULT = 20.0
"""Seconds of a fault: several leases."""

POLICIES = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec:
  targetRefs: [{kind: Service, name: back}]
  attempts: 3
  on: [gateway-error, reset, connect-failure]
  perTryTimeout: 1s
---
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], request: 10s}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("faults"), services) as running:
        running.apply(ROUTE)
        running.apply(POLICIES)
        assert running.get("front-1", "http://back/echo").status_code == 200
        yield running


def healed(mesh: Mesh) -> None:
    """Every instance is healthy, every proxy in sync, and nothing is reported."""
    wait_until_synced(mesh, NAMES)
    healthy = dict.fromkeys(NAMES - {"ingress"}, "healthy")
    until(lambda: instances(mesh) == healthy, "every instance is healthy")
    until(lambda: not mesh.status()["problems"], "no problem is left", 60)


@contextlib.contextmanager
def no_failed_call(mesh: Mesh, folder: Path) -> Iterator[None]:
    """Front calls back during the block, until all has healed; no call fails."""
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    with load(folder, outbound, "Host: back", connections=8) as calls:
        yield
        healed(mesh)
    assert calls.requests > 100 and calls.failed == 0, calls.report


@contextlib.contextmanager
def lost_packets(*ports: int) -> Iterator[None]:
    """Packets to and from these TCP ports of the loopback vanish: connections stay, and are half open."""
    rules = [
        ["OUTPUT", "-o", "lo", "-p", "tcp", f"--{side}", str(port), "-j", "DROP"]
        for port in ports
        for side in ("dport", "sport")
    ]
    for rule in rules:
        subprocess.run(["/usr/sbin/iptables", "-w", "-A", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run(["/usr/sbin/iptables", "-w", "-D", *rule], check=True)


@pytest.mark.parametrize("process", ["back-1", "back-1.proxy"])
def test_frozen_replica_fails_no_call_and_serves_again(mesh: Mesh, process: str, tmp_path: Path) -> None:
    with no_failed_call(mesh, tmp_path):
        with frozen(mesh.pid(process)):
            until(lambda: instances(mesh)["back-1"] != "healthy", "it is out of service")
            time.sleep(FAULT)
        mesh.reset("back-1")
        until(lambda: mesh.counts("back-1").get("GET /echo"), "it is called again")


def ingress_serves(mesh: Mesh) -> bool:
    with contextlib.suppress(requests.RequestException):
        return mesh.outside("/echo").status_code == 200
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_ingress_that_crashes_or_freezes_serves_again(
    mesh: Mesh, number: signal.Signals, tmp_path: Path
) -> None:
    """And harms no call between services."""
    pid = mesh.pid("ingress.proxy")
    with no_failed_call(mesh, tmp_path):
        os.kill(pid, number)
        if number is signal.SIGSTOP:
            time.sleep(FAULT)
            os.kill(pid, signal.SIGCONT)
        until(lambda: ingress_serves(mesh), "the ingress serves again")


@pytest.mark.parametrize("end", ["xds", "enrolment", "otlp"])
def test_lost_packets_in_the_control_plane_affect_nothing(mesh: Mesh, end: str, tmp_path: Path) -> None:
    address = getattr(addresses(mesh), end)
    with unaffected(mesh, tmp_path):
        with lost_packets(int(address.rpartition(":")[2])):
            time.sleep(FAULT)
        healed(mesh)


def test_lost_packets_to_one_replica_fail_no_call(mesh: Mesh, tmp_path: Path) -> None:
    with no_failed_call(mesh, tmp_path):
        with lost_packets(mesh.ports("back-1")["inbound"]):
            time.sleep(FAULT)
        mesh.reset("back-1")
        until(lambda: mesh.counts("back-1").get("GET /echo"), "it is called again")
