"""A control plane process with a root that tests can sign with, and fake sidecars."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import requests
from cryptography.hazmat.primitives import serialization

from meshwright.control_plane.agents.service import SERVICE
from meshwright.control_plane.api.models.instances import Registration
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.api.state_dir import MeshAddresses
from tests.fakes.envoy import EnvoyModel, FakeEnvoy
from tests.fakes.pki import Pki
from tests.fakes.valkey import running_valkey

START_TIMEOUT = 60.0
LONG_LEASE = {"MESH_LEASE_TTL": "600"}
"""Instances stay registered without renewals."""

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass
class ControlPlaneProcess:
    """A running control plane."""

    pki: Pki
    process: subprocess.Popen[bytes]
    addresses: MeshAddresses
    log: Path

    @property
    def rss_bytes(self) -> int:
        """Resident memory of its process."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def metrics(self) -> Counter[str]:
        """Its Prometheus metrics by name and labels: `mesh_spans_dropped_total{reason="full"}`."""
        text = requests.get(f"{self.addresses.admin}/metrics", timeout=30).text
        counter: Counter[str] = Counter()
        for name, labels, value in SAMPLE.findall(text):
            counter[f"{name}{{{labels}}}" if labels else name] = int(float(value))
        return counter

    async def register(self, channel: grpc.aio.Channel, port: int) -> None:
        """Register the one instance of the service `back` at a port."""
        registration = Registration(instance="back-1", service="back", address="127.0.0.1", port=port)
        await channel.unary_unary(f"/{SERVICE}/Register", None, None)(
            registration.model_dump_json().encode(), timeout=20
        )

    def channel(self, name: str) -> grpc.aio.Channel:
        """A channel to its xDS port, as a service."""
        options = (("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),)
        return grpc.aio.secure_channel(self.addresses.xds, self.pki.client(name), options)

    def envoys(self, count: int) -> list[FakeEnvoy]:
        """`count` sidecars of the service `front`, not started yet."""
        credentials = self.pki.client("front")
        bindings = {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}
        return [
            FakeEnvoy(
                self.addresses.xds,
                credentials,
                EnvoyModel(node=f"front-{number}", cluster="front"),
                bindings=bindings,
            )
            for number in range(count)
        ]


@contextmanager
def control_plane(folder: Path, **environment: str) -> Iterator[ControlPlaneProcess]:
    """A control plane on free ports that runs until the block ends."""
    pki, state = Pki(), folder / "state"
    state.mkdir(mode=0o700)
    ca = _write_root(pki, folder)
    # What is measured is how fast a change gets to all, not how long it is watched on the way.
    at_once = {"MESH_PUSH": "immediate"}
    ports = {f"MESH_{name}_PORT": "0" for name in ("ADMIN", "XDS", "ENROLMENT", "OTLP")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    log = folder / "control-plane.log"
    with running_valkey(state), log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "meshwright.control_plane"],
            env={
                **inherited,
                **at_once,
                **ports,
                **ca,
                **LONG_LEASE,
                "MESH_STATE": str(state),
                **environment,
            },
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            yield ControlPlaneProcess(pki, process, _ready(process, state / "mesh.json", log), log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _write_root(pki: Pki, folder: Path) -> dict[str, str]:
    """Write the root's files; returns the settings that name them."""
    certificate, key = folder / "root.pem", folder / "root.key"
    certificate.write_bytes(pki.roots)
    pem = pki.authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(pem)
    return {"MESH_CA_CERTIFICATE": str(certificate), "MESH_CA_KEY": str(key)}


def _ready(process: subprocess.Popen[bytes], file: Path, log: Path) -> MeshAddresses:
    deadline = time.monotonic() + START_TIMEOUT
    while not file.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return MeshAddresses.model_validate(json.loads(file.read_text()))
