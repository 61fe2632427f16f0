"""The read model: what the admin API, the events and Prometheus read, assembled from all parts on demand."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.authorization import (
    AccessCheck,
    AccessMatrix,
    AccessQuery,
    ObservedCalls,
)
from meshwright.control_plane.api.models.call_explanation import CallExplanation
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import ServicePolicies
from meshwright.control_plane.api.models.proxies import ProxyDetail, ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.requests import Explanation, Request
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.topology import (
    Breaker,
    EdgeHistory,
    ServiceHistory,
    ServiceList,
    Topology,
)
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Evictions
from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.cluster.preview import ChangePreview
from meshwright.control_plane.cluster.refusals import ClusterRefusals
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.cluster.sync import LocalState, StateSync
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.core import patches
from meshwright.control_plane.core.patches import PatchedPlace
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import World
from meshwright.control_plane.events.state import MeshState, capture
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.push.judge import ProxyTraffic
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.status import access, access_probe, status
from meshwright.control_plane.status.access_probe import ProbePlan
from meshwright.control_plane.status.call_explanation import explanation
from meshwright.control_plane.status.certificates import node_certificates
from meshwright.control_plane.status.circuit_breakers import edge_breakers
from meshwright.control_plane.status.known_nodes import bounded_reports
from meshwright.control_plane.status.observed_calls import observed_calls
from meshwright.control_plane.status.prometheus import MeshMetrics
from meshwright.control_plane.status.service_policies import service_policies
from meshwright.control_plane.status.versions import version_skews
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.telemetry.adaptive_cache import AdaptiveCache
from meshwright.control_plane.telemetry.requests import refusals
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain_at_revision import (
    RequestEvidence,
    explain_at_revision,
)
from meshwright.control_plane.telemetry.requests.recent_count import REMEMBERED_SECONDS
from meshwright.control_plane.telemetry.requests.refusal_history import RefusalHistory
from meshwright.control_plane.telemetry.service import TelemetryService
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.xds.server import XdsServer

BREAKER_CACHE_SECONDS = 0.5
"""How long breaker states are reused: sidecars report once a second."""


class MeshReadModel:
    """The current state of the whole mesh, as far as this control plane knows it."""

    def __init__(
        self,
        store: Store,
        reconciler: ConfigReconciler,
        xds: XdsServer,
        reports: ProxyReports,
        telemetry: TelemetryService,
        *,
        members: Members,
        trust_domain: str,
        host_problems: Callable[[], tuple[str, ...]],
        evictions: Evictions,
    ) -> None:
        self._host_problems = host_problems
        self._evictions = evictions
        self._store = store
        self._reconciler = reconciler
        self._xds = xds
        self._reports = reports
        self._telemetry = telemetry
        self._members = members
        self._sync = StateSync(
            LocalState(xds.queue, reports, telemetry.windows, self._problems),
            members,
            trust_domain,
            time.monotonic,
            asyncio.sleep,
        )
        self._breakers_read_at = -BREAKER_CACHE_SECONDS
        self._cached_breakers: tuple[Breaker, ...] = ()
        self.traces = ClusterTraces(telemetry.traces, members)
        self.requests = ClusterRequests(telemetry.requests, members)
        self._refusal_history = RefusalHistory()
        self.refusals = ClusterRefusals(self._refusal_history, members, time.time)
        self.preview = ChangePreview(
            lambda: reconciler.translation,
            xds.queue,
            members,
            lambda: status.gateway_ports(self._sync.proxies()),
            lambda: self.observed_calls(REMEMBERED_SECONDS),
        )
        self.topology: AdaptiveCache[Topology] = AdaptiveCache(
            lambda: telemetry.topology(self._mesh_context()), time.monotonic
        )
        self.services: AdaptiveCache[ServiceList] = AdaptiveCache(
            lambda: telemetry.services(self._mesh_context()), time.monotonic
        )

    @property
    def world(self) -> World:
        """The world that is served."""
        return self._reconciler.world

    @property
    def is_serving(self) -> bool:
        """Whether there is a configuration: without one nothing is known of the mesh."""
        return self._reconciler.published is not None

    # --- configuration and proxies ----------------------------------------------------------------------

    async def status(self) -> Status:
        """The status of the mesh."""
        ack_counts, reports = await self._sync.ack_counts(), self.reports()
        control_planes = self._members.statuses()
        return status.mesh_status(
            self._reconciler.world,
            self._store.health.status,
            status.without_departed(self._sync.proxies(), self._reconciler.world, reports),
            ack_counts,
            self._sync.problems(),
            version=VERSION,
            breakers=self._breakers(),
            control_planes=control_planes,
            skews=version_skews(VERSION, control_planes, reports),
            certificates=node_certificates(reports),
            patched=self._patched(),
            push=self._reconciler.published.push if self._reconciler.published else None,
        )

    async def fresh_proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy of the mesh; those of peers as they were moments ago."""
        await self._sync.refresh()
        return self._sync.proxies()

    def proxy_traffic(self, services: Iterable[str], since: Mapping[str, float]) -> tuple[ProxyTraffic, ...]:
        """The requests of the last seconds of each proxy of these services, counted since monotonic times."""
        rows = self._telemetry.windows.by_node(frozenset(services), time.monotonic(), since)
        return tuple(itertools.starmap(ProxyTraffic, rows))

    def _patched(self) -> dict[PatchedPlace, tuple[str, ...]]:
        translation = self._reconciler.translation
        if translation is None:
            return {}
        return patches.in_force(translation.snapshot.patches, translation.snapshot.misfits)

    def check_access(
        self, query: AccessQuery, changes: Sequence[RevisionInfo], sources: Mapping[str, str]
    ) -> AccessCheck:
        """The verdict of the Authorizations in force on a call."""
        translation, proxies = self._reconciler.translation, self._sync.proxies()
        return access.check(translation, query, self._changed_by(changes), sources, proxies)

    def explain_call(
        self, query: AccessQuery, changes: Sequence[RevisionInfo], sources: Mapping[str, str]
    ) -> CallExplanation:
        """What the proxies of the mesh would do with a request."""
        translation, proxies = self._reconciler.translation, self._sync.proxies()
        changed_by, connected = self._changed_by(changes), self._xds.queue.viewers()
        return explanation(translation, query, changed_by, sources, proxies, connected=connected)

    def _changed_by(self, changes: Sequence[RevisionInfo]) -> PolicyAttribution:
        translation = self._reconciler.translation
        attachments = translation.resolver.attachments if translation else None
        return PolicyAttribution(self._reconciler.world.documents, changes, attachments=attachments)

    def plan_probe(self, query: AccessQuery) -> ProbePlan:
        """How to ask the sidecars of a called service for their verdict on a call."""
        return access_probe.plan(self._reconciler.translation, query, self._sync.proxies())

    def discount_probes(self, plan: ProbePlan, answered: int) -> None:
        """Take back that probes are calls, for who reads what was called."""
        self._telemetry.discount_calls(plan.caller, plan.cluster, answered)

    def access_matrix(self) -> AccessMatrix:
        """Who may call what."""
        return access.matrix(self._reconciler.translation)

    def observed_calls(self, seconds: float) -> ObservedCalls:
        """Who called what within `seconds`."""
        return observed_calls(self._reconciler.translation, self._telemetry.seen_calls(seconds))

    def instances(self) -> tuple[InstanceStatus, ...]:
        """Every instance with a lease."""
        return status.instance_statuses(self._reconciler.world)

    async def service_policies(self, name: str, caller: str = "") -> ServicePolicies | None:
        """The policies that target a service, or one edge to it; None if the mesh has no such service."""
        statuses = (await self.status()).policies
        return service_policies(self._reconciler.translation, name, caller, statuses)

    def services_of_proxy(self, name: str) -> tuple[str, ...]:
        """The services and gateways that have a proxy of this name, sorted."""
        return tuple(sorted({proxy.service for proxy in self.proxies() if proxy.name == name}))

    def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with the report of its agent."""
        reports = self.reports()
        proxies = status.without_departed(self._sync.proxies(), self._reconciler.world, reports)
        return status.proxy_details(proxies, self._sync.in_flight(), reports)

    def connected_proxies(self) -> frozenset[tuple[str, str]]:
        """Service and name of every proxy with an xDS stream."""
        return frozenset(
            (proxy.service, proxy.name) for proxy in self._sync.proxies() if proxy.state != "disconnected"
        )

    def reports(self) -> tuple[ProxyReport, ...]:
        """The latest report of every known proxy's agent."""
        return self._bounded(self._sync.reports())

    def address_of(self, service: str, instance: str) -> str:
        """The registered address of an instance; "" if it is not registered."""
        registered = self._reconciler.world.services.get(service)
        instances = registered.instances if registered else ()
        return next((item.address for item in instances if item.name == instance), "")

    def _bounded(self, reports: Iterable[ProxyReport]) -> tuple[ProxyReport, ...]:
        return bounded_reports(reports, self._reconciler.world, self._sync.proxies())

    def control_plane_addresses(self) -> tuple[str, ...]:
        """`host:port` of the admin API of every control plane."""
        return self._members.admin_addresses()

    # --- traffic ------------------------------------------------------------------------------------------

    def edge_history(self, caller: str, callee: str) -> EdgeHistory | None:
        """The last 15 minutes of an edge; None if it is unknown."""
        return self._telemetry.history(self._reconciler.world, caller, callee)

    def service_history(self, name: str) -> ServiceHistory | None:
        """The last 15 minutes of a service or gateway; None if it is unknown."""
        return self._telemetry.service_history(self._reconciler.world, name)

    def explain(self, evidence: RequestEvidence) -> Explanation | None:
        """Why a request failed or was slow; None if nothing is known about it."""
        return explain_at_revision(evidence, self._reconciler.world)

    # --- events and metrics -------------------------------------------------------------------------------

    def mesh_state(self) -> MeshState:
        """What the event watcher compares."""
        unhealthy = self._reports.unhealthy(time.monotonic())
        return capture(self._sync.rejection_texts(), self._reconciler.translation, unhealthy)

    def name_refusals(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        """The requests, each with the policies that refused it."""
        translation = self._reconciler.translation
        if translation is None or not requests:
            return tuple(requests)
        policies = _attribution(translation)
        return tuple(
            request.model_copy(update={"refused_by": refusals.refused_by(request, policies)})
            for request in requests
        )

    def take_refusals(self) -> tuple[refusals.Refusal, ...]:
        """What policies refused since the last call, by records that came to this control plane; counted."""
        taken = self._telemetry.requests.refusals.take()
        translation = self._reconciler.translation
        if not taken or translation is None:
            return ()
        refused = refusals.attribute(taken, _attribution(translation))
        refusals.count(refused)
        self._refusal_history.add(refused, time.time())
        return refused

    def metrics(self) -> MeshMetrics:
        """What Prometheus scrapes. Of the proxies only those connected here: peers export the others."""
        return MeshMetrics(
            version=VERSION,
            revision=self._reconciler.world.revision,
            store_up=self._store.health.status == "ok",
            proxies=self._xds.proxies(),
            reports=self._bounded(self._reports.current(time.monotonic())),
            instances=self.instances(),
            crashed=tuple(
                service.name
                for service in self._reconciler.world.services.values()
                if not service.instances and not service.is_idle
            ),
            breakers=self._breakers(),
            control_planes=self._members.statuses(),
            rollouts=tuple(
                document.policy
                for document in self._reconciler.world.documents
                if isinstance(document.policy, Rollout)
            ),
        )

    def _mesh_context(self) -> MeshContext:
        translation = self._reconciler.translation
        resolver = translation.resolver if translation else None
        proxies = self._sync.proxies()
        world = self._reconciler.world
        gateways = {*world.gateways, *(resolver.gateways() if resolver else ())}
        evicted = {
            name: eviction.failure
            for name in gateways
            if (eviction := self._evictions.latest(Identity(world.trust_domain, "gateway", name)))
        }
        return self._telemetry.context(world, resolver, self._breakers(), proxies, evicted)

    def _problems(self) -> tuple[str, ...]:
        """Internal failures of this control plane, in words."""
        store = (self._store.health.reason,) if self._store.health.reason else ()
        return (
            *store,
            *self._host_problems(),
            *status.silence_problem(self._store.silent_leases.since.keys()),
            *self._reconciler.problems(),
            *self._telemetry.problems(),
        )

    def _breakers(self) -> tuple[Breaker, ...]:
        """Breaker states, at most BREAKER_CACHE_SECONDS old."""
        now = time.monotonic()
        translation = self._reconciler.translation
        if translation is not None and now - self._breakers_read_at >= BREAKER_CACHE_SECONDS:
            attachments, services = translation.resolver.attachments, translation.world.services
            self._cached_breakers = edge_breakers(attachments, services, self._sync.reports())
            self._breakers_read_at = now
        return self._cached_breakers


def _attribution(translation: Translation) -> PolicyAttribution:
    """The policies in force, without who changed them."""
    world, attachments = translation.world, translation.resolver.attachments
    return PolicyAttribution(world.documents, (), world.services, world.gateways, attachments)
