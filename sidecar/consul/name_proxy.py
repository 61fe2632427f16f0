"""Where an application finds a service that it looked up: loopback addresses that lead into a sidecar.

A client that looked a service up connects to an address and a port; nothing in its connection says which
service it means. So each service that is looked up has a loopback address of its own, at the port that it
registered where that is free. An Envoy listens there, sets the host, and passes requests to the outbound
listener of a sidecar, where routes, policies and mutual TLS are. It reads its configuration from files.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.bootstrap.document import envoy_command
from meshwright.sidecar.child_process import Program
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import LOOPBACK, PortAllocator
from meshwright.sidecar.supervisor import Supervisor

MAX_NAMES = 256
"""Services that one agent's clients look up."""

READY_WITHIN = 10.0
"""Seconds until Envoy listens at a new address. An answer waits for it."""

NAME = "names"
SIDECAR = "sidecar"

_TYPE = "type.googleapis.com/envoy"

log = structlog.get_logger(__name__)


class NameProxy:
    """Runs the Envoy. `outbound` returns the port of the sidecar that requests go to; 0: none yet."""

    def __init__(
        self, envoy: Path, state: Path, allocator: PortAllocator, outbound: Callable[[], int]
    ) -> None:
        self._envoy = envoy
        self._folder = private_folder(state / NAME)
        self._allocator = allocator
        self._outbound = outbound
        self._addresses: dict[str, str] = {}
        self._ready: set[str] = set()
        self._sidecar_port = 0
        self._process = Supervisor(NAME, self._program, state, lambda _reason: None)

    def start(self) -> None:
        """Start Envoy."""
        self._write("lds.json", listeners(self._addresses))
        self._write("cds.json", clusters(self._sidecar_port))
        self._process.start()

    async def stop(self) -> None:
        """Stop Envoy."""
        await self._process.stop()

    def follow_sidecar(self) -> None:
        """Lead to the sidecar that there is now."""
        if (port := self._outbound()) != self._sidecar_port:
            self._sidecar_port = port
            self._write("cds.json", clusters(port))

    async def address_of(self, service: str, port: int) -> tuple[str, int] | None:
        """Where applications of this host reach a service; None while no sidecar is here to lead to.

        `port` is the one that they expect, 0 if they expect none.
        """
        self.follow_sidecar()
        if not self._sidecar_port:
            return None
        if service not in self._addresses:
            if len(self._addresses) >= MAX_NAMES:
                log.warning("too many services are looked up here", limit=MAX_NAMES, service=service)
                return None
            self._addresses[service] = self._allocator.allocate_upstream(port)
            self._write("lds.json", listeners(self._addresses))
        host, number = split_address(self._addresses[service])
        if service not in self._ready:
            await _wait_for_listener(host, number)
            self._ready.add(service)
        return host, number

    def _write(self, name: str, resources: list[dict[str, Any]]) -> None:
        # Envoy looks again when a file is moved to the name, which is what write_private does.
        write_private(self._folder / name, json.dumps({"version_info": "1", "resources": resources}))

    def _program(self) -> Program:
        file = self._folder / "envoy.json"
        write_private(file, json.dumps(bootstrap(self._folder)))
        command = envoy_command(str(self._envoy), str(file))
        return Program(NAME, command, dict(os.environ), self._folder)


async def _wait_for_listener(host: str, port: int) -> None:
    """Wait until something accepts connections, up to READY_WITHIN."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN
    while loop.time() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    log.warning("no listener for a service that was looked up", address=f"{host}:{port}")


def bootstrap(folder: Path) -> dict[str, Any]:
    """The bootstrap: everything else is in two files of the folder."""

    def source(name: str) -> dict[str, Any]:
        return {"path_config_source": {"path": str(folder / name)}, "resource_api_version": "V3"}

    return {
        "node": {"id": NAME, "cluster": NAME},
        "dynamic_resources": {"lds_config": source("lds.json"), "cds_config": source("cds.json")},
    }


def clusters(port: int) -> list[dict[str, Any]]:
    """The sidecar's outbound listener; it speaks what the client speaks."""
    endpoint = {"endpoint": {"address": _address(LOOPBACK, port)}}
    options = {
        "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
    }
    return [
        {
            "@type": f"{_TYPE}.config.cluster.v3.Cluster",
            "name": SIDECAR,
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": SIDECAR,
                "endpoints": [{"lb_endpoints": [endpoint] if port else []}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
            },
        }
    ]


def listeners(addresses: Mapping[str, str]) -> list[dict[str, Any]]:
    """A listener for each service. Requests pass as they are, but for their host."""
    return [
        {
            "@type": f"{_TYPE}.config.listener.v3.Listener",
            "name": service,
            "address": _address(*split_address(address)),
            "enable_reuse_port": False,
            "filter_chains": [{"filters": [_connection_manager(service)]}],
        }
        for service, address in addresses.items()
    ]


def _connection_manager(service: str) -> dict[str, Any]:
    http = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": SIDECAR, "host_rewrite_literal": service, "timeout": "0s"},
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
        "route_config": {"virtual_hosts": [{"name": service, "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
