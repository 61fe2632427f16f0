"""A small hand-made mesh for tests of the protocol: resources by name, and a client that obeys or not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource, encode
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.delta import Delta
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import Response, ResponseCache
from tests.fakes.envoy import EnvoyModel

ADS = v3.ConfigSource(ads=v3.AggregatedConfigSource())


def cluster(name: str, timeout: int = 1) -> Resource:
    """A cluster that takes its endpoints from EDS; `timeout` makes versions of it."""
    eds = v3.Cluster.EdsClusterConfig(eds_config=ADS)
    message = v3.Cluster(
        name=name, type=v3.Cluster.EDS, eds_cluster_config=eds, connect_timeout=v3.Duration(seconds=timeout)
    )
    return encode(CDS, name, message)


def endpoints(name: str, weight: int = 1) -> Resource:
    """Endpoints of a cluster, one locality of a weight."""
    locality = v3.LocalityLbEndpoints(load_balancing_weight=v3.UInt32Value(value=weight))
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name, endpoints=[locality]))


def listener(name: str, needs: tuple[str, ...] = (), stat: str = "") -> Resource:
    """A listener."""
    return encode(LDS, name, v3.Listener(name=name, stat_prefix=stat), required_clusters=needs)


def routes(name: str, needs: tuple[str, ...] = (), stat: str = "") -> Resource:
    """A route configuration that needs clusters."""
    hosts = [v3.VirtualHost(name=each, domains=[each]) for each in (*needs, stat) if each]
    return encode(RDS, name, v3.RouteConfiguration(name=name, virtual_hosts=hosts), required_clusters=needs)


def host(service: str, needs: tuple[str, ...] | None = None, stat: str = "") -> Resource:
    """The virtual host `out/<service>` with an alias `.mesh`, by default to the cluster of its name."""
    name = f"out/{service}"
    message = v3.VirtualHost(name=name, domains=[service], include_request_attempt_count=bool(stat))
    needed = (service,) if needs is None else needs
    message.request_headers_to_remove.extend([stat or "x-none", *needed])
    return encode(VHDS, name, message, aliases=(name, f"{name}.mesh"), required_clusters=needed)


@dataclass(frozen=True)
class HandMadeNode:
    """A NodeConfig of resources listed by hand; `pinned` are the names of its base."""

    revision: int = 1
    resources: Mapping[tuple[str, str], Resource] = field(default_factory=dict)
    pinned: frozenset[tuple[str, str]] = frozenset()

    def get(self, type_url: str, name: str) -> Resource | None:
        found = self.resources.get((type_url, name))
        if found is None and type_url == VHDS:
            return next((each for each in self.resources.values() if name in each.aliases), None)
        return found

    def base(self, type_url: str) -> Mapping[str, Resource]:
        return MappingProxyType(
            {
                name: found
                for (kind, name), found in self.resources.items()
                if kind == type_url and (kind == LDS or (kind, name) in self.pinned)
            }
        )


def mesh(*resources: Resource, revision: int = 1, pinned: Collection[tuple[str, str]] = ()) -> HandMadeNode:
    """A node that may see these resources."""
    return HandMadeNode(revision, {(each.type_url, each.name): each for each in resources}, frozenset(pinned))


def changed(before: HandMadeNode, after: HandMadeNode) -> set[tuple[str, str]]:
    """What differs between two configurations."""
    keys = before.resources.keys() | after.resources.keys()
    return {key for key in keys if before.resources.get(key) != after.resources.get(key)} | (
        before.pinned ^ after.pinned
    )


class Wire:
    """A client model and the server's state of its stream, joined back to back.

    `log` has every response in the order sent. `run` delivers until both are silent. `proven` is what
    others of the same identity have taken.
    """

    def __init__(
        self,
        snapshot: HandMadeNode,
        model: EnvoyModel | None = None,
        limit: int = 2000,
        last_accepted: LastAccepted | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.last_accepted = last_accepted or LastAccepted()
        self.model = model or EnvoyModel()
        self.limit = limit
        self.log: list[Response] = []
        self.queue: list[Response] = []
        self.requests: list[v3.DeltaDiscoveryRequest] = []
        self.connect()

    def connect(self) -> None:
        """Open a new stream with what the model knows; nothing is sent yet."""
        self.delta = Delta(self.snapshot, ResponseCache(), self.limit, self.last_accepted)
        self.queue.clear()
        self.requests = self.model.reopen()

    def open(self, *types: str) -> list[Response]:
        """First requests of types, then run."""
        self.requests += [self.model.open(each) for each in types]
        return self.run()

    def subscribe(self, type_url: str, *names: str) -> list[Response]:
        """Subscribe to names, then run."""
        self.requests.append(self.model.subscribe(type_url, *names))
        return self.run()

    def publish(self, config: HandMadeNode, everything: bool = False) -> list[Response]:
        """A newer configuration, then run."""
        before, self.snapshot = self.snapshot, config
        touched = None if everything else changed(before, config)
        if touched is None or self.delta.is_affected(touched):
            self.send(self.delta.on_snapshot(config, touched))
        else:
            self.send(self.delta.on_snapshot(config, ()))
        return self.run()

    def idle(self) -> list[Response]:
        """Time passes; what that brings."""
        self.send(self.delta.on_idle())
        return self.run()

    def send(self, responses: list[Response]) -> None:
        """Put responses on the way to the client; none may hold what it is known to refuse."""
        refused = {(kind, name, why.version) for (kind, name), why in self.delta.rejected.items()}
        for response in responses:
            for name, version in response.items:
                assert (response.type_url, name, version) not in refused, f"{name} is sent though refused"
        self.log += responses
        self.queue += responses

    def step(self) -> None:
        """Deliver one message: the oldest response, else the oldest request."""
        if self.requests:
            self.send(self.delta.on_request(self.requests.pop(0)))
        elif self.queue:
            response = v3.DeltaDiscoveryResponse.FromString(self.queue.pop(0).data)
            self.requests += self.model.handle(response)

    def run(self) -> list[Response]:
        """Deliver everything; the responses that were sent meanwhile."""
        start = len(self.log) - len(self.queue)
        while self.requests or self.queue:
            self.step()
        return self.log[start:]


def summarize(responses: list[Response]) -> list[tuple[str, list[str], list[str]]]:
    """Responses as (last word of the type, names, removed names)."""
    return [
        (each.type_url.rpartition(".")[2], [name for name, _ in each.items], list(each.removed))
        for each in responses
    ]
