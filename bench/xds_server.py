"""The server process of `bench.xds`: publishes on command and reports its own cost.

Reads one JSON command per line from stdin, writes one reply per line to stdout.
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
from typing import Any

import psutil
import structlog

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.background import GC_THRESHOLDS
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, Resource, encode
from meshwright.control_plane.core.snapshot import Bindings, ChangedResources, NodeSnapshot, Snapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.tls import TlsCredentials
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.push_queue import PushQueue
from meshwright.control_plane.xds.server import XdsServer
from meshwright.control_plane.xds.stream import Stream

SERVICES = 20
ENDPOINTS = 10


def cluster(name: str) -> Resource:
    """An EDS cluster."""
    eds = v3.Cluster.EdsClusterConfig(eds_config=v3.ConfigSource(ads=v3.AggregatedConfigSource()))
    return encode(CDS, name, v3.Cluster(name=name, type=v3.Cluster.EDS, eds_cluster_config=eds))


def endpoints(name: str, round_: int) -> Resource:
    """Ten endpoints whose weight is the round."""
    hosts = [
        v3.LbEndpoint(
            endpoint=v3.Endpoint(
                address=v3.Address(
                    socket_address=v3.SocketAddress(address="10.0.0.1", port_value=1000 + number)
                )
            ),
            load_balancing_weight=v3.UInt32Value(value=round_ + 1),
        )
        for number in range(ENDPOINTS)
    ]
    locality = v3.LocalityLbEndpoints(lb_endpoints=hosts)
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name, endpoints=[locality]))


class BenchNode(NodeSnapshot):
    """The resources of every node: twenty services, all of them pinned."""

    def __init__(self, revision: int, resources: Mapping[ResourceKey, Resource]) -> None:
        self.revision = revision
        self.resources = resources
        self._base = {
            type_url: {name: resource for (key, name), resource in resources.items() if key == type_url}
            for type_url in (CDS, LDS)
        }

    def get(self, type_url: str, name: str) -> Resource | None:
        return self.resources.get((type_url, name))

    def base(self, type_url: str) -> Mapping[str, Resource]:
        return self._base.get(type_url, {})


class BenchSnapshot(Snapshot):
    """One configuration for all nodes; `changed` is what differs from the snapshot before."""

    def __init__(self, node: BenchNode, changed: ChangedResources = frozenset()) -> None:
        super().__init__(node.revision)
        object.__setattr__(self, "bench_node", node)
        object.__setattr__(self, "changed", changed)

    bench_node: BenchNode
    changed: ChangedResources

    def node(self, identity: Identity, bindings: Bindings) -> NodeSnapshot:  # noqa: ARG002  equal for all
        return self.bench_node

    def changed_from(self, before: Snapshot) -> ChangedResources:  # noqa: ARG002  known in advance
        return self.changed


def first_snapshot() -> BenchSnapshot:
    """The configuration before any change."""
    names = [f"svc{number}" for number in range(SERVICES)]
    resources = {(CDS, name): cluster(name) for name in names}
    resources |= {(EDS, name): endpoints(name, 0) for name in names}
    resources[LDS, "outbound"] = encode(LDS, "outbound", v3.Listener(name="outbound"))
    resources[RDS, "out"] = encode(RDS, "out", v3.RouteConfiguration(name="out"))
    return BenchSnapshot(BenchNode(1, resources))


def next_snapshot(before: BenchSnapshot, round_: int) -> BenchSnapshot:
    """The same with one service's endpoints changed."""
    name = f"svc{round_ % SERVICES}"
    node = before.bench_node
    resources = {**node.resources, (EDS, name): endpoints(name, round_)}
    return BenchSnapshot(BenchNode(node.revision + 1, resources), frozenset({(EDS, name)}))


class TimedPushQueue(PushQueue):
    """Measures the time until every ACK of a change has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._published_at = 0.0
        self._missing = 0
        self._complete = asyncio.Event()

    async def change(self, snapshot: BenchSnapshot, acks: int) -> float:
        """Publish and wait for `acks` ACKs; returns the time of publication."""
        self._published_at, self._missing = time.monotonic(), acks
        self._complete.clear()
        self.publish(snapshot)
        await self._complete.wait()
        return self._published_at

    async def receive(self, stream: Stream, request: v3.DeltaDiscoveryRequest) -> None:
        await super().receive(stream, request)
        if self._missing and request.type_url == EDS and request.response_nonce:
            self.seconds.append(time.monotonic() - self._published_at)
            self._missing -= 1
            if not self._missing:
                self._complete.set()


async def serve(setup: Mapping[str, str]) -> None:
    """Run commands until stdin ends."""
    credentials = TlsCredentials(*(setup[key].encode() for key in ("certificate", "key", "roots")))
    server = XdsServer("127.0.0.1", 0, "mesh.local", credentials)
    server.queue = queue = TimedPushQueue()
    snapshot = first_snapshot()
    server.publish(snapshot)
    reply({"port": await server.start()})
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
            snapshot = next_snapshot(snapshot, command["round"])
            reply({"at": await queue.change(snapshot, command["acks"])})
        elif command["do"] == "burst":
            for round_ in command["rounds"]:
                snapshot = next_snapshot(snapshot, round_)
                server.publish(snapshot)
                await asyncio.sleep(0)
            reply({})
        elif command["do"] == "acks":
            reply({"seconds": queue.seconds})
        else:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            streams = [proxy for proxy in server.proxies() if proxy.state != "disconnected"]
            reply(
                {
                    "cpu": usage.ru_utime + usage.ru_stime,
                    "rss": psutil.Process().memory_info().rss,
                    "streams": len(streams),
                    "synced": sum(proxy.revision == snapshot.revision for proxy in streams),
                }
            )
    await server.stop()


def reply(message: Mapping[str, Any]) -> None:
    """Write one line to stdout."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(serve(json.loads(sys.stdin.readline())))
