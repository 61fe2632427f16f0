"""A control plane for the agent's tests: the real CA and agents' service, leases in memory, and the least
ADS that brings a sidecar's two listeners up, so that what the agent does is seen apart from the rest."""

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
from meshwright.control_plane.api.models.base import DrainResult, InstanceHealth, Registration
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.ca.authority import CertificateAuthority, grpc_credentials, open_authority
from meshwright.control_plane.ca.enrolment import EnrolmentServer
from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.envoy import codec, v3

DOMAIN = "mesh.local"
ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"


@dataclass
class Leases:
    """Leases in memory. `seen`: every health that an instance has announced, repeats left out."""

    instances: dict[str, Registration] = field(default_factory=dict)
    seen: dict[str, list[InstanceHealth]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)

    async def register(self, registration: Registration) -> bool:
        seen = self.seen.setdefault(registration.instance, [])
        if not seen or seen[-1] != registration.health:
            seen.append(registration.health)
            self.log.append(f"{registration.instance} {registration.health}")
        self.instances[registration.instance] = registration
        self.renewed.append(registration.instance)
        return True

    async def deregister(self, instance: str, service: str) -> bool:
        self.log.append(f"{instance} deregistered")
        return self.instances.pop(instance, None) is not None

    async def set_draining(self, instance: str, service: str) -> bool:
        self.log.append(f"{instance} drained")
        return True

    def health(self, instance: str) -> InstanceHealth | None:
        """What the lease of `instance` says now."""
        known = self.instances.get(instance)
        return known.health if known else None


@dataclass
class Plane:
    """A running stand-in; `drained` may be replaced to hold a drain back."""

    authority: CertificateAuthority
    leases: Leases
    addresses: MeshAddresses
    drain_held: asyncio.Event

    def token(self, folder: Path, name: str, role: str = "service") -> Path:
        """A join token for a service or gateway, in a file."""
        identity = Identity(DOMAIN, "gateway" if role == "gateway" else "service", name)
        path = folder / f"token-{name}"
        path.write_text(self.authority.mint_token(identity, 600.0))
        return path


@asynccontextmanager
async def running(
    state: Path, svid_ttl: float = 3600.0, ports: tuple[int, int] = (0, 0)
) -> AsyncIterator[Plane]:
    """The stand-in, from start to stop; the CA's files are kept in `state`. `ports`: xDS and enrolment."""
    authority = open_authority(Settings(state, svid_ttl=svid_ttl))
    enrolment = EnrolmentServer(authority, "127.0.0.1", ports[1])
    await enrolment.start()
    leases, held = Leases(), asyncio.Event()
    held.set()

    async def drained(instance: str) -> DrainResult:
        await held.wait()
        return DrainResult(drained=True)

    server = grpc.aio.server()
    agents = AgentService(leases, authority.sign_csr, drained, DOMAIN, 6.0)
    ads = grpc.method_handlers_generic_handler(
        ADS, {"DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(_ads)}
    )
    server.add_generic_rpc_handlers((agents.handlers(), ads))
    xds = server.add_secure_port(f"127.0.0.1:{ports[0]}", grpc_credentials(authority))
    await server.start()
    addresses = MeshAddresses(
        admin="http://127.0.0.1:1",
        xds=f"127.0.0.1:{xds}",
        enrolment=f"https://127.0.0.1:{enrolment.port}",
        ca_sha256=authority.ca_sha256,
    )
    try:
        yield Plane(authority, leases, addresses, held)
    finally:
        await server.stop(0)
        await enrolment.close()


async def _ads(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    """Answer the first request of each type; listeners are made of the node's own bindings."""
    bindings: dict[str, Any] = {}
    answered: set[str] = set()
    async for wire in requests:
        request = v3.DeltaDiscoveryRequest.FromString(wire)
        if not bindings:
            bindings = json_format.MessageToDict(request.node.metadata)["bindings"]
        if request.type_url in answered:
            continue
        answered.add(request.type_url)
        answer = v3.DeltaDiscoveryResponse(type_url=request.type_url, nonce=f"n{len(answered)}")
        if request.type_url == LDS:
            for one in _listeners(bindings):
                answer.resources.append(v3.Resource(name=one.name, version="1", resource=codec.pack(one)))
        yield answer.SerializeToString()


def _listeners(bindings: dict[str, Any]) -> list[v3.Listener]:
    ports = {name: bindings[name] for name in ("inbound", "outbound") if bindings.get(name)}
    ports |= {f"gateway/{name}": port for name, port in bindings.get("gateway", {}).items()}
    return [_listener(name, int(port)) for name, port in ports.items()]


def _listener(name: str, port: int) -> v3.Listener:
    """All requests go to the app; without TLS, so that a test may ask directly."""
    types = "type.googleapis.com/envoy.extensions.filters"
    action: dict[str, Any] = {"route": {"cluster": "/app/http", "timeout": "0s"}}
    if name.startswith("gateway/"):
        action = {"direct_response": {"status": 200}}
    route = {"match": {"prefix": "/"}, **action}
    manager = {
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
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address: dict[str, Any] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    document = {
        "name": name,
        "address": address,
        "enable_reuse_port": False,
        "filter_chains": [{"filters": filters}],
    }
    return codec.from_dict(v3.Listener, document)
