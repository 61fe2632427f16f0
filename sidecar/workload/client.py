"""One workload's membership of the mesh: its identity, kept fresh, and its lease, kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import aiohttp
import structlog

from control_plane.api.asked import ASKS_LIMIT, Answer, Ask, ProxyRef
from control_plane.api.spiffe import Identity
from control_plane.api.state import BUNDLE_FILE, IDENTITY_FILE
from control_plane.api.types import Health, ProxyReport, Registration, Signed
from sidecar import identity, rotation
from sidecar.backoff import Backoff
from sidecar.client import AwayError, ControlPlane, RefusedError, enrol, new_key
from sidecar.config import AgentConfig, Workload
from sidecar.files import write_private

log = structlog.get_logger(__name__)

RENEWAL = 2.0
"""Seconds between renewals of a lease: a third of its time to live."""

QUIET = 1.0
"""Seconds between fetches that end at once with nothing: another agent fetches for the same proxy."""

Problem = Callable[[Literal["identity", "lease"], str], None]
"""Told what is wrong, and with an empty string that it no longer is."""


class Membership:
    """Everything a workload says to the control plane.

    The control plane may be away for any time: what can wait is tried again, at most a second apart, and an
    outage is logged once.
    """

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        folder: Path,
        session: aiohttp.ClientSession,
        problem: Problem,
    ) -> None:
        self._workload = workload
        self._config = config
        self._folder = folder
        self._session = session
        self._problem = problem
        self._log = log.bind(workload=workload.name)
        self._uri = Identity(config.trust_domain, workload.role, workload.service).uri
        self._plane: ControlPlane | None = None
        self._svid: identity.Svid | None = None
        self._registration: Registration | None = None
        self._renewing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._away = False
        self._asked: set[asyncio.Task[None]] = set()

    async def enrol(self) -> None:
        """Get the first SVID, however long it takes, and keep it fresh from then on."""
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            try:
                await self._take(await self._enrolled())
                break
            except (AwayError, RefusedError, ValueError, OSError) as error:
                self._failed("identity", f"enrolment: {error}")
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  spread, not secrecy
        self._worked("identity")
        self._tasks.append(asyncio.create_task(self._rotate()))

    def announce(self, registration: Registration) -> None:
        """Say this of the instance from now on, at once and then every `RENEWAL` seconds."""
        first = self._registration is None
        self._registration = registration
        self._changed.set()
        if first:
            self._tasks.append(asyncio.create_task(self._keep_lease()))

    @property
    def expires(self) -> float:
        """The end of the SVID's life in seconds since the epoch; 0 before the first."""
        return self._svid.not_after if self._svid else 0.0

    async def report(self, report: ProxyReport) -> bool:
        """Tell the control plane of the proxy; whether it heard. What is wrong with it shows elsewhere."""
        if self._plane is None:
            return False
        try:
            await self._plane.report(report)
        except (AwayError, RefusedError) as error:
            self._log.debug("cannot report", why=str(error))
            return False
        return True

    def listen(self, respond: Callable[[Ask], Awaitable[Answer]]) -> None:
        """Have what is asked of the proxy answered from now on, several asks at once."""
        self._tasks.append(asyncio.create_task(self._listen(respond)))

    async def drain(self) -> None:
        """Have every caller let go of this instance; when nobody answers, that has to do."""
        if self._plane is None or self._registration is None:
            return
        async with self._renewing:
            # Said before the drain and under the lock: a renewal on its way must not undo it.
            try:
                await self._plane.register(self._registration)
                result = await self._plane.drain(self._workload.name)
            except (AwayError, RefusedError, ValueError) as error:
                self._log.warning("cannot drain", why=str(error))
                return
        if not result.drained:
            self._log.warning("drained in part", waiting=list(result.waiting))

    async def leave(self) -> None:
        """End the lease and the connection."""
        tasks = (*self._tasks, *self._asked)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        plane, self._plane = self._plane, None
        if plane is None:
            return
        if self._registration is not None:
            try:
                await plane.deregister(self._workload.name)
            except (AwayError, RefusedError) as error:
                self._log.warning("cannot deregister: the lease will expire", why=str(error))
        await plane.close()

    async def _enrolled(self) -> identity.Svid:
        token = await asyncio.to_thread(self._workload.token_file.read_text)
        key = new_key()
        csr = identity.request(key, self._uri)
        signed = await enrol(self._session, self._config.addresses.enrolment, token.strip(), csr)
        return identity.svid(key, signed, self._uri)

    async def _renewed(self) -> identity.Svid:
        """A new SVID by the old one, or by the join token when the old one no longer counts."""
        if (
            self._svid is None
            or self._plane is None
            or rotation.way(self._svid.not_after, time.time()) == "enrol"
        ):
            return await self._enrolled()
        key = new_key()
        signed: Signed = await self._plane.renew(identity.request(key, self._uri))
        return identity.svid(key, signed, self._uri)

    async def _take(self, svid: identity.Svid) -> None:
        """Use `svid` from now on: for Envoy by its files, for ourselves by a new connection."""
        write_private(self._folder / BUNDLE_FILE, identity.bundle_file(svid, self._config.trust_domain))
        write_private(self._folder / IDENTITY_FILE, identity.identity_file(svid))
        before, self._plane = self._plane, ControlPlane(self._config.addresses.xds, svid)
        self._svid = svid
        self._log.info("identity written", uri=self._uri, expires=int(svid.not_after))
        if before is not None:
            await before.close()

    async def _rotate(self) -> None:
        failures = 0
        while self._svid is not None:
            dice, now = random.random(), time.time()  # noqa: S311  spread, not secrecy
            if failures:
                wait = rotation.retry_after(failures, self._svid.not_after - now, dice)
            else:
                wait = rotation.due(now, self._svid.not_after, dice) - now
            await asyncio.sleep(max(rotation.SHORTEST, wait))
            try:
                await self._take(await self._renewed())
                failures = 0
                self._worked("identity")
            except (AwayError, RefusedError, ValueError, OSError) as error:
                failures += 1
                self._failed("identity", f"renewal of the identity: {error}")

    async def _keep_lease(self) -> None:
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            self._changed.clear()
            backoff = backoff.worked() if await self._register() else backoff.failed()
            dice = random.random()  # noqa: S311  spread, not secrecy
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), backoff.delay(dice) or RENEWAL)

    async def _listen(self, respond: Callable[[Ask], Awaitable[Answer]]) -> None:
        proxy = ProxyRef(node=self._workload.name, service=self._workload.service)
        backoff = Backoff(base=0.1, cap=1.0)
        while True:
            try:
                if self._plane is None:
                    raise AwayError("not enrolled")
                began = time.monotonic()
                asks = (await self._plane.fetch(proxy)).asks
                backoff = backoff.worked()
                if not asks and time.monotonic() - began < QUIET:
                    await asyncio.sleep(QUIET)
            except (AwayError, RefusedError, ValueError) as error:
                self._log.debug("cannot fetch what is asked", why=str(error))
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  spread, not secrecy
                continue
            for ask in asks[: ASKS_LIMIT - len(self._asked)]:
                task = asyncio.create_task(self._respond(ask, respond))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)

    async def _respond(self, ask: Ask, respond: Callable[[Ask], Awaitable[Answer]]) -> None:
        answer = await respond(ask)
        try:
            if self._plane is not None:
                await self._plane.answer(answer)
        except (AwayError, RefusedError) as error:
            self._log.warning("cannot answer", kind=ask.kind, why=str(error))

    async def _register(self) -> bool:
        if self._plane is None or self._registration is None:
            return False
        async with self._renewing:
            try:
                await self._plane.register(self._registration)
            except (AwayError, RefusedError, ValueError) as error:
                self._failed("lease", f"registration: {error}")
                return False
        self._worked("lease")
        return True

    def _failed(self, part: Literal["identity", "lease"], why: str) -> None:
        self._problem(part, why)
        if not self._away:
            self._log.warning("control plane does not help", why=why)
        self._away = True

    def _worked(self, part: Literal["identity", "lease"]) -> None:
        self._problem(part, "")
        if self._away:
            self._log.info("control plane is back")
        self._away = False


def registration(workload: Workload, advertise: str, inbound: int, health: Health) -> Registration:
    """How `workload` presents itself: its sidecar's inbound listener, never the app's own port."""
    return Registration(
        instance=workload.name,
        service=workload.service,
        address=advertise,
        port=inbound,
        ports=tuple(port.public for port in workload.ports),
        labels=tuple(sorted(workload.labels.items())),
        health=health,
    )
