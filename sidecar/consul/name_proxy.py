"""Where an application finds a service that it looked up: loopback addresses that lead into a sidecar.

A client that looked a service up connects to an address and a port; nothing in its connection says which
service it means, or who calls. So each service has a loopback address of its own for each service that looks
it up, at the port that it registered where that is free. An Envoy listens there, sets the host, and passes
requests to the outbound listener of the caller's sidecar, where routes, policies and mutual TLS are. It reads
its configuration from files. Addresses are kept over a restart, as clients keep what they looked up.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.bootstrap.document import envoy_command
from meshwright.sidecar.child_process import Program
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import LOOPBACK, PortAllocator, is_free
from meshwright.sidecar.supervisor import Supervisor

MAX_NAMES = 1024
"""Addresses of one agent: a service for each caller that looks it up."""

READY_WITHIN = 10.0
"""Seconds until Envoy listens at a new address. An answer waits for it."""

NAME = "names"

_TYPE = "type.googleapis.com/envoy"
_TUNNEL = "/tunnel"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """A service that another one calls. `tcp_port`: the number of its port for connections; 0: requests."""

    caller: str
    service: str
    tcp_port: int = 0

    @property
    def host(self) -> str:
        """The service as its caller's sidecar knows it."""
        return f"{self.service}:{self.tcp_port}" if self.tcp_port else self.service

    def __str__(self) -> str:
        return f"{self.caller}/{self.host}"


class NameProxy:
    """Runs the Envoy. `outbound` returns the port of a caller's sidecar; 0: none is ready.

    `file` keeps the addresses over a restart.
    """

    def __init__(
        self,
        envoy: Path,
        state: Path,
        allocator: PortAllocator,
        outbound: Callable[[str], int],
        *,
        file: Path,
    ) -> None:
        self._envoy = envoy
        self._folder = private_folder(state / NAME)
        self._allocator = allocator
        self._outbound = outbound
        self._file = file
        self._addresses = read_addresses(file)
        self._ready: set[ServiceCall] = set()
        self._ports = dict.fromkeys((call.caller for call in self._addresses), 0)
        self._process = Supervisor(NAME, self._program, state, lambda _reason: None)

    @property
    def callers(self) -> frozenset[str]:
        """Those that have addresses."""
        return frozenset(self._ports)

    def start(self) -> None:
        """Start Envoy."""
        self._write("lds.json", listeners(self._addresses))
        self._write("cds.json", clusters(self._ports))
        self._process.start()

    async def stop(self) -> None:
        """Stop Envoy."""
        await self._process.stop()

    def follow_sidecars(self) -> None:
        """Lead each caller to the sidecar that it has now."""
        ports = {caller: self._outbound(caller) for caller in self._ports}
        if ports != self._ports:
            self._ports = ports
            self._write("cds.json", clusters(ports))

    async def address_of(self, call: ServiceCall, port: int) -> tuple[str, int] | None:
        """Where a caller on this host reaches a service; None while its sidecar is not ready.

        `port` is the one that it expects, 0 if it expects none.
        """
        self._ports.setdefault(call.caller, 0)
        self.follow_sidecars()
        if not self._ports[call.caller]:
            return None
        if call not in self._addresses:
            if len(self._addresses) >= MAX_NAMES:
                log.warning("too many services are looked up here", limit=MAX_NAMES, call=str(call))
                return None
            self._addresses[call] = self._allocate(port)
            self._write("lds.json", listeners(self._addresses))
            write_addresses(self._file, self._addresses)
        host, number = split_address(self._addresses[call])
        if call not in self._ready and await _is_listening(host, number):
            self._ready.add(call)
        return host, number

    def _allocate(self, port: int) -> str:
        """A new address: the host has those of the last run free, as their Envoy listens only from now on."""
        taken = self._addresses.values()
        while (address := self._allocator.allocate_upstream(port)) in taken:
            pass
        return address

    def _write(self, name: str, resources: list[dict[str, Any]]) -> None:
        # Envoy looks again when a file is moved to the name, which is what write_private does.
        write_private(self._folder / name, json.dumps({"version_info": "1", "resources": resources}))

    def _program(self) -> Program:
        file = self._folder / "envoy.json"
        write_private(file, json.dumps(bootstrap(self._folder)))
        command = envoy_command(str(self._envoy), str(file))
        return Program(NAME, command, dict(os.environ), self._folder)


def read_addresses(file: Path) -> dict[ServiceCall, str]:
    """The newest addresses of the last run that nothing else has taken, half of what there may be."""
    try:
        saved = [(ServiceCall(*call), str(address)) for *call, address in json.loads(read_private(file))]
        free = {call: address for call, address in saved if is_free(*split_address(address))}
    except FileNotFoundError:
        return {}
    except (OSError, TypeError, ValueError, OverflowError) as error:
        log.warning("cannot read the addresses of the last run", file=str(file), reason=str(error))
        return {}
    return dict(list(free.items())[-MAX_NAMES // 2 :])


def write_addresses(file: Path, addresses: Mapping[ServiceCall, str]) -> None:
    """Keep them for the next run."""
    rows = [(call.caller, call.service, call.tcp_port, address) for call, address in addresses.items()]
    write_private(file, json.dumps(rows))


async def _is_listening(host: str, port: int) -> bool:
    """Wait until something accepts connections, up to READY_WITHIN. Whether it does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN
    while loop.time() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return True
    log.warning("no listener for a service that was looked up", address=f"{host}:{port}")
    return False


def bootstrap(folder: Path) -> dict[str, Any]:
    """The bootstrap: everything else is in two files of the folder."""

    def source(name: str) -> dict[str, Any]:
        return {"path_config_source": {"path": str(folder / name)}, "resource_api_version": "V3"}

    return {
        "node": {"id": NAME, "cluster": NAME},
        "dynamic_resources": {"lds_config": source("lds.json"), "cds_config": source("cds.json")},
    }


def clusters(ports: Mapping[str, int]) -> list[dict[str, Any]]:
    """Two clusters for each caller, of its sidecar's outbound listener at this port (0: none).

    One speaks what the client speaks. The other is for tunnels: in HTTP/2 either end can close its half.
    """
    as_client: dict[str, Any] = {
        "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}
    }
    http2 = {"explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}
    return [
        cluster
        for caller, port in ports.items()
        for cluster in (_cluster(caller, port, as_client), _cluster(f"{caller}{_TUNNEL}", port, http2))
    ]


def _cluster(name: str, port: int, protocol: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(LOOPBACK, port)}}
    options = {"@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions", **protocol}
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint] if port else []}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
    }


def listeners(addresses: Mapping[ServiceCall, str]) -> list[dict[str, Any]]:
    """A listener for each service and caller. Requests pass as they are, but for their host.

    Connections of TCP services pass as CONNECT, which ends at the sidecar.
    """
    return [
        {
            "@type": f"{_TYPE}.config.listener.v3.Listener",
            "name": str(call),
            "address": _address(*split_address(address)),
            "enable_reuse_port": False,
            "filter_chains": [
                {"filters": [_tcp_proxy(call) if call.tcp_port else _connection_manager(call)]}
            ],
        }
        for call, address in addresses.items()
    ]


def _tcp_proxy(call: ServiceCall) -> dict[str, Any]:
    config = {
        "@type": f"{_TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": NAME,
        "cluster": f"{call.caller}{_TUNNEL}",
        "idle_timeout": "0s",
        "tunneling_config": {"hostname": call.host},
    }
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def _connection_manager(call: ServiceCall) -> dict[str, Any]:
    http = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": call.caller, "host_rewrite_literal": call.service, "timeout": "0s"},
    }
    config = {
        "@type": http,
        "stat_prefix": NAME,
        "generate_request_id": False,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",
        "proxy_100_continue": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            # Envoy reads the two files in any order, and would reject a listener before its cluster.
            "validate_clusters": False,
            "virtual_hosts": [{"name": call.service, "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
