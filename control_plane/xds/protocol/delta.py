"""The delta ADS protocol of one stream as a pure state machine: requests and configurations to responses.

Three rules go beyond the specification, because Envoy needs them:

- Make before break: what carries routes (LDS, RDS, VHDS) is held back until the clusters it needs are in
  place at this client, endpoints included; a cluster is taken away last, in a quiet moment (`on_quiet`).
- After every update of a cluster its endpoints are sent again, else Envoy warms it for 15 s.
- A response that was refused is sent again resource by resource; a refused resource is parked until its
  version changes. The same bytes are never sent for ever. Who has nothing of it gets an older one (`Proven`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from meshwright.control_plane.core.resource import CDS, EDS, LDS, PUSH_ORDER, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.node_config import NodeConfig
from meshwright.control_plane.xds.protocol.cluster_dependencies import ClusterDependencies, ResourceKey
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted, required_clusters
from meshwright.control_plane.xds.protocol.response import (
    Response,
    ResponseCache,
    empty_endpoints,
    nonexistent_host,
    placeholder_hosts,
)
from meshwright.control_plane.xds.protocol.stream_progress import StreamProgress
from meshwright.control_plane.xds.protocol.subscription import WILDCARD, Subscription

ROUTE_TYPES = (LDS, RDS, VHDS)
"""Types whose resources name clusters."""

NAME_LIMIT = 512
"""Bytes of a resource name; a DNS name has 255 at most (RFC 1035 section 2.3.4), with a prefix and a port."""


class Delta(StreamProgress):
    """One stream. `limit` bounds the names that a client may subscribe to in vain, for each type.

    Names the node knows are bounded by its configuration; unknown ones come from Host headers. Beyond the
    limit they are answered as unknown and not remembered (`refused` counts them). `proven` is shared by the
    streams of one identity.
    """

    def __init__(
        self,
        snapshot: NodeConfig,
        responses: ResponseCache,
        limit: int = 2000,
        last_accepted: LastAccepted | None = None,
    ) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._responses = responses
        self._limit = limit
        self._dependencies = ClusterDependencies()
        self._last_accepted = last_accepted or LastAccepted()
        self._unused_clusters: set[str] = set()
        self._unknown_names: dict[str, set[str]] = {}
        self.rejected_names = 0
        self.nacks = 0

    # --- what is going on ----------------------------------------------------------------------------

    @property
    def has_idle_work(self) -> bool:
        """Whether `on_quiet` may have something to do."""
        return bool(self._unused_clusters) or self.is_waiting_for_clusters

    def is_interested(self, type_url: str, name: str) -> bool:
        """Whether this stream gets the resource (VHDS: or any alias of it)."""
        sub = self._types.get(type_url)
        return sub is not None and self._is_subscribed(sub, name)

    def is_acked(self, type_url: str, name: str, version: str | None = None) -> bool:
        """Whether the client has ACKed that version, or (None) what its configuration holds now."""
        sub = self._types.get(type_url)
        if sub is None:
            return False
        if version is None:
            found = self._target(sub, name)
            if found is None:
                return name not in sub.acked
            name, version = found.name, found.version
        return sub.acked.get(name) == version

    def resource_states(self) -> Iterator[tuple[Resource, bool, str]]:
        """What this client should have: each resource, whether it ACKed it, and why it refused it."""
        for sub in self._types.values():
            for name in sub.sent:
                found = self._target(sub, name)
                if found is not None:
                    why = sub.rejected.get(name)
                    yield found, sub.acked.get(name) == found.version, why.message if why else ""

    def is_affected(self, changed: Collection[ResourceKey]) -> bool:
        """Whether any of the changed resources may concern this stream."""
        for type_url, name in changed:
            sub = self._types.get(type_url)
            if sub is None:
                continue
            # Of a name that is new, only the newer configuration can tell: an alias, a listener for all.
            if (
                type_url in (LDS, VHDS)
                or name in sub.names
                or name in sub.sent
                or self._is_subscribed(sub, name)
            ):
                return True
        return False

    # --- what happens --------------------------------------------------------------------------------

    def on_request(self, request: v3.DeltaDiscoveryRequest) -> list[Response]:
        """Take in a request (a subscription, an ACK, a NACK, or two of them in one); what to send for it."""
        type_url = request.type_url
        if type_url not in PUSH_ORDER:
            return []
        sub = self._types.get(type_url)
        if sub is None:
            sub = self._open(request)
        else:
            if request.response_nonce:
                reply = self._last_accepted.on_reply(sub, request, lambda name: self._target(sub, name))
                self.nacks += reply == "nack"
            self._subscribe(sub, request.resource_names_subscribe)
            self._unsubscribe(sub, request.resource_names_unsubscribe)
        return self._flush()

    def on_snapshot(self, config: NodeConfig, changed: Collection[ResourceKey] | None) -> list[Response]:
        """Take in a newer configuration and say what to send for it.

        `changed` names all that may differ from the one before, None stands for everything.
        """
        before, self._snapshot = self._snapshot, config
        for type_url, name in changed or ():
            if type_url in self._types:
                self._types[type_url].dirty.add(name)
        for sub in self._types.values():
            # An alias may lead elsewhere after any change of virtual hosts.
            if changed is None or (sub.type_url == VHDS and sub.dirty):
                sub.dirty |= sub.names | sub.sent.keys()
            now, then = config.base(sub.type_url), before.base(sub.type_url)
            if sub.wildcard and (changed is None or now != then):
                sub.dirty |= now.keys() | then.keys()
        if changed is None and CDS in self._types:
            self._types[CDS].dirty |= self._dependencies.reference_counts.keys()
        return self._flush()

    def on_idle(self) -> list[Response]:
        """Called some time after `unfinished` became true: finish what waited for a quiet moment.

        Clusters go when no route can name them any more. Routes that wait for clusters of which no news can
        come are let go: Envoy fetches those on demand.
        """
        if self.in_flight:
            return []
        if self.is_waiting_for_clusters:
            return self._flush(release=True)
        sub = self._types.get(CDS)
        if sub is None or any(self._types[each].rejected for each in ROUTE_TYPES if each in self._types):
            return []
        gone = sorted(
            name for name in self._unused_clusters if name in sub.sent and self._target(sub, name) is None
        )
        self._unused_clusters.clear()
        if not gone:
            return []
        response = self._responses.build(CDS, [], gone)
        sub.record_sent(response)
        for name in gone if EDS in self._types else ():
            # Should the cluster come back, it is in place only when its endpoints are ACKed anew.
            self._types[EDS].sent.pop(name, None)
            self._types[EDS].acked.pop(name, None)
        return [response]

    # --- subscriptions -------------------------------------------------------------------------------

    def _open(self, request: v3.DeltaDiscoveryRequest) -> Subscription:
        sub = self._types[request.type_url] = Subscription(request.type_url)
        asked = list(request.resource_names_subscribe)
        admitted = [name for name in asked if self._accept_name(sub, name)]
        sub.open(admitted, request.initial_resource_versions)
        if asked and not admitted:
            sub.wildcard = False
        sub.pending_replies -= {name for name in sub.pending_replies if self._has_as_alias(sub, name)}
        for name in set(asked).difference(admitted):
            sub.require_reply(name)
        if sub.wildcard:
            sub.dirty |= self._snapshot.base(sub.type_url).keys()
        if sub.type_url == CDS:
            sub.dirty |= self._dependencies.reference_counts.keys()
        if sub.type_url == EDS and CDS in self._types:
            # A cluster that was updated just now warms until it hears of its endpoints.
            sub.pending_replies.update(name for name in sub.names if self._types[CDS].is_in_flight(name))
        return sub

    def _subscribe(self, sub: Subscription, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                if sub.type_url != VHDS:
                    sub.wildcard = True
                    sub.dirty |= self._snapshot.base(sub.type_url).keys()
            else:
                if self._accept_name(sub, name):
                    sub.names.add(name)
                sub.require_reply(name)

    def _unsubscribe(self, sub: Subscription, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                sub.wildcard = False
                sub.dirty |= sub.sent.keys()
            else:
                self._unknown_names.get(sub.type_url, set()).discard(name)
                sub.unsubscribe(name)
                if sub.type_url in ROUTE_TYPES and not sub.wildcard:
                    self._set_dependencies((sub.type_url, name), ())

    def _has_as_alias(self, sub: Subscription, name: str) -> bool:
        found = self._snapshot.get(sub.type_url, name)
        return found is not None and found.name in sub.sent

    def _accept_name(self, sub: Subscription, name: str) -> bool:
        """Whether to remember the name; if not, it is answered once as unknown."""
        if name == WILDCARD or name in sub.names:
            return True
        if self._snapshot.get(sub.type_url, name) is not None:
            return True
        strangers = self._unknown_names.setdefault(sub.type_url, set())
        if len(name) <= NAME_LIMIT and len(strangers) < self._limit:
            strangers.add(name)
            return True
        self.rejected_names += 1
        return False

    def _is_subscribed(self, sub: Subscription, name: str) -> bool:
        if name in sub.names or (sub.wildcard and name in self._snapshot.base(sub.type_url)):
            return True
        if sub.type_url == CDS:
            return self._dependencies.reference_counts[name] > 0
        return sub.type_url == VHDS and name in sub.sent

    def _target(self, sub: Subscription, name: str) -> Resource | None:
        """What the client should have under `name`; None for nothing."""
        if not self._is_subscribed(sub, name):
            return None
        found = self._snapshot.get(sub.type_url, name)
        if found is None and sub.type_url == EDS:
            return empty_endpoints(name)
        return found

    # --- what is sent --------------------------------------------------------------------------------

    def _flush(self, release: bool = False) -> list[Response]:
        self._update_dependencies()
        out: list[Response] = []
        for type_url in PUSH_ORDER:
            sub = self._types.get(type_url)
            if sub is not None and (sub.dirty or sub.awaits_first_response):
                out += self._send(sub, release)
        self.advance(self._snapshot.revision)
        return out

    def _update_dependencies(self) -> None:
        """Bring the clusters that routes need up to what those routes will be."""
        for type_url in ROUTE_TYPES:
            sub = self._types.get(type_url)
            if sub is None or not sub.dirty:
                continue
            # Of virtual hosts all are looked at: several names may lead to one, and one may change hands.
            names = sub.names | sub.sent.keys() if type_url == VHDS else sub.dirty
            found = {
                each.name: required_clusters(sub, each) for name in names if (each := self._target(sub, name))
            }
            former = self._dependencies.referrers(VHDS) if type_url == VHDS else names
            for name in {*found, *former}:
                self._set_dependencies((type_url, name), found.get(name, ()))

    def _set_dependencies(self, key: ResourceKey, needs: tuple[str, ...]) -> None:
        differing = self._dependencies.update(key, needs)
        if CDS in self._types:
            self._types[CDS].dirty.update(differing)

    def _send(self, sub: Subscription, release: bool) -> list[Response]:
        resources: dict[str, Resource] = {}
        removed: list[str] = []
        held: set[str] = set()
        stuck: dict[str, int] = {}
        for name in sorted(sub.dirty):
            found = self._target(sub, name)
            if found is None:
                sub.release(name)
                self._report_removed(sub, name, resources, removed)
            elif sub.is_quarantined(found):
                if name in sub.pending_replies and found.name not in sub.acked:
                    self._send_fallback(sub, name, found, resources, removed)
            elif (
                name in sub.pending_replies
                or found.name in sub.pending_replies
                or sub.sent.get(found.name) != found.version
            ):
                since = sub.record_introduced(found, self._snapshot.revision)
                missing = self._missing_clusters(sub, found)
                refused = any(each in self._types[CDS].rejected for each in missing)
                if refused and found.name in sub.acked:
                    # Without the cluster the new routes would only fail: better the old ones.
                    stuck[name] = since
                elif missing and not refused and not release:
                    held.add(name)
                else:
                    resources[found.name] = found
        if sub.type_url == VHDS and sub.awaits_first_response:
            resources |= placeholder_hosts(self._types[RDS].names if RDS in self._types else ())
        held |= stuck.keys()
        alone = sub.isolated - held
        sub.dirty, sub.pending_replies, sub.isolated, sub.blocked = (
            held,
            sub.pending_replies & held,
            sub.isolated & held,
            stuck,
        )
        out = self._build_responses(sub, resources, removed, alone)
        if sub.type_url == CDS and EDS in self._types:
            self._resend_endpoints(self._types[EDS], resources)
        return out

    def _send_fallback(
        self,
        sub: Subscription,
        name: str,
        refused: Resource,
        resources: dict[str, Resource],
        removed: list[str],
    ) -> None:
        """Answer for a name whose newest version the client refused, and of which it has none."""
        spare = sub.fallbacks.get(refused.name)
        if spare is not None:
            resources[refused.name] = spare
        else:
            self._report_missing(sub, name, resources, removed)

    def _report_removed(
        self, sub: Subscription, name: str, resources: dict[str, Resource], removed: list[str]
    ) -> None:
        """Tell the client that it should not, or cannot, have `name`."""
        if name in sub.sent:
            if sub.type_url == CDS:
                self._unused_clusters.add(name)
            elif sub.type_url == EDS:
                sub.forget(name)
            else:
                removed.append(name)
        elif name in sub.pending_replies:
            self._report_missing(sub, name, resources, removed)

    def _report_missing(
        self, sub: Subscription, name: str, resources: dict[str, Resource], removed: list[str]
    ) -> None:
        """Answer for a name that the client does not have and cannot get."""
        if sub.type_url == VHDS:
            resources[name] = nonexistent_host(name)
        else:
            removed.append(name)

    def _missing_clusters(self, sub: Subscription, found: Resource) -> list[str]:
        """The clusters that a resource needs and that are not in place."""
        clusters = self._types.get(CDS)
        if clusters is None or sub.type_url not in ROUTE_TYPES:
            return []
        return [name for name in found.required_clusters if not self._is_ready(clusters, name)]

    def _is_ready(self, clusters: Subscription, name: str) -> bool:
        """Whether the client can send requests to this cluster, or never will from what we know."""
        if self._snapshot.get(CDS, name) is None:
            return True
        if self._snapshot.get(EDS, name) is None:
            return name in clusters.acked
        endpoints = self._types.get(EDS)
        return endpoints is not None and name in endpoints.acked

    def _resend_endpoints(self, endpoints: Subscription, clusters: Iterable[str]) -> None:
        for name in clusters:
            if name in endpoints.names:
                endpoints.pending_replies.add(name)
                endpoints.dirty.add(name)

    def _build_responses(
        self, sub: Subscription, resources: dict[str, Resource], removed: list[str], alone: set[str]
    ) -> list[Response]:
        together = [resource for name, resource in resources.items() if name not in alone]
        apart = [resource for name, resource in resources.items() if name in alone]
        out = []
        if together or removed or (sub.awaits_first_response and not apart and not sub.dirty):
            out.append(self._responses.build(sub.type_url, together, removed))
        out += [self._responses.build(sub.type_url, [resource], []) for resource in apart]
        for response in out:
            sub.record_sent(response)
        return out
