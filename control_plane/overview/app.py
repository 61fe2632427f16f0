"""What others ask: the parts of a control plane put together to the picture that the admin API shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

from control_plane import picture
from control_plane.admin.mesh import CanonicalDocument, Mesh
from control_plane.agents.reports import Reports
from control_plane.api.seen import Services, Topology
from control_plane.api.types import Breaker, ProxyDetail, Status
from control_plane.core.breakers import breakers
from control_plane.errors import InputError
from control_plane.events.picture import Picture, take
from control_plane.events.server import Live
from control_plane.feed import Feed
from control_plane.join_tokens import JoinTokens
from control_plane.overview.explaining import explain
from control_plane.overview.figures import Figures
from control_plane.peers.app import Peers
from control_plane.peers.requests import SharedRequests
from control_plane.peers.sharing import Own, Sharing
from control_plane.peers.traces import SharedTraces
from control_plane.revisions import StoredRevisions
from control_plane.store.redis import Store
from control_plane.telemetry.app import Telemetry
from control_plane.telemetry.kept import Kept
from control_plane.telemetry.verdict import Setting
from control_plane.xds.server import XdsServer

REACHES = "Reaches"
"""The method by which a peer is asked whom a change of documents configures anew."""

REACHES_WITHIN = 5.0
"""Seconds that it has: it translates both."""

BREAKERS_EVERY = 0.5
"""Seconds for which the state of the breakers counts: sidecars report once a second."""


class Overview:
    """The mesh as this control plane knows it at the moment it is asked."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        xds: XdsServer,
        reports: Reports,
        telemetry: Telemetry,
        *,
        peers: Peers,
        trust_domain: str,
    ) -> None:
        self._store = store
        self._feed = feed
        self._xds = xds
        self._reports = reports
        self._telemetry = telemetry
        self._peers = peers
        self._traces = SharedTraces(telemetry.traces, peers)
        self._requests = SharedRequests(telemetry.requests, peers)
        peers.answers(REACHES, self._reaches_here)
        self._sharing = Sharing(
            Own(xds.queue, reports, telemetry.flows, self._problems),
            peers,
            trust_domain,
            time.monotonic,
            asyncio.sleep,
        )
        self._looked = -BREAKERS_EVERY
        self._last_breakers: tuple[Breaker, ...] = ()
        self.topology: Kept[Topology] = Kept(lambda: telemetry.topology(self._setting()), time.monotonic)
        self.services: Kept[Services] = Kept(lambda: telemetry.services(self._setting()), time.monotonic)

    def mesh(self, tokens: JoinTokens, ask: Callable[[str, str, str], Awaitable[str]]) -> Mesh:
        """All that the admin API reaches; `ask` has a sidecar asked (asking.Asking.ask)."""
        return Mesh(
            revisions=StoredRevisions(self._store),
            status=self.status,
            instances=lambda: picture.instances(self._feed.world),
            tokens=tokens,
            ask=ask,
            now=time.monotonic,
            pause=asyncio.sleep,
            proxies=self.proxies,
            planes=self._peers.admins,
            reports=self._sharing.reports,
            warnings=lambda documents: picture.warnings(self._feed.world, documents),
            resources_diff=self._resources_diff,
            reaches=self._reaches,
            events=Live(self._store.events),
            topology=self.topology,
            traces=self._traces,
            requests=self._requests,
            explain=lambda case: explain(case, self._feed.world),
            clock=time.time,
            history=lambda caller, callee: self._telemetry.history(self._feed.world, caller, callee),
            services=self.services,
            service_history=lambda name: self._telemetry.service_history(self._feed.world, name),
        )

    def owner(self, instance: str) -> str:
        """The service whose instance has a lease of this name; empty when none has."""
        return picture.owner(self._feed.world, instance)

    def picture(self) -> Picture:
        """What is compared to see that something happened."""
        troubled = self._reports.troubled(time.monotonic())
        return take(self._sharing.refusals(), self._feed.translation, troubled)

    async def status(self) -> Status:
        """The mesh as it stands."""
        deliveries = await self._sharing.deliveries()
        return picture.status(
            self._feed.world,
            self._store.state.state,
            self._sharing.proxies(),
            deliveries,
            self._sharing.problems(),
            breakers=self._breakers(),
            planes=self._peers.statuses(),
        )

    def figures(self) -> Figures:
        """What Prometheus is told; of proxies only what this control plane hears itself."""
        return Figures(
            revision=self._feed.world.revision if self._feed.world else 0,
            store_up=self._store.state.state == "ok",
            proxies=self._xds.proxies(),
            reports=self._reports.current(time.monotonic()),
            instances=tuple(picture.instances(self._feed.world)),
            breakers=self._breakers(),
            planes=self._peers.statuses(),
        )

    def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with what it told of itself."""
        return picture.proxies(self._sharing.proxies(), self._sharing.pending(), self._sharing.reports())

    def _setting(self) -> Setting:
        translation = self._feed.translation
        resolver = translation.resolver if translation else None
        proxies = self._sharing.proxies()
        return self._telemetry.setting(self._feed.world, resolver, self._breakers(), proxies)

    def _problems(self) -> tuple[str, ...]:
        """What failed inside, in words."""
        reason = self._store.state.reason
        return (*((reason,) if reason else ()), *self._feed.problems(), *self._telemetry.problems())

    def _breakers(self) -> tuple[Breaker, ...]:
        """The breakers as they are, or were a moment ago: many may ask, again and again."""
        now = time.monotonic()
        translation = self._feed.translation
        if translation is not None and now - self._looked >= BREAKERS_EVERY:
            told = self._sharing.reports()
            attachments, services = translation.resolver.attachments, translation.world.services
            self._looked, self._last_breakers = now, breakers(attachments, services, told)
        return self._last_breakers

    def _resources_diff(self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]) -> str:
        return picture.resources_diff(self._feed.translation, before, after)

    async def _reaches(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        request = json.dumps([before, after], default=dict).encode()
        here = asyncio.to_thread(self._reached, before, after)
        elsewhere = self._peers.everyone(REACHES, request, within=REACHES_WITHIN)
        own, answers = await asyncio.gather(here, elsewhere)
        return tuple(sorted({*own, *(str(name) for answer in answers for name in json.loads(answer))}))

    async def _reaches_here(self, request: bytes) -> bytes:
        try:
            before, after = json.loads(request)
        except ValueError:
            raise InputError(f"{REACHES}: not understood") from None
        return json.dumps(await asyncio.to_thread(self._reached, before, after)).encode()

    def _reached(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        return picture.reached(self._feed.translation, before, after, self._xds.queue.touched)
