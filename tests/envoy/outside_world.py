"""Hosts outside a mesh, documents that declare them, and calls of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.envoy.harness import Mesh, until
from tests.envoy.http_cases import END
from tests.envoy.mesh_api import api
from tests.envoy.raw_http import RawResponse, exchange
from tests.fakes.dns_server import DnsRecords
from tests.fakes.outside_server import Outside, PublicAuthority

HOST = "api.cards.example"


@dataclass
class World:
    """The servers outside: two for the same host, and those with TLS under a right and a wrong name."""

    first: Outside
    second: Outside
    secure: Outside
    impostor: Outside
    mutual: Outside
    dns: DnsRecords
    authority: PublicAuthority
    files: tuple[Path, Path]
    ca: str = field(init=False)

    def __post_init__(self) -> None:
        self.ca = json.dumps(self.authority.pem)


def document(spec: str, name: str = "cards") -> str:
    head = f"apiVersion: meshwright.io/v1, kind: ExternalService, metadata: {{name: {name}}}"
    return f"---\n{{{head}, spec: {{{spec}}}}}\n"


def policy(kind: str, spec: str) -> str:
    head = f"apiVersion: meshwright.io/v1, kind: {kind}, metadata: {{name: cards}}"
    target = "targetRefs: [{kind: ExternalService, name: cards}]"
    return f"---\n{{{head}, spec: {{{target}, {spec}}}}}\n"


def static(*servers: Outside, more: str = "") -> str:
    endpoints = ", ".join(f"{{address: {server.address}}}" for server in servers)
    ports = f"ports: [{{port: 80, targetPort: {servers[0].port}}}]"
    return document(f"hosts: [{HOST}], {ports}, endpoints: [{endpoints}]{more}")


def call(mesh: Mesh, host: str = HOST, caller: str = "front-1", path: str = "/x") -> RawResponse:
    text = f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{END}"
    return exchange(mesh.ports(caller)["outbound"], text)


def server_of(response: RawResponse) -> str:
    return str(json.loads(response.body)["server"])


def of(server: Outside, more: str = "") -> str:
    """The host as one of the servers with TLS."""
    ports = f"ports: [{{port: 80, targetPort: {server.port}}}]"
    return document(f"hosts: [{HOST}], {ports}, endpoints: [{{address: {server.address}}}]{more}")


def backend_tls(more: str = "") -> str:
    """A BackendTLSPolicy with the authorities of a Certificate."""
    refs = "caCertificateRefs: [{name: cards}]"
    text = policy("BackendTLSPolicy", f"validation: {{hostname: {HOST}, {refs}{more}}}")
    return text.replace("meshwright.io", "gateway.networking.k8s.io", 1)


def is_reported(mesh: Mesh, text: str) -> bool:
    """Whether `mesh status` has this text."""
    return text in api(mesh, "/api/v1/status").text


def status_becomes(mesh: Mesh, status: int) -> None:
    """Wait until calls of the host get this status."""
    until(lambda: call(mesh).status == status, f"status {status}")


def copy_files(source: tuple[Path, Path], target: tuple[Path, Path]) -> None:
    """Replace files by others."""
    for old, new in zip(source, target, strict=True):
        new.write_bytes(old.read_bytes())
