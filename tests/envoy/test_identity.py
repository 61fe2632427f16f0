"""Authorization by certificate and token, and no secret of a mesh where it does not belong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from cryptography import x509

from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.ca.files import load_root
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.envoy import v3
from meshwright.sidecar.control_plane_client import ControlPlaneClient
from meshwright.sidecar.enrolment import enrol
from meshwright.sidecar.errors import RejectedError
from meshwright.sidecar.svid import Svid, create_csr, generate_key
from tests.envoy.envoy_admin import config_dump, envoy
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import addresses, find_event, metrics, states
from tests.envoy.steady_load import load
from tests.fakes.envoy import METHOD
from tests.fakes.pki import Pki, key_pem

TTL = 12.0
"""Lifetime of an SVID here: it is renewed every five or six seconds."""

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("identity")
    with running_mesh(folder, [service("front"), service("back")], MESH_SVID_TTL=str(TTL)) as running:
        running.apply(ROUTE)
        assert running.get("front-1", "http://back/echo").status_code == 200
        yield running


def current_svid(mesh: Mesh, name: str) -> Svid:
    """The current SVID of a sidecar, read from its files."""
    folder = mesh.state / "sidecars" / name
    identity = json.loads((folder / "identity.json").read_bytes())["resources"][0]["tls_certificate"]
    bundle = json.loads((folder / "bundle.json").read_bytes())["resources"][0]["validation_context"]
    domains = bundle["custom_validator_config"]["typed_config"]["trust_domains"]
    certificate = identity["certificate_chain"]["inline_string"]
    not_after = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()
    return Svid(
        certificate,
        domains[0]["trust_bundle"]["inline_string"],
        not_after,
        identity["private_key"]["inline_string"],
    )


def fetch_listeners(mesh: Mesh, name: str, node: dict[str, Any]) -> dict[str, str]:
    """Versions of the listeners that xDS sends to `node` with the certificate of `name`. Raises RpcError."""
    svid = current_svid(mesh, name)
    credentials = grpc.ssl_channel_credentials(
        svid.bundle.encode(), svid.key.encode(), svid.certificate.encode()
    )
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS), ("grpc.enable_http_proxy", 0)]
    request = v3.DeltaDiscoveryRequest(type_url=LDS, resource_names_subscribe=("*",))
    request.node.id, request.node.cluster = node["id"], node["cluster"]
    request.node.metadata.update({"bindings": node["metadata"]["bindings"]})
    with grpc.secure_channel(addresses(mesh).xds, credentials, options) as channel:
        call: Any = channel.stream_stream(METHOD, None, None)(iter([request.SerializeToString()]), timeout=20)
        response = v3.DeltaDiscoveryResponse.FromString(next(call))
        call.cancel()
    return {resource.name: resource.version for resource in response.resources}


def bootstrap_node(mesh: Mesh, name: str) -> dict[str, Any]:
    """The node in the bootstrap of a sidecar."""
    bootstrap: dict[str, Any] = json.loads((mesh.state / "sidecars" / name / "bootstrap.json").read_bytes())
    return dict(bootstrap["node"])


def active_listeners(mesh: Mesh, name: str) -> dict[str, str]:
    """Versions of the listeners that a sidecar's Envoy has from xDS."""
    configs = config_dump(mesh, name)["configs"]
    (dump,) = [config for config in configs if "ListenersConfigDump" in config["@type"]]
    listeners = dump["dynamic_listeners"]
    return {listener["name"]: listener["active_state"]["version_info"] for listener in listeners}


def test_certificate_gets_the_configuration_of_its_own_service(mesh: Mesh) -> None:
    node = bootstrap_node(mesh, "front-1")
    assert fetch_listeners(mesh, "front-1", node) == active_listeners(mesh, "front-1")
    assert active_listeners(mesh, "front-1") != active_listeners(mesh, "back-1")


@pytest.mark.parametrize("other", ["back-1", "ingress"])
def test_certificate_of_another_service_is_denied_its_configuration(mesh: Mesh, other: str) -> None:
    before = metrics(mesh)["mesh_xds_refusals_total"]
    with pytest.raises(grpc.RpcError) as error:
        fetch_listeners(mesh, "front-1", bootstrap_node(mesh, other))
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    until(lambda: metrics(mesh)["mesh_xds_refusals_total"] == before + 1, "the denial is counted")
    until(lambda: "spiffe://mesh.local/service/front" in log_lines(mesh, "refused"), "the denial is logged")


def log_lines(mesh: Mesh, text: str) -> str:
    """The lines of the control plane's log that contain `text`."""
    return "\n".join(line for line in mesh.log("control-plane").splitlines() if text in line)


async def test_instance_of_another_service_cannot_be_registered(mesh: Mesh) -> None:
    before = metrics(mesh)["mesh_agent_denied_total"]
    client = ControlPlaneClient(addresses(mesh).xds, current_svid(mesh, "front-1"))
    registration = Registration(
        instance="back-9", service="back", address="127.0.0.1", port=9, ports=(Port(),)
    )
    try:
        with pytest.raises(RejectedError):
            await client.register(registration)
    finally:
        await client.close()
    until(lambda: metrics(mesh)["mesh_agent_denied_total"] == before + 1, "the denial is counted")
    until(lambda: log_lines(mesh, "agent call denied"), "the denial is logged")
    assert mesh.get("front-1", "http://back/echo").json()["name"] == "back-1"


async def enrol_service(mesh: Mesh, token: str, name: str) -> SignResponse:
    """Enrol with a token as an agent of the service `name` does."""
    csr = create_csr(generate_key(), f"spiffe://mesh.local/service/{name}")
    async with aiohttp.ClientSession() as session:
        return await enrol(session, addresses(mesh).enrolment, token, csr)


def create_token(mesh: Mesh, name: str, folder: Path, ttl: float = 3600) -> str:
    """A join token, created as an operator does."""
    file = folder / "token"
    mesh.run("token", "create", "--service", name, "--ttl", f"{ttl:g}", "--out", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_text().strip()


async def rejection(mesh: Mesh, token: str, name: str) -> str:
    """The reason for a rejected enrolment, which must be counted, and logged without the token."""
    counter = 'mesh_enrolments_total{"outcome": "refused"}'
    before, lines = metrics(mesh)[counter], mesh.log("control-plane").count("enrolment refused")
    with pytest.raises(RejectedError) as error:
        await enrol_service(mesh, token, name)
    until(lambda: metrics(mesh)[counter] == before + 1, "the rejection is counted")

    def new_lines() -> int:
        return mesh.log("control-plane").count("enrolment refused") - lines

    until(new_lines, "the rejection is logged")
    assert new_lines() == 1
    assert token not in mesh.log("control-plane")
    assert token.rpartition(".")[2] not in mesh.log("control-plane")
    return str(error.value)


async def test_forged_token_is_rejected(mesh: Mesh, tmp_path: Path) -> None:
    header, payload, signature = create_token(mesh, "front", tmp_path).split(".")
    claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).replace(b"/front", b"/back")
    forged = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    await rejection(mesh, f"{header}.{forged}.{signature}", "back")


async def test_expired_token_is_rejected(mesh: Mesh, tmp_path: Path) -> None:
    token = create_token(mesh, "front", tmp_path, ttl=1)
    payload = token.split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    await asyncio.sleep(max(0, expires - time.time()) + 0.1)
    assert "expired" in await rejection(mesh, token, "front")


async def test_token_of_another_service_is_rejected(mesh: Mesh, tmp_path: Path) -> None:
    await rejection(mesh, create_token(mesh, "front", tmp_path), "back")


def secrets(mesh: Mesh) -> dict[str, str]:
    """All secrets of the mesh by description: password, tokens, and one line of each private key."""
    secrets = {
        "password of the store": (mesh.state / "store" / "password").read_text().strip(),
        "admin token": (mesh.state / "admin.token").read_text().strip(),
        "read-only token": (mesh.state / "read.token").read_text().strip(),
    }
    for path in (mesh.state / "tokens").iterdir():
        secrets[f"join token {path.name}"] = path.read_text().strip()
    for name in ("ingress", "front-1", "back-1"):
        secrets[f"key of {name}"] = current_svid(mesh, name).key.splitlines()[1]
    secrets["key of the root"] = (mesh.state / "ca" / "root.key").read_text().splitlines()[1]
    assert all(len(secret) > 20 for secret in secrets.values())
    return secrets


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All files below a folder, except files that disappear during the walk."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                yield path, path.read_bytes()


def test_no_secret_is_in_a_log_in_the_store_or_on_a_command_line(mesh: Mesh) -> None:
    logs = {str(path): path.read_text() for path in (mesh.state / "logs").iterdir()}
    store = {
        str(path): data.decode("utf-8", "replace")
        for path, data in contents(mesh.state / "store")
        if "aof" in path.name
    }
    parent = psutil.Process(mesh.process.pid)
    command_lines = {}
    for process in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # the store forks briefly to rewrite its log
            command_lines[f"pid {process.pid}"] = " ".join(process.cmdline())
    assert len(command_lines) >= 9 and store and "front-1" in "".join(store.values())
    texts = {**logs, **store, **command_lines, "mesh up": "".join(mesh.output)}
    for source, text in texts.items():
        for description, secret in secrets(mesh).items():
            assert secret not in text, f"{description} in {source}"
        assert "PRIVATE KEY" not in text, source


def test_files_with_a_secret_are_readable_by_their_owner_only(mesh: Mesh) -> None:
    values = [secret.encode() for secret in secrets(mesh).values()]
    paths = [
        path
        for path, data in contents(mesh.state)
        if b"PRIVATE KEY" in data or any(value in data for value in values)
    ]
    assert len(paths) >= 9
    for path in [*paths, mesh.state / "ca" / "tokens.key"]:
        with contextlib.suppress(FileNotFoundError):  # a temporary file of an atomic write
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in {path.parent for path in paths}:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def presented_serial(mesh: Mesh, name: str) -> int:
    """The serial number of the SVID that a workload's Envoy presents; 0 while it has two."""
    certificates = json.loads(envoy(mesh, name, "/certs"))["certificates"]
    serials = {
        int(certificate["cert_chain"][0]["serial_number"], 16)
        for certificate in certificates
        if certificate.get("cert_chain")
    }
    return serials.pop() if len(serials) == 1 else 0


def test_identities_are_renewed_under_load_without_a_failed_request(mesh: Mesh, tmp_path: Path) -> None:
    names = ("ingress", "front-1", "back-1")
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    with (
        load(tmp_path, f"http://127.0.0.1:{mesh.ingress_port}/echo") as from_outside,
        load(tmp_path, outbound, "Host: back") as from_inside,
    ):
        for _ in range(3):
            before = {name: current_svid(mesh, name).certificate for name in names}
            until(partial(_all_renewed, mesh, before), "all identities are renewed")
    for result in (from_outside, from_inside):
        assert result.requests > 200 and result.failed == 0, result.report
    for name in names:
        until(partial(_presents_newest, mesh, name), f"the Envoy of {name} presents its newest identity")


def _all_renewed(mesh: Mesh, before: dict[str, str]) -> bool:
    return all(current_svid(mesh, name).certificate != certificate for name, certificate in before.items())


def _presents_newest(mesh: Mesh, name: str) -> bool:
    newest = x509.load_pem_x509_certificate(current_svid(mesh, name).certificate.encode())
    return presented_serial(mesh, name) == newest.serial_number


async def test_new_control_plane_keeps_the_root_and_the_key_of_tokens(mesh: Mesh, tmp_path: Path) -> None:
    token, root = create_token(mesh, "front", tmp_path), addresses(mesh).ca_sha256
    old = mesh.pid("control-plane")
    (mesh.state / "mesh.json").unlink()
    os.kill(old, signal.SIGKILL)
    until((mesh.state / "mesh.json").exists, "the control plane listens again")
    until(lambda: set(states(mesh).values()) == {"synced"}, "every sidecar is connected")
    assert addresses(mesh).ca_sha256 == root
    assert "CERTIFICATE" in (await enrol_service(mesh, token, "front")).certificate


def handshake(mesh: Mesh, pki: Pki | None, folder: Path, *, age: float = 0.0) -> None:
    """Connect to the sidecar of back with a certificate of `pki` for mallory; None: in plain text."""
    port = mesh.ports("back-1")["inbound"]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        if pki is None:
            connection.sendall(b"GET /echo HTTP/1.1\r\nhost: back\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
            return
        signed, key = pki.svid("mallory", age=age)
        (folder / "svid.pem").write_text(signed.certificate)
        (folder / "svid.key").write_bytes(key_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(folder / "svid.pem", folder / "svid.key")
        with contextlib.suppress(OSError), context.wrap_socket(connection) as encrypted:
            assert encrypted.recv(1) == b"", "the server closes the connection"


def test_refused_handshakes_are_events_and_metrics_with_reason_and_peer(mesh: Mesh, tmp_path: Path) -> None:
    mesh_pki = Pki(load_root(mesh.state / "ca" / "root.pem", mesh.state / "ca" / "root.key", "mesh.local"))
    handshake(mesh, None, tmp_path)
    handshake(mesh, Pki(), tmp_path)
    handshake(mesh, mesh_pki, tmp_path, age=7200)
    expected = {
        "plaintext": "from 127.0.0.1: it sent plain text",
        "untrusted": "spiffe://mesh.local/service/mallory: its certificate is not of this mesh",
        "expired": "spiffe://mesh.local/service/mallory: its certificate has expired",
    }
    for reason, text in expected.items():
        event = until(partial(find_event, mesh, "refusal", "back", text), f"an event about {reason}")
        assert event["subject"] == "back"
        labels = json.dumps({"reason": reason, "service": "back"})
        assert metrics(mesh)[f"mesh_connections_refused_total{labels}"] >= 1
