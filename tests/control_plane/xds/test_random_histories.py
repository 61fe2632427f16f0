"""Random histories: whatever happens, the client ends with what its node should have.

A model client subscribes, NACKs bad resources, disconnects and reconnects, while the configuration changes
and messages are delivered in any order that a stream allows.
"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from tests.control_plane.xds.resources import cluster, endpoints, host, listener, routes
from tests.control_plane.xds.wire import Wire
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import HandMadeNode, node_snapshot

SERVICES = ("a", "b", "c", "d")
BAD_TIMEOUT = 13
"""Connect timeout of the clusters that the client NACKs."""

service = st.sampled_from(SERVICES)


def reject(type_url: str, name: str, body: bytes) -> str:
    """The error for a bad resource: each type has a field that marks one."""
    if type_url == CDS and v3.Cluster.FromString(body).connect_timeout.seconds == BAD_TIMEOUT:
        return "bad timeout"
    if type_url == VHDS and "bad" in v3.VirtualHost.FromString(body).request_headers_to_remove:
        return "bad header"
    if type_url == LDS and v3.Listener.FromString(body).stat_prefix == "bad":
        return "bad prefix"
    return ""


def is_bad(resource: Resource) -> bool:
    """Whether the model client NACKs it."""
    envelope = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0]
    return bool(reject(resource.type_url, resource.name, envelope.resource.value))


class Protocol(RuleBasedStateMachine):
    """One client and the server's state of its stream."""

    @initialize()
    def start(self) -> None:
        self.revision = 1
        self.table: dict[tuple[str, str], Resource] = {}
        self.pinned: set[tuple[str, str]] = set()
        start = self.snapshot(listener("outbound"), routes("out"))
        # Most unknown hosts are in the filter.
        self.wire = Wire(start, EnvoyModel(reject=reject), exact_hosts=1)
        self.wire.open(CDS, LDS)
        self.wire.subscribe(RDS, "out")
        self.wire.open(VHDS)

    def snapshot(self, *updated: Resource) -> HandMadeNode:
        self.table.update({(resource.type_url, resource.name): resource for resource in updated})
        pinned = self.pinned & self.table.keys()
        return node_snapshot(*self.table.values(), revision=self.revision, pinned=pinned)

    def publish(self, *updated: Resource, compare_all: bool = False) -> None:
        """Publish without waiting for anything in flight."""
        self.revision += 1
        self.wire.apply(self.snapshot(*updated), compare_all)

    @rule(
        name=service,
        timeout=st.sampled_from((1, 2, BAD_TIMEOUT)),
        weight=st.integers(1, 3),
        compare_all=st.booleans(),
    )
    def change_service(self, name: str, timeout: int, weight: int, compare_all: bool) -> None:
        self.publish(cluster(name, timeout), endpoints(name, weight), compare_all=compare_all)

    @rule(name=service, weight=st.integers(1, 3))
    def change_endpoints(self, name: str, weight: int) -> None:
        if (CDS, name) in self.table:
            self.publish(endpoints(name, weight))

    @rule(name=service, clusters=st.sets(service, max_size=2), stat=st.sampled_from(("", "x", "bad")))
    def change_host(self, name: str, clusters: set[str], stat: str) -> None:
        self.publish(host(name, tuple(sorted(clusters)), stat))

    @rule(clusters=st.sets(service, max_size=1), stat=st.sampled_from(("", "y")))
    def change_routes(self, clusters: set[str], stat: str) -> None:
        self.publish(routes("out", tuple(sorted(clusters)), stat))

    @rule(stat=st.sampled_from(("", "z", "bad")))
    def change_listener(self, stat: str) -> None:
        self.publish(listener("outbound", stat=stat))

    @rule(name=st.sampled_from(("extra", "inbound")), exists=st.booleans())
    def add_or_remove_listener(self, name: str, exists: bool) -> None:
        self.table.pop((LDS, name), None)
        self.publish(*([listener(name)] if exists else []))

    @rule(name=service)
    def remove_service(self, name: str) -> None:
        for key in ((CDS, name), (EDS, name), (VHDS, f"out/{name}")):
            self.table.pop(key, None)
        self.publish()

    @rule(name=service)
    def remove_host(self, name: str) -> None:
        self.table.pop((VHDS, f"out/{name}"), None)
        self.publish()

    @rule(name=service)
    def pin_or_unpin(self, name: str) -> None:
        self.pinned ^= {(CDS, name)}
        self.publish()

    @rule(name=st.sampled_from((*SERVICES, "nowhere")), alias=st.booleans())
    def subscribe_host(self, name: str, alias: bool) -> None:
        requested = f"out/{name}.mesh" if alias else f"out/{name}"
        self.wire.requests.append(self.wire.model.subscribe(VHDS, requested))

    @rule(name=service)
    def subscribe_cluster(self, name: str) -> None:
        self.wire.requests.append(self.wire.model.subscribe(CDS, name))

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for _ in range(count):
            self.wire.step()

    @precondition(lambda self: self.wire.responses)
    @rule()
    def deliver_response_first(self) -> None:
        """The client reads a response before the server reads its requests."""
        self.wire.deliver_response()

    @rule()
    def idle(self) -> None:
        self.wire.send(self.wire.delta.on_idle())

    @rule()
    def reconnect(self) -> None:
        self.wire.connect()

    def teardown(self) -> None:
        """When nothing changes any more, the client has what it should; a reconnect sends nothing again."""
        if not hasattr(self, "wire"):
            return
        self.wire.run()
        for _ in range(4):
            self.wire.idle()
        self.compare()
        self.wire.connect()
        repeated = [response for response in self.wire.run() if any(version for _, version in response.items)]
        rejected = {name for _, name in self.wire.delta.rejected}
        for response in repeated:
            assert {name for name, _ in response.items} & rejected, "a resource was sent again"

    def compare(self) -> None:
        """Compare the client's state with the configuration."""
        resources, snapshot = self.wire.model.resources, self.wire.snapshot
        rejected = self.wire.delta.rejected.keys()
        routes_rejected = any(type_url in (LDS, RDS, VHDS) for type_url, _ in rejected)
        clusters_rejected = any(type_url == CDS for type_url, _ in rejected)
        for type_url, expected in self.expected().items():
            for name, resource in expected.items():
                if (type_url, name) in rejected:
                    assert is_bad(resource)
                elif not (clusters_rejected and resource.required_clusters):
                    assert self.wire.version(type_url, name) == resource.version, (type_url, name)
            # Clusters stay while a route that may refer to them is rejected, or waits for a rejected one.
            if not (type_url == CDS and (routes_rejected or clusters_rejected)):
                assert resources[type_url].keys() <= expected.keys(), type_url
        for name, (version, _) in resources[EDS].items():
            assignment = snapshot.get(EDS, name)
            assert assignment is None or name not in resources[CDS] or version == assignment.version
        assert self.wire.delta.replied_revision == snapshot.revision
        assert bool(self.wire.delta.rejected_revision) == bool(rejected)
        if not rejected:
            assert not self.wire.model.warming
            assert self.wire.delta.acked_revision == snapshot.revision

    def expected(self) -> dict[str, dict[str, Resource]]:
        """What the client should have, by its subscriptions and the clusters that these require."""
        snapshot, subscribed = self.wire.snapshot, self.wire.model.subscribed
        hosts = [resource for name in subscribed[VHDS] if (resource := snapshot.get(VHDS, name))]
        expected: dict[str, dict[str, Resource]] = {
            LDS: dict(snapshot.base(LDS)),
            RDS: {"out": snapshot.resources[RDS, "out"]},
            VHDS: {resource.name: resource for resource in hosts},
        }
        clusters = subscribed[CDS] | snapshot.base(CDS).keys()
        for resources in expected.values():
            clusters = clusters.union(*(resource.required_clusters for resource in resources.values()))
        expected[CDS] = {name: resource for name in clusters if (resource := snapshot.get(CDS, name))}
        return expected


Protocol.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestProtocol = Protocol.TestCase
