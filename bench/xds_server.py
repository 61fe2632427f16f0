"""The server's half of `bench/xds.py`, in a process of its own: publishes on command, reports its own cost.

Reads one JSON command a line from stdin, answers one a line on stdout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import structlog

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.app import GC_THRESHOLDS
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, Resource, encode
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.tls import TlsCredentials
from meshwright.control_plane.xds.push_queue import PushQueue, Stream
from meshwright.control_plane.xds.server import XdsServer

SERVICES = 20
ENDPOINTS = 10


def cluster(name: str) -> Resource:
    """An EDS cluster."""
    eds = v3.Cluster.EdsClusterConfig(eds_config=v3.ConfigSource(ads=v3.AggregatedConfigSource()))
    return encode(CDS, name, v3.Cluster(name=name, type=v3.Cluster.EDS, eds_cluster_config=eds))


def endpoints(name: str, round_: int) -> Resource:
    """Ten endpoints; the round is in a weight."""
    hosts = [
        v3.LbEndpoint(
            endpoint=v3.Endpoint(
                address=v3.Address(
                    socket_address=v3.SocketAddress(address="10.0.0.1", port_value=1000 + each)
                )
            ),
            load_balancing_weight=v3.UInt32Value(value=round_ + 1),
        )
        for each in range(ENDPOINTS)
    ]
    locality = v3.LocalityLbEndpoints(lb_endpoints=hosts)
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name, endpoints=[locality]))


@dataclass(frozen=True)
class Mesh:
    """One configuration for all nodes: twenty services, all of them pinned."""

    revision: int
    resources: Mapping[tuple[str, str], Resource]
    clusters: Mapping[str, Resource]
    listeners: Mapping[str, Resource]
    changed: frozenset[tuple[str, str]]

    def node(self, identity: Identity, bindings: Bindings) -> Mesh:  # noqa: ARG002  the same for all
        return self

    def changed_from(self, before: Mesh) -> frozenset[tuple[str, str]]:  # noqa: ARG002  known beforehand
        return self.changed

    def get(self, type_url: str, name: str) -> Resource | None:
        return self.resources.get((type_url, name))

    def base(self, type_url: str) -> Mapping[str, Resource]:
        return self.clusters if type_url == CDS else self.listeners if type_url == LDS else {}


def first() -> Mesh:
    """The mesh before any change."""
    names = [f"svc{each}" for each in range(SERVICES)]
    clusters = {name: cluster(name) for name in names}
    listeners = {"outbound": encode(LDS, "outbound", v3.Listener(name="outbound"))}
    resources = {(CDS, name): each for name, each in clusters.items()}
    resources |= {(EDS, name): endpoints(name, 0) for name in names}
    resources[LDS, "outbound"] = listeners["outbound"]
    resources[RDS, "out"] = encode(RDS, "out", v3.RouteConfiguration(name="out"))
    return Mesh(1, resources, clusters, listeners, frozenset())


def after(before: Mesh, round_: int) -> Mesh:
    """The same with one service's endpoints changed."""
    name = f"svc{round_ % SERVICES}"
    resources = {**before.resources, (EDS, name): endpoints(name, round_)}
    return Mesh(before.revision + 1, resources, before.clusters, before.listeners, frozenset({(EDS, name)}))


class Timed(PushQueue):
    """Notes when the ACKs of a change have been taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._began = 0.0
        self._missing = 0
        self._complete = asyncio.Event()

    async def change(self, mesh: Mesh, size: int) -> float:
        """Publish and wait for `size` ACKs; when it was published."""
        self._began, self._missing = time.monotonic(), size
        self._complete.clear()
        self.publish(mesh)
        await self._complete.wait()
        return self._began

    async def receive(self, stream: Stream, request: v3.DeltaDiscoveryRequest) -> None:
        await super().receive(stream, request)
        if self._missing and request.type_url == EDS and request.response_nonce:
            self.seconds.append(time.monotonic() - self._began)
            self._missing -= 1
            if not self._missing:
                self._complete.set()


async def serve(setup: Mapping[str, str]) -> None:
    """Run commands until stdin ends."""
    credentials = TlsCredentials(*(setup[key].encode() for key in ("certificate", "key", "roots")))
    server = XdsServer("127.0.0.1", 0, "mesh.local", credentials)
    server.queue = timed = Timed()
    mesh = first()
    server.publish(mesh)
    say({"port": await server.start()})
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "publish":
            mesh = after(mesh, command["round"])
            say({"at": await timed.change(mesh, command["acks"])})
        elif command["do"] == "burst":
            for round_ in command["rounds"]:
                mesh = after(mesh, round_)
                server.publish(mesh)
                await asyncio.sleep(0)
            say({})
        elif command["do"] == "acks":
            say({"seconds": timed.seconds})
        else:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            streams = [each for each in server.proxies() if each.state != "disconnected"]
            say(
                {
                    "cpu": usage.ru_utime + usage.ru_stime,
                    "rss": psutil.Process().memory_info().rss,
                    "streams": len(streams),
                    "synced": sum(each.revision == mesh.revision for each in streams),
                }
            )
    await server.stop()


def say(answer: Mapping[str, Any]) -> None:
    """One line on stdout."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(serve(json.loads(sys.stdin.readline())))
