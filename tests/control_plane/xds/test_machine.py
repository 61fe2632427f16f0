"""Random histories: whatever happens, the client ends with what its node should have.

A model client subscribes, refuses bad resources, loses its connection and comes back, while the
configuration changes and messages are delivered in any order that a stream allows.
"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from tests.control_plane.xds.world import HandMadeNode, Wire, cluster, endpoints, host, listener, mesh, routes
from tests.fakes.envoy import EnvoyModel

SERVICES = ("a", "b", "c", "d")
BAD = 13
"""Weight, timeout and such that the client refuses."""

service = st.sampled_from(SERVICES)
small = st.integers(1, 3)


def refuse(type_url: str, name: str, body: bytes) -> str:
    """Bad resources carry a mark in some field of theirs."""
    if type_url == CDS and v3.Cluster.FromString(body).connect_timeout.seconds == BAD:
        return "bad timeout"
    if type_url == VHDS and "bad" in v3.VirtualHost.FromString(body).request_headers_to_remove:
        return "bad header"
    if type_url == LDS and v3.Listener.FromString(body).stat_prefix == "bad":
        return "bad prefix"
    return ""


def is_bad(resource: Resource) -> bool:
    """Whether the model client would refuse it."""
    envelope = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0]
    return bool(refuse(resource.type_url, resource.name, envelope.resource.value))


class Protocol(RuleBasedStateMachine):
    """One client and the server's state of its stream."""

    @initialize()
    def start(self) -> None:
        self.revision = 1
        self.table: dict[str, Resource] = {}
        self.pinned: set[tuple[str, str]] = set()
        self.wire = Wire(self.node(listener("outbound"), routes("out")), EnvoyModel(reject=refuse))
        self.seen_bad: list[tuple[bytes, str]] = []
        self.streams = 0
        self.wire.open(CDS, LDS)
        self.wire.subscribe(RDS, "out")
        self.wire.open(VHDS)

    def node(self, *more: Resource) -> HandMadeNode:
        for each in more:
            self.table[f"{each.type_url} {each.name}"] = each
        known = {(each.type_url, each.name) for each in self.table.values()}
        return mesh(*self.table.values(), revision=self.revision, pinned=self.pinned & known)

    def publish(self, *more: Resource, everything: bool = False) -> None:
        """Publish without waiting for anything in flight."""
        self.revision += 1
        before, self.wire.snapshot = self.wire.snapshot, self.node(*more)
        keys = before.resources.keys() | self.wire.snapshot.resources.keys()
        differing = {k for k in keys if before.resources.get(k) != self.wire.snapshot.resources.get(k)}
        differing |= before.pinned ^ self.wire.snapshot.pinned
        if everything or self.wire.delta.is_affected(differing):
            self.wire.send(self.wire.delta.on_snapshot(self.wire.snapshot, None if everything else differing))
        else:
            self.wire.send(self.wire.delta.on_snapshot(self.wire.snapshot, ()))

    @rule(
        name=service, timeout=st.sampled_from((1, 2, BAD)), weight=st.integers(1, 3), everything=st.booleans()
    )
    def change_service(self, name: str, timeout: int, weight: int, everything: bool) -> None:
        self.publish(cluster(name, timeout), endpoints(name, weight), everything=everything)

    @rule(name=service, weight=st.integers(1, 3))
    def change_endpoints(self, name: str, weight: int) -> None:
        if f"{CDS} {name}" in self.table:
            self.publish(endpoints(name, weight))

    @rule(name=service, needs=st.sets(service, max_size=2), stat=st.sampled_from(("", "x", "bad")))
    def change_host(self, name: str, needs: set[str], stat: str) -> None:
        self.publish(host(name, tuple(sorted(needs)), stat))

    @rule(needs=st.sets(service, max_size=1), stat=st.sampled_from(("", "y")))
    def change_routes(self, needs: set[str], stat: str) -> None:
        self.publish(routes("out", tuple(sorted(needs)), stat))

    @rule(stat=st.sampled_from(("", "z", "bad")))
    def change_listener(self, stat: str) -> None:
        self.publish(listener("outbound", stat=stat))

    @rule(name=st.sampled_from(("extra", "inbound")), there=st.booleans())
    def add_or_remove_listener(self, name: str, there: bool) -> None:
        self.table.pop(f"{LDS} {name}", None)
        self.publish(*([listener(name)] if there else []))

    @rule(name=service)
    def remove_service(self, name: str) -> None:
        for kind, called in ((CDS, name), (EDS, name), (VHDS, f"out/{name}")):
            self.table.pop(f"{kind} {called}", None)
        self.publish()

    @rule(name=service)
    def remove_host(self, name: str) -> None:
        self.table.pop(f"{VHDS} out/{name}", None)
        self.publish()

    @rule(name=service)
    def pin_or_unpin(self, name: str) -> None:
        self.pinned ^= {(CDS, name)}
        self.publish()

    @rule(name=st.sampled_from((*SERVICES, "nowhere")), alias=st.booleans())
    def ask_host(self, name: str, alias: bool) -> None:
        self.wire.requests.append(
            self.wire.model.subscribe(VHDS, f"out/{name}.mesh" if alias else f"out/{name}")
        )

    @rule(name=service)
    def ask_cluster(self, name: str) -> None:
        self.wire.requests.append(self.wire.model.subscribe(CDS, name))

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for _ in range(count):
            self.wire.step()

    @precondition(lambda self: self.wire.queue)
    @rule()
    def answer(self) -> None:
        """The client reads a response before the server reads its requests."""
        response = v3.DeltaDiscoveryResponse.FromString(self.wire.queue.pop(0).data)
        self.wire.requests += self.wire.model.handle(response)

    @rule()
    def pause(self) -> None:
        self.wire.send(self.wire.delta.on_idle())

    @rule()
    def reconnect(self) -> None:
        self.wire.connect()

    def teardown(self) -> None:
        """In the end, when nothing changes any more, the client has what it should."""
        if not hasattr(self, "wire"):
            return
        self.wire.run()
        for _ in range(4):
            self.wire.idle()
        self.compare()
        self.wire.connect()
        again = [each for each in self.wire.run() if any(version for _, version in each.items)]
        refused = {name for _, name in self.wire.delta.rejected}
        for response in again:
            assert {name for name, _ in response.items} & refused, "something was sent again"

    def compare(self) -> None:
        """The client's state against the configuration."""
        have, config = self.wire.model.resources, self.wire.snapshot
        refused = self.wire.delta.rejected.keys()
        routes_refused = any(kind in (LDS, RDS, VHDS) for kind, _ in refused)
        clusters_refused = any(kind == CDS for kind, _ in refused)
        for kind, resources in self.expected().items():
            for name, resource in resources.items():
                if (kind, name) in refused:
                    assert is_bad(resource)
                elif not (clusters_refused and resource.required_clusters):
                    assert have[kind].get(name, ("", b""))[0] == resource.version, (kind, name)
            # Clusters stay while a route that may name them is refused, or waits for one that was.
            if not (kind == CDS and (routes_refused or clusters_refused)):
                assert have[kind].keys() <= resources.keys(), kind
        for name, (version, _) in have[EDS].items():
            found = config.get(EDS, name)
            assert found is None or name not in have[CDS] or version == found.version
        assert self.wire.delta.replied_revision == config.revision
        assert bool(self.wire.delta.rejected_revision) == bool(refused)
        if not refused:
            assert not self.wire.model.warming
            assert self.wire.delta.acked_revision == config.revision

    def expected(self) -> dict[str, dict[str, Resource]]:
        """What the client should have, from what it asked for and what that needs."""
        config, names = self.wire.snapshot, self.wire.model.subscribed
        hosts = [found for name in names[VHDS] if (found := config.get(VHDS, name))]
        out: dict[str, dict[str, Resource]] = {
            LDS: dict(config.base(LDS)),
            RDS: {"out": config.resources[RDS, "out"]},
            VHDS: {each.name: each for each in hosts},
        }
        wanted = names[CDS] | config.base(CDS).keys()
        wanted = wanted.union(*(each.required_clusters for found in out.values() for each in found.values()))
        out[CDS] = {name: found for name in wanted if (found := config.get(CDS, name))}
        return out


Protocol.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestProtocol = Protocol.TestCase
