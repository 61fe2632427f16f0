"""Delta ADS of one stream as a pure state machine: requests and snapshots in, responses out.

Five rules go beyond the specification, because Envoy needs them:

- Make before break: types that carry routes (LDS, RDS, VHDS) are held back until the clusters they refer to
  are ready at this client, endpoints included. Clusters are removed last, on an idle stream (`on_idle`).
- Routes name entries of a shared filter's configuration (ECDS). So a change of it is sent twice: before the
  routes merged with the configuration that the client has, and alone behind them.
- Where Envoy checks the health of endpoints, those that replace all others come beside the old ones first,
  and alone on an idle stream (`EndpointHandovers`).
- After every update of a cluster its endpoints are sent again. Otherwise Envoy warms the cluster for 15 s.
- A NACKed response is sent again resource by resource. A NACKed resource is quarantined until its version
  changes, so the same bytes are never sent in a loop. A client that has no version of it gets an older one
  (`LastAccepted`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from meshwright.control_plane.core import shared_filters
from meshwright.control_plane.core.resource import CDS, ECDS, EDS, PUSH_ORDER, RDS, VHDS, Resource
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.endpoint_handovers import EndpointHandovers
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import (
    Response,
    ResponseCache,
    nonexistent_host,
    placeholder_hosts,
)
from meshwright.control_plane.xds.protocol.subscription import WILDCARD, Subscription
from meshwright.control_plane.xds.protocol.target_state import ROUTE_TYPES, TargetState
from meshwright.control_plane.xds.protocol.unknown_names import UnknownNames

NAME_LIMIT = 512
"""Bytes of a resource name. A DNS name has at most 255 (RFC 1035 section 2.3.4), plus a prefix and a port."""


@dataclass(slots=True)
class _Update:
    """What to send of one type: resources by name, and names for `removed_resources`."""

    resources: dict[str, Resource] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


class Delta(TargetState):
    """One stream.

    Names that the snapshot holds are bounded by the configuration. Unknown hosts come from Host headers; what
    is remembered of them is bounded, and none is forgotten (`UnknownNames`). Of other types a client may
    subscribe to at most `limit` unknown names. Beyond that, a name is reported as unknown once and not
    remembered (`rejected_names` counts these, and host names that are too long to exist). `last_accepted` is
    shared by all streams of one identity.
    """

    def __init__(
        self,
        snapshot: NodeSnapshot,
        responses: ResponseCache,
        limit: int = 2000,
        last_accepted: LastAccepted | None = None,
        *,
        unknown_hosts: UnknownNames | None = None,
    ) -> None:
        super().__init__(snapshot)
        self._responses = responses
        self._limit = limit
        self._last_accepted = last_accepted or LastAccepted()
        self._unused_clusters: set[str] = set()
        self._unknown_names: dict[str, set[str]] = {}
        self._unknown_hosts = unknown_hosts or UnknownNames()
        self._refused_hosts: set[str] = set()
        self._handovers = EndpointHandovers()
        self._filters_sent: dict[str, Resource] = {}
        """Shared filter configurations by name, as they were sent."""
        self.rejected_names = 0
        self.nacks = 0

    @property
    def has_idle_work(self) -> bool:
        """Whether `on_idle` may have something to do."""
        return bool(self._unused_clusters) or self.is_waiting_for_clusters or self.is_handing_over

    @property
    def is_handing_over(self) -> bool:
        """Whether the client has endpoints that others have replaced; `on_idle` ends it."""
        return self._handovers.is_any

    # --- events --------------------------------------------------------------------------------------

    def on_request(self, request: v3.DeltaDiscoveryRequest) -> list[Response]:
        """Apply a request (a subscription, an ACK, a NACK, or a mix); returns the responses to send."""
        type_url = request.type_url
        if type_url not in PUSH_ORDER:
            return []
        sub = self._types.get(type_url)
        if sub is None:
            self._open(request)
        else:
            if request.response_nonce:
                reply = self._last_accepted.on_reply(sub, request, lambda name: self._target(sub, name))
                self.nacks += reply == "nack"
            self._subscribe(sub, request.resource_names_subscribe)
            self._unsubscribe(sub, request.resource_names_unsubscribe)
        return self._flush()

    def on_snapshot(self, snapshot: NodeSnapshot, changed: Collection[ResourceKey]) -> list[Response]:
        """Switch to a newer snapshot; returns the responses to send.

        `changed` names every resource that may differ from the snapshot before.
        """
        before, self._snapshot = self._snapshot, snapshot
        for type_url, name in changed:
            if type_url in self._types:
                self._types[type_url].dirty.add(name)
        for sub in self._types.values():
            if sub.type_url == VHDS and sub.dirty:
                self._subscribe_to_early_names(sub)
                # Any change of virtual hosts may move an alias to another host.
                sub.dirty |= sub.names | sub.sent.keys()
            base, base_before = snapshot.base(sub.type_url), before.base(sub.type_url)
            if sub.wildcard and base != base_before:
                sub.dirty |= base.keys() | base_before.keys()
        return self._flush()

    def on_idle(self) -> list[Response]:
        """Finish the work that waits for an idle stream; call it some time after `has_idle_work` is true.

        Removes clusters that no route refers to any more, and endpoints that others have replaced. Sends
        routes whose clusters never became ready: Envoy fetches those clusters on demand.
        """
        if self.in_flight:
            return []
        ended = self._handovers.on_idle()
        if ended and EDS in self._types:
            self._types[EDS].dirty |= ended
        if ended or self.is_waiting_for_clusters:
            return self._flush(force=True)
        sub = self._types.get(CDS)
        if sub is None or any(
            self._types[type_url].rejected for type_url in ROUTE_TYPES if type_url in self._types
        ):
            return []
        removed = sorted(
            name for name in self._unused_clusters if name in sub.sent and self._target(sub, name) is None
        )
        self._unused_clusters.clear()
        if not removed:
            return []
        response = self._responses.build(CDS, [], removed)
        sub.record_sent(response)
        for name in removed if EDS in self._types else ():
            # If the cluster returns, it is ready only once its endpoints are ACKed again.
            self._types[EDS].sent.pop(name, None)
            self._types[EDS].acked.pop(name, None)
        return [response]

    # --- subscriptions -------------------------------------------------------------------------------

    def _open(self, request: v3.DeltaDiscoveryRequest) -> None:
        sub = self._types[request.type_url] = Subscription(request.type_url)
        requested = list(request.resource_names_subscribe)
        accepted = {name for name in requested if self._accept_name(sub, name)}
        # An empty version is a host of which the client knows that it does not exist.
        versions = {
            name: version
            for name, version in request.initial_resource_versions.items()
            if version or name in accepted
        }
        sub.open(accepted, versions)
        sub.awaits_first_response = not request.initial_resource_versions
        if requested and not accepted:
            sub.wildcard = False
        sub.pending_replies -= {name for name in sub.pending_replies if self._has_as_alias(sub, name)}
        for name in set(requested).difference(accepted, request.initial_resource_versions):
            sub.require_reply(name)
        if sub.wildcard:
            sub.dirty |= self._snapshot.base(sub.type_url).keys()
        if sub.type_url == CDS:
            sub.dirty |= self._dependencies.reference_counts.keys()
        if sub.type_url == EDS and CDS in self._types:
            # A cluster that was updated on this stream warms until it gets its endpoints.
            sub.pending_replies.update(name for name in sub.names if self._types[CDS].is_in_flight(name))

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

    def _subscribe_to_early_names(self, sub: Subscription) -> None:
        """Subscribe to names of changed hosts that the client asked for before they existed."""
        hosts = [host for name in sub.dirty if (host := self._snapshot.get(VHDS, name))]
        sub.names.update(name for host in hosts for name in host.aliases if name in self._unknown_hosts)

    def _has_as_alias(self, sub: Subscription, name: str) -> bool:
        """Whether `name` is an alias of a host that the client already has."""
        resource = self._snapshot.get(sub.type_url, name)
        return resource is not None and resource.name in sub.sent

    def _accept_name(self, sub: Subscription, name: str) -> bool:
        """Whether to subscribe to the name; if not, it is reported as unknown once."""
        if name == WILDCARD or name in sub.names:
            return True
        if self._snapshot.get(sub.type_url, name) is not None:
            return True
        if sub.type_url == VHDS and len(name) <= NAME_LIMIT:
            self._unknown_hosts.add(name)
            return False
        unknown = self._unknown_names.setdefault(sub.type_url, set())
        if len(name) <= NAME_LIMIT and len(unknown) < self._limit:
            unknown.add(name)
            return True
        self.rejected_names += 1
        return False

    # --- responses -----------------------------------------------------------------------------------

    def _flush(self, force: bool = False) -> list[Response]:
        """Responses for everything dirty; with `force` also routes whose clusters are not ready."""
        self._update_dependencies()
        responses: list[Response] = []
        for type_url in PUSH_ORDER:
            sub = self._types.get(type_url)
            if type_url == RDS and not force and self._has_held_filters:
                continue
            if sub is not None and (sub.dirty or sub.awaits_first_response):
                responses += self._send(sub, force)
        responses += self._replace_merged_filters()
        self.advance(self._snapshot.revision)
        return responses

    def _send(self, sub: Subscription, force: bool) -> list[Response]:
        update = _Update()
        held: set[str] = set()
        blocked: dict[str, int] = {}
        for name in sorted(sub.dirty):
            resource = self._target(sub, name)
            if resource is None:
                sub.release(name)
                self._report_removed(sub, name, update)
            elif sub.is_quarantined(resource):
                if name in sub.pending_replies and resource.name not in sub.acked:
                    self._send_fallback(sub, name, resource, update)
            elif self._must_send(sub, name, resource):
                introduced = sub.record_introduced(resource, self._snapshot.revision)
                missing = self._missing_clusters(sub, resource)
                rejected = any(cluster in self._types[CDS].rejected for cluster in missing)
                if rejected and resource.name in sub.acked:
                    # Without the cluster the new routes would only fail: keep the old ones.
                    blocked[name] = introduced
                elif missing and not rejected and not force:
                    held.add(name)
                else:
                    update.resources[resource.name] = self._first_stage(sub, resource)
                    self._replace_refused(resource, update)
        if sub.type_url == VHDS and sub.awaits_first_response:
            update.resources |= placeholder_hosts(self._types[RDS].names if RDS in self._types else ())
        held |= blocked.keys()
        isolated = sub.isolated - held
        sub.dirty, sub.blocked = held, blocked
        sub.pending_replies, sub.isolated = sub.pending_replies & held, sub.isolated & held
        responses = self._build_responses(sub, update, isolated)
        if sub.type_url == CDS and EDS in self._types:
            self._resend_endpoints(self._types[EDS], update.resources)
        return responses

    @property
    def _has_held_filters(self) -> bool:
        """Whether a shared filter waits for a cluster: routes that name its new entries wait with it."""
        sub = self._types.get(ECDS)
        return sub is not None and bool(sub.dirty - sub.blocked.keys())

    def _first_stage(self, sub: Subscription, resource: Resource) -> Resource:
        """What to send first: with what it replaces, for as long as the client may need that."""
        if sub.type_url == EDS:
            cluster = self._snapshot.get(CDS, resource.name)
            return self._handovers.stage(resource, cluster, is_known=resource.name in sub.sent)
        if sub.type_url != ECDS or not shared_filters.is_shared(resource.name):
            return resource
        last = self._filters_sent.get(resource.name)
        if last is not None and sub.sent.get(resource.name) == last.version:
            first = shared_filters.merged(last, resource)
        else:
            first = resource
        self._filters_sent[resource.name] = first
        return first

    def _replace_merged_filters(self) -> list[Response]:
        """Shared filter configurations without what only old routes use, once no route is held back."""
        sub = self._types.get(ECDS)
        if sub is None or any(
            self._types[type_url].dirty for type_url in ROUTE_TYPES if type_url in self._types
        ):
            return []
        update = _Update()
        for name, sent in self._filters_sent.items():
            target = self._target(sub, name)
            if target is None or target.version == sent.version or sub.sent.get(name) != sent.version:
                continue
            if not sub.is_quarantined(target):
                self._filters_sent[name] = update.resources[name] = target
                sub.record_introduced(target, self._snapshot.revision)
        return self._build_responses(sub, update, set())

    @staticmethod
    def _must_send(sub: Subscription, name: str, resource: Resource) -> bool:
        if name in sub.pending_replies or resource.name in sub.pending_replies:
            return True
        return sub.sent.get(resource.name) != resource.version

    def _send_fallback(self, sub: Subscription, name: str, rejected: Resource, update: _Update) -> None:
        """Reply for a name whose newest version the client NACKed, when it has no other version."""
        fallback = sub.fallbacks.get(rejected.name)
        if fallback is not None:
            update.resources[rejected.name] = fallback
        else:
            self._report_missing(sub, name, update)

    def _report_removed(self, sub: Subscription, name: str, update: _Update) -> None:
        """Tell the client that it should not, or cannot, have `name`."""
        if name in sub.sent:
            if sub.type_url == CDS:
                self._unused_clusters.add(name)
            elif sub.type_url == EDS:
                sub.forget(name)
            else:
                update.removed.append(name)
        elif name in sub.pending_replies:
            self._report_missing(sub, name, update)

    def _report_missing(self, sub: Subscription, name: str, update: _Update) -> None:
        """Reply for a name that the client does not have and cannot get."""
        if sub.type_url != VHDS:
            update.removed.append(name)
            return
        refused = self._snapshot.refused_host(name) if len(self._refused_hosts) < self._limit else None
        if refused is not None:
            self._refused_hosts.add(name)
        update.resources[name] = refused or nonexistent_host(name)

    def _replace_refused(self, resource: Resource, update: _Update) -> None:
        """Remove the stand-ins of names that a host now has: Envoy rejects a name that occurs twice."""
        replaced = self._refused_hosts.intersection(resource.aliases)
        self._refused_hosts -= replaced
        update.removed += sorted(replaced - {resource.name})

    @staticmethod
    def _resend_endpoints(endpoints: Subscription, clusters: Iterable[str]) -> None:
        for name in clusters:
            if name in endpoints.names:
                endpoints.require_reply(name)

    def _build_responses(self, sub: Subscription, update: _Update, isolated: set[str]) -> list[Response]:
        """One response for everything but the isolated resources, and one for each of those."""
        joint = [resource for name, resource in update.resources.items() if name not in isolated]
        single = [resource for name, resource in update.resources.items() if name in isolated]
        responses = []
        if joint or update.removed or (sub.awaits_first_response and not single and not sub.dirty):
            responses.append(self._responses.build(sub.type_url, joint, update.removed))
        responses += [self._responses.build(sub.type_url, [resource], []) for resource in single]
        for response in responses:
            sub.record_sent(response)
        return responses
