"""Who may have what: certificates, tokens, and the secrets of a whole mesh that stay where they belong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
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
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.envoy import v3
from meshwright.sidecar import enrolment
from meshwright.sidecar import svid as svid_module
from meshwright.sidecar.control_plane_client import ControlPlaneClient
from meshwright.sidecar.errors import RejectedError
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.observe import addresses, config_dump, envoy, load, metrics, states
from tests.fakes.envoy import METHOD

TTL = 12.0
"""Seconds of an SVID's life here: it is renewed every five or six."""

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
    with running_mesh(folder, [service("front"), service("back")], MESH_SVID_TTL=str(TTL)) as actual_mesh:
        actual_mesh.apply(ROUTE)
        assert actual_mesh.get("front-1", "http://back/echo").status_code == 200
        yield actual_mesh


def svid(mesh: Mesh, name: str) -> svid_module.Svid:
    """The SVID that a sidecar uses at this moment, as whoever stole it would read it."""
    folder = mesh.state / "sidecars" / name
    tls_certificate = json.loads((folder / "identity.json").read_bytes())["resources"][0]["tls_certificate"]
    peers = json.loads((folder / "bundle.json").read_bytes())["resources"][0]["validation_context"]
    domains = peers["custom_validator_config"]["typed_config"]["trust_domains"]
    certificate = tls_certificate["certificate_chain"]["inline_string"]
    not_after = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()
    return svid_module.Svid(
        certificate,
        domains[0]["trust_bundle"]["inline_string"],
        not_after,
        tls_certificate["private_key"]["inline_string"],
    )


def listeners(mesh: Mesh, name: str, node: dict[str, Any]) -> dict[str, str]:
    """Ask the xDS port for listeners with the certificate of `name`; name → version. Raises RpcError."""
    value = svid(mesh, name)
    credentials = grpc.ssl_channel_credentials(
        value.bundle.encode(), value.key.encode(), value.certificate.encode()
    )
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS), ("grpc.enable_http_proxy", 0)]
    request = v3.DeltaDiscoveryRequest(type_url=LDS, resource_names_subscribe=("*",))
    request.node.id, request.node.cluster = node["id"], node["cluster"]
    request.node.metadata.update({"bindings": node["metadata"]["bindings"]})
    with grpc.secure_channel(addresses(mesh).xds, credentials, options) as channel:
        call: Any = channel.stream_stream(METHOD, None, None)(iter([request.SerializeToString()]), timeout=20)
        delta_discovery_response = v3.DeltaDiscoveryResponse.FromString(next(call))
        call.cancel()
    return {resource.name: resource.version for resource in delta_discovery_response.resources}


def node(mesh: Mesh, name: str) -> dict[str, Any]:
    """How a sidecar's Envoy presents itself."""
    document: dict[str, Any] = json.loads((mesh.state / "sidecars" / name / "bootstrap.json").read_bytes())
    return dict(document["node"])


def served(mesh: Mesh, name: str) -> dict[str, str]:
    """The listeners that a sidecar's Envoy was given: name → version."""
    (dump,) = [
        config for config in config_dump(mesh, name)["configs"] if "ListenersConfigDump" in config["@type"]
    ]
    return {
        dynamic_listener["name"]: dynamic_listener["active_state"]["version_info"]
        for dynamic_listener in dump["dynamic_listeners"]
    }


def test_a_certificate_gets_the_configuration_of_its_own_service_alone(mesh: Mesh) -> None:
    assert listeners(mesh, "front-1", node(mesh, "front-1")) == served(mesh, "front-1")
    assert served(mesh, "front-1") != served(mesh, "back-1")


@pytest.mark.parametrize("other", ["back-1", "ingress"])
def test_a_certificate_of_another_service_gets_no_configuration(mesh: Mesh, other: str) -> None:
    before = metrics(mesh)["mesh_xds_refusals_total"]
    with pytest.raises(grpc.RpcError) as refused:
        listeners(mesh, "front-1", node(mesh, other))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics(mesh)["mesh_xds_refusals_total"] == before + 1
    until(lambda: "spiffe://mesh.local/service/front" in refusals(mesh), "the refusal is logged")


def refusals(mesh: Mesh) -> str:
    return "\n".join(line for line in mesh.log("control-plane").splitlines() if "refused" in line)


@pytest.mark.parametrize(("instance", "name"), [("back-9", "back"), ("back-1", "front")])
async def test_an_instance_of_another_service_cannot_be_registered(
    mesh: Mesh, instance: str, name: str
) -> None:
    before = metrics(mesh)["mesh_agent_denied_total"]
    plane = ControlPlaneClient(addresses(mesh).xds, svid(mesh, "front-1"))
    expected = Registration(instance=instance, service=name, address="127.0.0.1", port=9, ports=(Port(),))
    try:
        with pytest.raises(RejectedError):
            await plane.register(expected)
    finally:
        await plane.close()
    assert metrics(mesh)["mesh_agent_denied_total"] == before + 1
    until(lambda: "agent call denied" in refusals(mesh), "the refusal is logged")
    assert mesh.get("front-1", "http://back/echo").json()["name"] == "back-1"


async def enrol(mesh: Mesh, token: str, name: str) -> SignResponse:
    """What an agent of the service `name` does with a token."""
    csr = svid_module.create_csr(svid_module.generate_key(), f"spiffe://mesh.local/service/{name}")
    async with aiohttp.ClientSession() as session:
        return await enrolment.enrol(session, addresses(mesh).enrolment, token, csr)


def minted(mesh: Mesh, name: str, folder: Path, ttl: float = 3600) -> str:
    """A join token made as an operator makes one."""
    file = folder / "token"
    mesh.run("token", "create", "--service", name, "--ttl", f"{ttl:g}", "--out", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_text().strip()


async def refused(mesh: Mesh, token: str, name: str) -> str:
    """The words with which an enrolment is refused, once it was logged without the token, and counted."""
    counter = 'mesh_enrolments_total{"outcome": "refused"}'
    before, lines = metrics(mesh)[counter], refusals(mesh).count("enrolment refused")
    with pytest.raises(RejectedError) as why:
        await enrol(mesh, token, name)
    assert metrics(mesh)[counter] == before + 1
    until(lambda: refusals(mesh).count("enrolment refused") > lines, "the refusal is logged")
    assert refusals(mesh).count("enrolment refused") == lines + 1
    assert token not in mesh.log("control-plane")
    assert token.rpartition(".")[2] not in mesh.log("control-plane")
    return str(why.value)


async def test_a_token_that_was_tampered_with_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    head, body, signature = minted(mesh, "front", tmp_path).split(".")
    claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).replace(b"/front", b"/back")
    forged = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    await refused(mesh, f"{head}.{forged}.{signature}", "back")


async def test_an_expired_token_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    token = minted(mesh, "front", tmp_path, ttl=1)
    body = token.split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]
    await asyncio.sleep(max(0, expires - time.time()) + 0.1)
    assert "expired" in await refused(mesh, token, "front")


async def test_a_request_for_another_name_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    await refused(mesh, minted(mesh, "front", tmp_path), "back")


def secrets(mesh: Mesh) -> dict[str, str]:
    """Every secret of the mesh by what it is: passwords, tokens, and a line of each private key."""
    values = {
        "password of the store": (mesh.state / "store" / "password").read_text().strip(),
        "admin token": (mesh.state / "admin.token").read_text().strip(),
        "read-only token": (mesh.state / "read.token").read_text().strip(),
    }
    for path in (mesh.state / "tokens").iterdir():
        values[f"join token {path.name}"] = path.read_text().strip()
    for name in ("ingress", "front-1", "back-1"):
        values[f"key of {name}"] = svid(mesh, name).key.splitlines()[1]
    values["key of the root"] = (mesh.state / "ca" / "root.key").read_text().splitlines()[1]
    assert all(len(text) > 20 for text in values.values())
    return values


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, but for those that are replaced by others meanwhile."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                yield path, path.read_bytes()


def test_no_secret_stands_in_a_log_in_the_store_or_on_a_command_line(mesh: Mesh) -> None:
    logs = {str(path): path.read_text() for path in (mesh.state / "logs").iterdir()}
    values = {
        str(path): text.decode("utf-8", "replace")
        for path, text in contents(mesh.state / "store")
        if "aof" in path.name
    }
    family = [psutil.Process(mesh.process.pid), *psutil.Process(mesh.process.pid).children(recursive=True)]
    commands = {}
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # the store forks for a moment when it tidies up
            commands[f"pid {process.pid}"] = " ".join(process.cmdline())
    assert len(commands) >= 9 and values and "front-1" in "".join(values.values())
    for place, text in {**logs, **values, **commands, "mesh up": "".join(mesh.output)}.items():
        for what, secret in secrets(mesh).items():
            assert secret not in text, f"{what} in {place}"
        assert "PRIVATE KEY" not in text, place


def test_files_with_a_secret_are_their_owners_alone(mesh: Mesh) -> None:
    dict_values = secrets(mesh).values()
    holding = [
        path
        for path, text in contents(mesh.state)
        if b"PRIVATE KEY" in text or any(item.encode() in text for item in dict_values)
    ]
    assert len(holding) >= 9
    for path in [*holding, mesh.state / "ca" / "tokens.key"]:
        with contextlib.suppress(FileNotFoundError):  # an identity on its way to its place
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in {path.parent for path in holding}:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def serial(mesh: Mesh, name: str) -> int:
    """The serial number of the SVID that the Envoy of a workload presents."""
    certificates = json.loads(envoy(mesh, name, "/certs"))["certificates"]
    numbers = {
        int(item["cert_chain"][0]["serial_number"], 16) for item in certificates if item.get("cert_chain")
    }
    return numbers.pop() if len(numbers) == 1 else 0


def test_identities_are_renewed_under_load_without_a_failed_request(mesh: Mesh, tmp_path: Path) -> None:
    names = ("ingress", "front-1", "back-1")
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    with (
        load(tmp_path, f"http://127.0.0.1:{mesh.ingress_port}/echo") as outside,
        load(tmp_path, outbound, "Host: back") as inside,
    ):
        for _ in range(3):
            before = {name: svid(mesh, name).certificate for name in names}
            until(partial(_renewed, mesh, before), "every identity is renewed")
    for item in (outside, inside):
        assert item.requests > 200 and item.bad == 0, item.report
    for name in names:
        until(partial(_presented, mesh, name), f"the Envoy of {name} presents its newest identity")


def _renewed(mesh: Mesh, before: dict[str, str]) -> bool:
    return all(svid(mesh, name).certificate != text for name, text in before.items())


def _presented(mesh: Mesh, name: str) -> bool:
    newest = x509.load_pem_x509_certificate(svid(mesh, name).certificate.encode())
    return serial(mesh, name) == newest.serial_number


async def test_a_new_control_plane_keeps_the_root_and_the_key_of_tokens(mesh: Mesh, tmp_path: Path) -> None:
    token, root, old = minted(mesh, "front", tmp_path), addresses(mesh).ca_sha256, mesh.pid("control-plane")
    (mesh.state / "mesh.json").unlink()
    os.kill(old, signal.SIGKILL)
    until((mesh.state / "mesh.json").exists, "the control plane listens again")
    until(lambda: set(states(mesh).values()) == {"synced"}, "every sidecar is connected")
    assert addresses(mesh).ca_sha256 == root
    assert "CERTIFICATE" in (await enrol(mesh, token, "front")).certificate
