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

from meshwright.control_plane.api.models.base import InstanceHealth, ProxyReport, Registration, SignResponse
from meshwright.control_plane.api.models.commands import COMMANDS_LIMIT, CommandResult, ProxyCommand, ProxyRef
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE
from meshwright.sidecar import svid as svid_module
from meshwright.sidecar import svid_rotation
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.control_plane_client import (
    ControlPlaneClient,
    RejectedError,
    UnavailableError,
    enrol,
    generate_key,
)
from meshwright.sidecar.files import write_private

log = structlog.get_logger(__name__)

LEASE_RENEWAL_INTERVAL = 2.0
"""Seconds between renewals of a lease: a third of its time to live."""

EMPTY_POLL_DELAY = 1.0
"""Seconds between fetches that end at once with nothing: another agent fetches for the same proxy."""

ProblemCallback = Callable[[Literal["identity", "lease"], str], None]
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
        problem: ProblemCallback,
    ) -> None:
        self._workload = workload
        self._config = config
        self._folder = folder
        self._session = session
        self._problem = problem
        self._log = log.bind(workload=workload.name)
        self._spiffe_id = Identity(config.trust_domain, workload.role, workload.service).uri
        self._client: ControlPlaneClient | None = None
        self._svid: svid_module.Svid | None = None
        self._registration: Registration | None = None
        self._lease_lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._unavailable = False
        self._running_commands: set[asyncio.Task[None]] = set()

    async def enrol(self) -> None:
        """Get the first SVID, however long it takes, and keep it fresh from then on."""
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            try:
                await self._install(await self._enrol_once())
                break
            except (UnavailableError, RejectedError, ValueError, OSError) as error:
                self._report_failure("identity", f"enrolment: {error}")
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  spread, not secrecy
        self._report_success("identity")
        self._tasks.append(asyncio.create_task(self._rotate()))

    def register(self, registration: Registration) -> None:
        """Say this of the instance from now on, at once and then every `RENEWAL` seconds."""
        first = self._registration is None
        self._registration = registration
        self._changed.set()
        if first:
            self._tasks.append(asyncio.create_task(self._keep_lease()))

    @property
    def svid_expiry(self) -> float:
        """The end of the SVID's life in seconds since the epoch; 0 before the first."""
        return self._svid.not_after if self._svid else 0.0

    async def report(self, report: ProxyReport) -> bool:
        """Tell the control plane of the proxy; whether it heard. What is wrong with it shows elsewhere."""
        if self._client is None:
            return False
        try:
            await self._client.report(report)
        except (UnavailableError, RejectedError) as error:
            self._log.debug("cannot report", why=str(error))
            return False
        return True

    def serve_commands(self, respond: Callable[[ProxyCommand], Awaitable[CommandResult]]) -> None:
        """Have what is asked of the proxy answered from now on, several asks at once."""
        self._tasks.append(asyncio.create_task(self._poll_commands(respond)))

    async def drain(self) -> None:
        """Have every caller let go of this instance; when nobody answers, that has to do."""
        if self._client is None or self._registration is None:
            return
        async with self._lease_lock:
            # Said before the drain and under the lock: a renewal on its way must not undo it.
            try:
                await self._client.register(self._registration)
                result = await self._client.drain(self._workload.name)
            except (UnavailableError, RejectedError, ValueError) as error:
                self._log.warning("cannot drain", why=str(error))
                return
        if not result.drained:
            self._log.warning("drained in part", waiting=list(result.waiting))

    async def deregister(self) -> None:
        """End the lease and the connection."""
        tasks = (*self._tasks, *self._running_commands)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        plane, self._client = self._client, None
        if plane is None:
            return
        if self._registration is not None:
            try:
                await plane.deregister(self._workload.name)
            except (UnavailableError, RejectedError) as error:
                self._log.warning("cannot deregister: the lease will expire", why=str(error))
        await plane.close()

    async def _enrol_once(self) -> svid_module.Svid:
        token = await asyncio.to_thread(self._workload.token_file.read_text)
        key = generate_key()
        csr = svid_module.create_csr(key, self._spiffe_id)
        signed = await enrol(self._session, self._config.addresses.enrolment, token.strip(), csr)
        return svid_module.assemble_svid(key, signed, self._spiffe_id)

    async def _renew(self) -> svid_module.Svid:
        """A new SVID by the old one, or by the join token when the old one no longer counts."""
        if (
            self._svid is None
            or self._client is None
            or svid_rotation.renewal_method(self._svid.not_after, time.time()) == "enrol"
        ):
            return await self._enrol_once()
        key = generate_key()
        signed: SignResponse = await self._client.renew(svid_module.create_csr(key, self._spiffe_id))
        return svid_module.assemble_svid(key, signed, self._spiffe_id)

    async def _install(self, svid: svid_module.Svid) -> None:
        """Use `svid` from now on: for Envoy by its files, for ourselves by a new connection."""
        write_private(self._folder / BUNDLE_FILE, svid_module.bundle_secret(svid, self._config.trust_domain))
        write_private(self._folder / IDENTITY_FILE, svid_module.identity_secret(svid))
        before, self._client = self._client, ControlPlaneClient(self._config.addresses.xds, svid)
        self._svid = svid
        self._log.info("identity written", uri=self._spiffe_id, expires=int(svid.not_after))
        if before is not None:
            await before.close()

    async def _rotate(self) -> None:
        failures = 0
        while self._svid is not None:
            dice, now = random.random(), time.time()  # noqa: S311  spread, not secrecy
            if failures:
                wait = svid_rotation.retry_delay(failures, self._svid.not_after - now, dice)
            else:
                wait = svid_rotation.next_rotation(now, self._svid.not_after, dice) - now
            await asyncio.sleep(max(svid_rotation.MIN_DELAY, wait))
            try:
                await self._install(await self._renew())
                failures = 0
                self._report_success("identity")
            except (UnavailableError, RejectedError, ValueError, OSError) as error:
                failures += 1
                self._report_failure("identity", f"renewal of the identity: {error}")

    async def _keep_lease(self) -> None:
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            self._changed.clear()
            backoff = backoff.worked() if await self._register_once() else backoff.failed()
            dice = random.random()  # noqa: S311  spread, not secrecy
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), backoff.delay(dice) or LEASE_RENEWAL_INTERVAL)

    async def _poll_commands(self, respond: Callable[[ProxyCommand], Awaitable[CommandResult]]) -> None:
        proxy = ProxyRef(node=self._workload.name, service=self._workload.service)
        backoff = Backoff(base=0.1, cap=1.0)
        while True:
            try:
                if self._client is None:
                    raise UnavailableError("not enrolled")
                began = time.monotonic()
                asks = (await self._client.fetch_commands(proxy)).commands
                backoff = backoff.worked()
                if not asks and time.monotonic() - began < EMPTY_POLL_DELAY:
                    await asyncio.sleep(EMPTY_POLL_DELAY)
            except (UnavailableError, RejectedError, ValueError) as error:
                self._log.debug("cannot fetch what is asked", why=str(error))
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  spread, not secrecy
                continue
            for ask in asks[: COMMANDS_LIMIT - len(self._running_commands)]:
                task = asyncio.create_task(self._run_command(ask, respond))
                self._running_commands.add(task)
                task.add_done_callback(self._running_commands.discard)

    async def _run_command(
        self, ask: ProxyCommand, respond: Callable[[ProxyCommand], Awaitable[CommandResult]]
    ) -> None:
        answer = await respond(ask)
        try:
            if self._client is not None:
                await self._client.send_result(answer)
        except (UnavailableError, RejectedError) as error:
            self._log.warning("cannot answer", kind=ask.kind, why=str(error))

    async def _register_once(self) -> bool:
        if self._client is None or self._registration is None:
            return False
        async with self._lease_lock:
            try:
                await self._client.register(self._registration)
            except (UnavailableError, RejectedError, ValueError) as error:
                self._report_failure("lease", f"registration: {error}")
                return False
        self._report_success("lease")
        return True

    def _report_failure(self, part: Literal["svid_module", "lease"], why: str) -> None:
        self._problem(part, why)
        if not self._unavailable:
            self._log.warning("control plane does not help", why=why)
        self._unavailable = True

    def _report_success(self, part: Literal["svid_module", "lease"]) -> None:
        self._problem(part, "")
        if self._unavailable:
            self._log.info("control plane is back")
        self._unavailable = False


def build_registration(
    workload: Workload, advertise: str, inbound: int, health: InstanceHealth
) -> Registration:
    """How `workload` presents itself: its sidecar's inbound listener, never the app's own port."""
    return Registration(
        instance=workload.name,
        service=workload.service,
        address=advertise,
        port=inbound,
        ports=tuple(port.service_port for port in workload.ports),
        labels=tuple(sorted(workload.labels.items())),
        health=health,
    )
