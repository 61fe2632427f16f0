"""What others ask: the parts of a control plane put together to the picture that the admin API shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

from meshwright.control_plane.admin.context import AdminContext, CanonicalDocument
from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.base import Breaker, ProxyDetail, Status
from meshwright.control_plane.api.models.topology import ServiceList, Topology
from meshwright.control_plane.ca.join_tokens import JoinTokens
from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.cluster.sync import LocalState, StateSync
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.events.state import MeshState, capture
from meshwright.control_plane.events.subscriptions import EventSubscriptions
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.status import status as status_module
from meshwright.control_plane.status.circuit_breakers import edge_breakers
from meshwright.control_plane.status.prometheus import MeshMetrics
from meshwright.control_plane.store.revision_repository import RevisionRepository
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.telemetry.adaptive_cache import AdaptiveCache
from meshwright.control_plane.telemetry.requests.explain_at_revision import explain_at_revision
from meshwright.control_plane.telemetry.service import TelemetryService
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.xds.server import XdsServer

PREVIEW_METHOD = "Reaches"
"""The method by which a peer is asked whom a change of documents configures anew."""

PREVIEW_TIMEOUT = 5.0
"""Seconds that it has: it translates both."""

BREAKER_CACHE_SECONDS = 0.5
"""Seconds for which the state of the breakers counts: sidecars report once a second."""


class MeshReadModel:
    """The mesh as this control plane knows it at the moment it is asked."""

    def __init__(
        self,
        store: Store,
        feed: ConfigReconciler,
        xds: XdsServer,
        reports: ProxyReports,
        telemetry: TelemetryService,
        *,
        members: Members,
        trust_domain: str,
    ) -> None:
        self._store = store
        self._feed = feed
        self._xds = xds
        self._reports = reports
        self._telemetry = telemetry
        self._peers = members
        self._traces = ClusterTraces(telemetry.traces, members)
        self._requests = ClusterRequests(telemetry.requests, members)
        members.register_method(PREVIEW_METHOD, self._reaches_here)
        self._sharing = StateSync(
            LocalState(xds.queue, reports, telemetry.windows, self._problems),
            members,
            trust_domain,
            time.monotonic,
            asyncio.sleep,
        )
        self._looked = -BREAKER_CACHE_SECONDS
        self._last_breakers: tuple[Breaker, ...] = ()
        self.topology: AdaptiveCache[Topology] = AdaptiveCache(
            lambda: telemetry.topology(self._setting()), time.monotonic
        )
        self.services: AdaptiveCache[ServiceList] = AdaptiveCache(
            lambda: telemetry.services(self._setting()), time.monotonic
        )

    def mesh(self, tokens: JoinTokens, ask: Callable[[str, str, str], Awaitable[str]]) -> AdminContext:
        """All that the admin API reaches; `ask` has a sidecar asked (asking.Asking.ask)."""
        return AdminContext(
            revisions=RevisionRepository(self._store),
            status=self.status,
            instances=lambda: status_module.instance_statuses(self._feed.world),
            tokens=tokens,
            run_command=ask,
            now=time.monotonic,
            sleep=asyncio.sleep,
            proxies=self.proxies,
            control_plane_addresses=self._peers.admin_addresses,
            reports=self._sharing.reports,
            warnings=lambda documents: status_module.preview_warnings(self._feed.world, documents),
            resources_diff=self._resources_diff,
            affected_proxies=self._reaches,
            events=EventSubscriptions(self._store.events),
            topology=self.topology,
            traces=self._traces,
            requests=self._requests,
            explain=lambda case: explain_at_revision(case, self._feed.world),
            clock=time.time,
            history=lambda caller, callee: self._telemetry.history(self._feed.world, caller, callee),
            services=self.services,
            service_history=lambda name: self._telemetry.service_history(self._feed.world, name),
        )

    def service_of_instance(self, instance: str) -> str:
        """The service whose instance has a lease of this name; empty when none has."""
        return status_module.service_of_instance(self._feed.world, instance)

    def mesh_state(self) -> MeshState:
        """What is compared to see that something happened."""
        troubled = self._reports.unhealthy(time.monotonic())
        return capture(self._sharing.rejections(), self._feed.translation, troubled)

    async def status(self) -> Status:
        """The mesh as it stands."""
        deliveries = await self._sharing.rollouts()
        return status_module.mesh_status(
            self._feed.world,
            self._store.health.status,
            self._sharing.proxies(),
            deliveries,
            self._sharing.problems(),
            breakers=self._breakers(),
            control_planes=self._peers.statuses(),
        )

    def metrics(self) -> MeshMetrics:
        """What Prometheus is told; of proxies only what this control plane hears itself."""
        return MeshMetrics(
            revision=self._feed.world.revision if self._feed.world else 0,
            store_up=self._store.health.status == "ok",
            proxies=self._xds.proxies(),
            reports=self._reports.current(time.monotonic()),
            instances=tuple(status_module.instance_statuses(self._feed.world)),
            breakers=self._breakers(),
            control_planes=self._peers.statuses(),
        )

    def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with what it told of itself."""
        return status_module.proxy_details(
            self._sharing.proxies(), self._sharing.pending(), self._sharing.reports()
        )

    def _setting(self) -> MeshContext:
        translation = self._feed.translation
        resolver = translation.resolver if translation else None
        proxies = self._sharing.proxies()
        return self._telemetry.context(self._feed.world, resolver, self._breakers(), proxies)

    def _problems(self) -> tuple[str, ...]:
        """What failed inside, in words."""
        reason = self._store.health.reason
        return (*((reason,) if reason else ()), *self._feed.problems(), *self._telemetry.problems())

    def _breakers(self) -> tuple[Breaker, ...]:
        """The breakers as they are, or were a moment ago: many may ask, again and again."""
        now = time.monotonic()
        translation = self._feed.translation
        if translation is not None and now - self._looked >= BREAKER_CACHE_SECONDS:
            told = self._sharing.reports()
            attachments, services = translation.resolver.attachments, translation.world.services
            self._looked, self._last_breakers = now, edge_breakers(attachments, services, told)
        return self._last_breakers

    def _resources_diff(self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]) -> str:
        return status_module.resources_diff(self._feed.translation, before, after)

    async def _reaches(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        request = json.dumps([before, after], default=dict).encode()
        here = asyncio.to_thread(self._reached, before, after)
        elsewhere = self._peers.broadcast(PREVIEW_METHOD, request, timeout_seconds=PREVIEW_TIMEOUT)
        own, answers = await asyncio.gather(here, elsewhere)
        return tuple(sorted({*own, *(str(name) for answer in answers for name in json.loads(answer))}))

    async def _reaches_here(self, request: bytes) -> bytes:
        try:
            before, after = json.loads(request)
        except ValueError:
            raise InputError(f"{PREVIEW_METHOD}: not understood") from None
        return json.dumps(await asyncio.to_thread(self._reached, before, after)).encode()

    def _reached(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        return status_module.affected_proxies(
            self._feed.translation, before, after, self._xds.queue.affected_nodes
        )
