"""A control plane for the agent's tests: real CA and agent service, leases in memory, and a minimal ADS.

The ADS serves just enough to open a sidecar's listeners, so that the tests see the agent apart from the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from meshwright.control_plane.agents.service import AgentService
from meshwright.control_plane.api.models.instances import DrainResult, InstanceHealth, Registration
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.ca.authority import CertificateAuthority, ServerCertificate, open_authority
from meshwright.control_plane.ca.enrolment import EnrolmentServer
from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.envoy import codec, v3

DOMAIN = "mesh.local"
ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"


@dataclass
class Leases:
    """Leases in memory. `health_changes` has the health of each registration, without repeats."""

    instances: dict[str, Registration] = field(default_factory=dict)
    health_changes: dict[str, list[InstanceHealth]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    registrations: list[str] = field(default_factory=list)

    async def register(self, registration: Registration) -> bool:
        changes = self.health_changes.setdefault(registration.instance, [])
        if not changes or changes[-1] != registration.health:
            changes.append(registration.health)
            self.log.append(f"{registration.instance} {registration.health}")
        self.instances[registration.instance] = registration
        self.registrations.append(registration.instance)
        return True

    async def deregister(self, instance: str, service: str, failure: str = "") -> bool:
        self.log.append(f"{instance} deregistered{': ' if failure else ''}{failure}")
        return self.instances.pop(instance, None) is not None

    async def set_draining(self, instance: str, service: str) -> bool:
        self.log.append(f"{instance} drained")
        return True

    def health(self, instance: str) -> InstanceHealth | None:
        """The health in the lease of `instance`; None without a lease."""
        registration = self.instances.get(instance)
        return registration.health if registration else None


@dataclass
class FakeControlPlane:
    """A running fake. Drains end only while `drain_allowed` is set."""

    authority: CertificateAuthority
    leases: Leases
    addresses: MeshAddresses
    drain_allowed: asyncio.Event

    def token(self, folder: Path, name: str, role: str = "service") -> Path:
        """A join token for a service or gateway, in a file."""
        identity = Identity(DOMAIN, "gateway" if role == "gateway" else "service", name)
        path = folder / f"token-{name}"
        path.write_text(self.authority.mint_token(identity, 600.0))
        return path


@asynccontextmanager
async def running_control_plane(
    state: Path, svid_ttl: float = 3600.0, ports: tuple[int, int] = (0, 0)
) -> AsyncIterator[FakeControlPlane]:
    """A fake that runs until the end of the block. `state` keeps the CA. `ports`: xDS and enrolment."""
    authority = open_authority(Settings(state, svid_ttl=svid_ttl))
    enrolment = EnrolmentServer(authority, "127.0.0.1", ports[1])
    await enrolment.start()
    leases, drain_allowed = Leases(), asyncio.Event()
    drain_allowed.set()

    async def drain(_service: str, _instance: str) -> DrainResult:
        await drain_allowed.wait()
        return DrainResult(drained=True)

    server = grpc.aio.server()
    agents = AgentService(leases, authority.sign_csr, drain, DOMAIN, 6.0)
    ads = grpc.method_handlers_generic_handler(
        ADS, {"DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(_ads)}
    )
    server.add_generic_rpc_handlers((agents.handlers(), ads))
    xds = server.add_secure_port(f"127.0.0.1:{ports[0]}", _server_credentials(authority))
    await server.start()
    addresses = MeshAddresses(
        admin="http://127.0.0.1:1",
        xds=f"127.0.0.1:{xds}",
        enrolment=f"https://127.0.0.1:{enrolment.port}",
        ca_sha256=authority.ca_sha256,
    )
    try:
        yield FakeControlPlane(authority, leases, addresses, drain_allowed)
    finally:
        await server.stop(0)
        await enrolment.close()


def _server_credentials(authority: CertificateAuthority) -> grpc.ServerCredentials:
    """mTLS for clients with an SVID. Each handshake uses the authority's present server certificate."""

    def configuration(pair: ServerCertificate) -> grpc.ServerCertificateConfiguration:
        chain = [(pair.key.encode(), pair.certificate.encode())]
        return grpc.ssl_server_certificate_configuration(chain, authority.bundle.encode())

    def current() -> grpc.ServerCertificateConfiguration:
        return configuration(authority.server_certificate())

    return grpc.dynamic_ssl_server_credentials(current(), current, True)


async def _ads(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    """Respond to the first request of each type, with listeners for the node's bindings."""
    bindings: dict[str, Any] = {}
    responded: set[str] = set()
    async for message in requests:
        request = v3.DeltaDiscoveryRequest.FromString(message)
        if not bindings:
            bindings = json_format.MessageToDict(request.node.metadata)["bindings"]
        if request.type_url in responded:
            continue
        responded.add(request.type_url)
        response = v3.DeltaDiscoveryResponse(type_url=request.type_url, nonce=f"n{len(responded)}")
        if request.type_url == LDS:
            for listener in _listeners(bindings):
                resource = codec.pack(listener)
                response.resources.append(v3.Resource(name=listener.name, version="1", resource=resource))
        yield response.SerializeToString()


def _listeners(bindings: dict[str, Any]) -> list[v3.Listener]:
    ports = {name: bindings[name] for name in ("inbound", "outbound") if bindings.get(name)}
    ports |= {f"gateway/{name}": port for name, port in bindings.get("gateway", {}).items()}
    return [_listener(name, int(port)) for name, port in ports.items()]


def _listener(name: str, port: int) -> v3.Listener:
    """Routes all requests to the app, without TLS, so that a test can send requests directly."""
    types = "type.googleapis.com/envoy.extensions.filters"
    action: dict[str, Any] = {"route": {"cluster": "/app/http", "timeout": "0s"}}
    if name.startswith("gateway/"):
        action = {"direct_response": {"status": 200}}
    route = {"match": {"prefix": "/"}, **action}
    connection_manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "validate_clusters": False,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]
    address: dict[str, Any] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    document = {
        "name": name,
        "address": address,
        "enable_reuse_port": False,
        "filter_chains": [{"filters": filters}],
    }
    return codec.from_dict(v3.Listener, document)
