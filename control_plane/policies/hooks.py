"""What a kind does to Envoy's configuration: the base class of every `envoy.py`.

Hooks see Envoy messages and their own spec, nothing of the World. Class methods describe what the kind needs
in every proxy, whether a policy is attached or not; instance methods apply one spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

from google.protobuf.message import Message

from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.base import Spec, TargetedSpec
from meshwright.control_plane.policies.reply_reason import Reason

ListenerDirection = Literal["inbound", "outbound", "ingress"]

NO_CLUSTER = "/unknown"
"""The cluster of a host that the mesh does not have yet: a call to it fails."""


class FilterPhase(IntEnum):
    """The order of HTTP filters, first to see the request first. Responses pass them in reverse."""

    DISCOVERY = 100
    """First: it fetches the virtual host that holds the per-route configuration of every later filter."""
    EXTERNAL = 150
    """Behind discovery: a host that is not in the mesh by now is outside."""
    STATISTICS = 200
    """Outside everything that may respond in place of the upstream: it counts what the caller sees."""
    COMPRESSION = 250
    """Outside everything that may respond or change a response: it compresses what the client gets."""
    CORS = 300
    """Before everything that may respond or fail: a page can read a response only with CORS headers."""
    AUTHENTICATION = 350
    """Behind CORS, since a browser's preflight carries no token. Before faults and header changes: a stranger
    causes no delay, and both see the headers that a verified token sets."""
    EXTERNAL_AUTHORIZATION = 370
    """Behind authentication: an authorizer sees the headers that a verified token sets, and no stranger's."""
    AUTHORIZATION = 390
    """Behind authentication: rules decide by claims of verified tokens. Before faults: a caller that
    is refused causes no delay."""
    RATE_LIMIT = 395
    """Behind authentication: a claim can be a limit's key, and what is refused anyway uses up no limit.
    Before faults, which delay requests."""
    FAULT = 400
    """Before anything changes the request: faults match the headers that the caller sent."""
    BODY = 550
    """Behind everything that may refuse a request by its headers: only then its body is taken in."""
    HEADERS = 600
    """Last before routing: header changes apply to exactly the requests that are forwarded."""
    ADDRESS = 900
    """Addresses of hosts outside the mesh: resolved and checked when nothing changes the host any more."""
    ROUTER = 1000
    """Terminal: Envoy rejects a chain in which the router is not last."""


FilterEntry: TypeAlias = tuple[FilterPhase, str, Message]
"""Phase, filter name and listener-level configuration of one HTTP filter."""


class TransportMode(IntEnum):
    """Which transport a service accepts, weakest first: where several apply, the strictest is in force."""

    DISABLED = 0
    PERMISSIVE = 1
    STRICT = 2


def strictest(modes: Iterable[TransportMode]) -> TransportMode:
    """The mode in force where several apply; STRICT when there is none."""
    return max(modes, default=TransportMode.STRICT)


@dataclass(frozen=True, slots=True)
class Symptom:
    """A response flag or a statistic that a kind causes, and the spec fields responsible.

    `details` narrows it to requests whose `%RESPONSE_CODE_DETAILS%` contain this text. `statistic` is the
    end of an Envoy counter's name.
    """

    flag: str = ""
    fields: tuple[str, ...] = ()
    details: str = ""
    statistic: str = ""


@dataclass(frozen=True, slots=True)
class EndpointWeights:
    """How requests are spread over the endpoints of a destination.

    `weights` pairs labels with the weight of instances that carry all of them; the first match wins, other
    instances have weight 1. `prefer_local_zone`: other zones receive only what the caller's zone cannot take.
    `last_resort`: with no healthy instance, those that only fail their health check get the requests.
    """

    weights: tuple[tuple[tuple[tuple[str, str], ...], int], ...] = ()
    prefer_local_zone: bool = False
    last_resort: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What readmits an ejected instance: one health check, `open_for` after the ejection."""

    open_for: timedelta


@dataclass(frozen=True, slots=True)
class ListenerContext:
    """The connection manager that `patch_listener` changes.

    `owner` is the service or gateway. `tracing`: Envoy makes spans here, with `attempts` also of each try.
    """

    direction: ListenerDirection
    owner: str
    tracing: bool = False
    attempts: bool = True


SpecT = TypeVar("SpecT", bound=Spec)


class Hooks(Generic[SpecT]):
    """One spec applied to Envoy's configuration. Every hook does nothing unless a kind overrides it."""

    default_spec: ClassVar[TargetedSpec | None] = None
    """The spec in force at a listener to which no policy of this kind is attached."""

    as_one: ClassVar[bool] = False
    """Whether the policies of a place are applied as one, since what one does depends on the `members`."""

    explains: ClassVar[tuple[Symptom, ...]] = ()
    """What this kind is responsible for. For each flag the first symptom whose details match applies."""

    reads: ClassVar[tuple[str, ...]] = ()
    """Other kinds whose policies at a route the kind's `shared_config` depends on."""

    reply_reasons: ClassVar[tuple[Reason, ...]] = ()
    """Why the kind's shared filters or route filters respond in place of the upstream."""

    direct_responses: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Why a route that the kind adds responds itself, by the route's name."""

    def __init__(
        self,
        spec: SpecT,
        ref: str = "",
        clusters: Mapping[str, str] = MappingProxyType({}),
        certificates: Mapping[str, CertificateFiles] = MappingProxyType({}),
    ) -> None:
        """`ref`: `Kind/name` of the document; empty for a kind's default and for a rule's own policy.

        `clusters`: the cluster of each of `mesh_hosts`, for hooks that patch routes of gateways and inbound
        routes. `certificates`: the files of each of `certificate_names` that exists, for `patch_cluster`.
        """
        self.spec = spec
        self.ref = ref
        self.clusters = clusters
        self.certificates = certificates
        self._members: tuple[Any, ...] = ()

    @property
    def members(self) -> Sequence[Self]:
        """The policies that are applied as one, beginning with this one."""
        return self._members or (self,)

    @classmethod
    def together(cls, members: Sequence[Self]) -> Sequence[Self]:
        """What is applied where several policies of the kind are in force: each in turn, or all `as_one`."""
        if not cls.as_one:
            return members
        first = members[0]
        joint = cls(first.spec, first.ref, first.clusters)
        joint._members = tuple(members)
        return (joint,)

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """Filters that listeners of this direction always carry, inert until a route configures them.

        A changed listener drains its connections; a changed route does not. So the filter is always there
        and `patch_route` configures it by `typed_per_filter_config`. Hosts without a route that does so
        disable it (core/unused_filters.py).
        """
        return ()

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """Filters that a route configures in whole, by `typed_per_filter_config`.

        Every listener of this direction has them, disabled: only requests of a route with configuration for
        such a filter pass through it.
        """
        return ()

    @classmethod
    def connection_filters(cls) -> Sequence[tuple[str, Message]]:
        """Network filters before TCP proxies where connections arrive, each as it is without any policy.

        The configuration of each is a resource of its own (ECDS): a change is for new connections.
        """
        return ()

    def connection_filter(self, name: str, port: str, *, gateway: bool) -> Message:
        """The configuration of one of `connection_filters` for a service's TCP port or a gateway's listener.

        `port`: the port's name, empty at a gateway.
        """
        raise NotImplementedError

    @classmethod
    def shared_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """Filters whose configuration all routes of a proxy share, each as it is without any policy.

        For filters that can be configured by a route only in part. The configuration is a resource of its own
        (ECDS), so its change drains nothing. The filter is disabled until a route has configuration for it.
        """
        return ()

    @classmethod
    def shared_config(
        cls, name: str, combinations: Sequence[Sequence[Self]], clusters: Mapping[str, str]
    ) -> Message:
        """The configuration of the shared filter of this name.

        `combinations`: the policies in force at each route, as often as they differ, with those of kinds in
        `reads`. `clusters`: the cluster of each of `mesh_hosts`.
        """
        raise NotImplementedError

    @classmethod
    def merged_config(cls, old: bytes, new: bytes) -> bytes:
        """A shared filter's configuration that both old and new routes can use, while they change.

        By default the bytes of both: protobuf merges messages whose bytes follow each other, and for the keys
        of a map the last entry counts (protobuf.dev, "Last One Wins"). That suits maps that routes refer to.
        """
        return old + new

    def mesh_hosts(self) -> Sequence[str]:
        """Hosts of the mesh, such as `users` or `users:9090`, whose clusters the shared filters need."""
        return ()

    def certificate_names(self) -> Sequence[str]:
        """Certificate documents whose files the clusters of an ExternalService need."""
        return ()

    def outside_clusters(self) -> Sequence[v3.Cluster]:
        """Clusters of hosts outside the mesh that the kind's filters call."""
        return ()

    @classmethod
    def needs(cls, spec: SpecT, hook: str) -> bool:  # noqa: ARG003
        """Whether `hook`, a method that the kind overrides, does anything for this spec.

        Where it does not, nothing depends on the policy: a change of it concerns no other proxy.
        """
        return True

    def patch_listener(self, manager: v3.HttpConnectionManager, listener: ListenerContext) -> None:
        """Change a connection manager. Connections of the listener drain when the result differs."""

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Change a caller's route; it may become several routes, tried in the order returned."""
        return [route]

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Change a gateway's route, after every `patch_route`; sidecars do not have the change.

        A kind that implements this and `patch_inbound_route` is in force at the gateway where the policy
        targets the Gateway or a route, and at the service's own sidecars where it targets the Service.
        """
        return [route]

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Change the route by which a service's own sidecar forwards a request to the application.

        It may become several routes, tried in the order returned.
        """
        return [route]

    def patched_resources(self) -> Sequence[tuple[str, str]]:
        """Type and name of the resources that `patch_resource` changes, such as `("Cluster", "orders")`."""
        return ()

    def patch_resource(self, kind: str, name: str, resource: dict[str, Any]) -> Any:  # noqa: ARG002
        """A finished resource, as JSON with the names of Envoy's documentation, after the policy's patches.

        Raises PatchError if one of them cannot be applied.
        """
        return resource

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Change a caller's cluster for the destination. Envoy rebuilds the cluster when it differs."""

    def endpoint_weights(self) -> EndpointWeights | None:
        """How a caller's requests are spread over the destination's endpoints; None: evenly."""
        return None

    def trial(self) -> Trial | None:
        """How an instance that this caller ejected returns; None: without a trial. The last kind decides."""
        return None

    def transport_mode(self) -> TransportMode | None:
        """Which transport the service accepts; None: the kind does not say."""
        return None

    def dependencies(self) -> Sequence[str]:
        """Clusters that must be pushed before the routes and listeners that this spec shapes.

        Envoy fetches on demand only the cluster that a request is routed to. Certificates need no entry:
        they are files beside Envoy.
        """
        return ()
