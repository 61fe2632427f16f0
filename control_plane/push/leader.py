"""Leads the push of a revision: observes, decides by `step`, writes the result to the store.

Of several control planes the holder of a lease leads. All of them serve what the record in the store says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.push import Push, PushReport
from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import RevisionConflictError, StoreError
from meshwright.control_plane.push import metrics
from meshwright.control_plane.push.judge import ProxyTraffic
from meshwright.control_plane.push.memory import TrafficMemory
from meshwright.control_plane.push.observer import PushObserver
from meshwright.control_plane.push.step import Promote, PushObservation, Withdraw, step
from meshwright.control_plane.push.withdrawal import Withdrawals
from meshwright.control_plane.reconciler import ConfigReconciler

MIN_PAUSE, MAX_PAUSE = 0.1, 1.0
"""Seconds between two looks: ten times as long as one takes, within these bounds."""

SETTLE_SECONDS = 10.0
"""Seconds for which a control plane that starts, or takes over, waits for proxies to connect again."""

AUTHOR = "mesh push"
"""The author of a withdrawal that no person made."""

log = structlog.get_logger(__name__)


class ProxySource(Protocol):
    """Every proxy of the mesh, and its traffic."""

    async def fresh_proxies(self) -> Sequence[ProxyStatus]:
        """The proxies, those of other control planes read at most moments ago."""

    def proxy_traffic(self, services: Iterable[str], since: Mapping[str, float]) -> Sequence[ProxyTraffic]:
        """The requests of the last seconds of each proxy of these services, counted since monotonic times."""


class PushLeader:
    """One control plane's part in pushes; `id` names it."""

    def __init__(
        self,
        id: str,
        withdrawals: Withdrawals,
        reconciler: ConfigReconciler,
        proxies: ProxySource,
        settings: Settings,
    ) -> None:
        self._id = id
        self._pushes = withdrawals.pushes
        self._reconciler = reconciler
        self._proxies = proxies
        self._withdrawals = withdrawals
        self._memory = TrafficMemory(proxies.proxy_traffic, reconciler)
        self._remembers = settings.push == "staged"
        self._observer = PushObserver(settings.push_watch, self._memory.before)
        self._led = 0
        self._first_wave = 0
        self._settles_at = time.monotonic() + SETTLE_SECONDS

    async def run(self) -> None:
        """Lead whatever is under way until cancelled, and remember what services do before."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lead())
            if self._remembers:
                tasks.create_task(self._memory.run())

    async def _lead(self) -> None:
        while True:
            await self._reconciler.push_under_way.wait()
            started = time.monotonic()
            try:
                await self._look()
            except (StoreError, RevisionConflictError) as error:
                log.debug("the push waits", reason=str(error))
            pause = 10 * (time.monotonic() - started)
            await asyncio.sleep(min(MAX_PAUSE, max(MIN_PAUSE, pause)))

    async def _look(self) -> None:
        report = await self._pushes.read()
        build = self._reconciler.published
        if not report.is_under_way or build is None or build.push.generation != report.generation:
            return
        if not await self._pushes.lead(self._id):
            metrics.WAVE.set(0)
            self._led = 0
            return
        push = report.push or Push(revision=report.newest)
        if self._led != push.revision:
            await self._begin_to_lead(report, push)
            return
        if build.failure:
            await self._withdrawals.withdraw(report, build.failure, AUTHOR)
            return
        proxies = await self._proxies.fresh_proxies()
        if self._is_settling(build.stable.world, proxies):
            return
        services = {proxy.service for proxy in proxies if proxy.trial_revision == push.revision}
        services |= {key.partition("/")[0] for key in push.admitted}
        since = self._observer.watched_since(push, proxies, time.monotonic())
        traffic = self._proxies.proxy_traffic(services, since)
        seen = self._observer.observe(push, proxies, build.stable.world, traffic, time.time())
        taken_over = 0 < push.wave == self._first_wave
        together = push.wave == 0 and build.changes_transport()
        await self._act(report, push, replace(seen, taken_over=taken_over, together=together))

    async def _begin_to_lead(self, report: PushReport, push: Push) -> None:
        """A wave that another leader has begun is waited for and watched again, from now on."""
        if push.wave:
            self._settles_at = time.monotonic() + SETTLE_SECONDS
            phase = "after" if push.phase == "after" else "acks"
            again = push.model_copy(update={"phase": phase, "since": time.time()})
            if not await self._pushes.save(report, again):
                return
        self._led, self._first_wave = push.revision, push.wave

    async def _act(self, report: PushReport, push: Push, seen: PushObservation) -> None:
        after = step(push, seen)
        if isinstance(after, Withdraw):
            await self._withdrawals.withdraw(report, after.reason, AUTHOR)
            metrics.ENDED.labels("withdrawn").inc()
        elif isinstance(after, Promote):
            await self._promote(report, push, after.after, seen.figures)
        elif after != push:
            if after.wave > push.wave:
                log.info("push: next wave", revision=push.revision, wave=after.wave, proxies=after.current)
            await self._pushes.save(report, after)
        current = after if isinstance(after, Push) and report.on_trial else Push(revision=0)
        metrics.WAVE.set(current.wave)
        metrics.ADMITTED.set(len(current.admitted))
        metrics.AFFECTED.set(current.affected)

    async def _promote(self, report: PushReport, push: Push, after: Push | None, figures: str) -> None:
        if after:
            after = after.model_copy(update={"restores": report.stable})
        if not await self._pushes.promote(report, after):
            return
        if report.on_trial:
            log.info("revision in force", revision=push.revision, waves=push.wave, figures=figures)
        if not after:
            metrics.ENDED.labels("promoted").inc()

    def _is_settling(self, world: World, proxies: Sequence[ProxyStatus]) -> bool:
        """Whether proxies of registered instances may not have connected yet: they would be overlooked."""
        if time.monotonic() >= self._settles_at:
            return False
        connected = {(proxy.service, proxy.name) for proxy in proxies if proxy.state != "disconnected"}
        return any(
            (service.name, instance.name) not in connected
            for service in world.services.values()
            for instance in service.instances
        )
