"""One workload's membership of the mesh: its SVID, its lease, and the commands for its proxy."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import structlog

from meshwright.control_plane.api.models.commands import CommandResult, ProxyCommand, ProxyRef
from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.models.instances import InstanceCondition, Registration
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.sidecar.advertised_address import AdvertisedAddress
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.command_poll import CommandPoll
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.control_plane_client import ControlPlaneClient
from meshwright.sidecar.errors import RejectedError, UnavailableError
from meshwright.sidecar.outage_log import OutageLog, ProblemCallback
from meshwright.sidecar.svid import Svid
from meshwright.sidecar.svid_rotator import SvidRotator
from meshwright.sidecar.tasks import TaskSet

log = structlog.get_logger(__name__)

LEASE_RENEWAL_INTERVAL = 2.0
"""Seconds between renewals of a lease: a third of its TTL."""

BuildRegistration = Callable[[str], Registration]
"""The registration of a workload with this IP address."""


class Membership:
    """All of a workload's communication with the control plane.

    The control plane may be unavailable for any time. What can wait is retried, at most a second apart.
    """

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        folder: Path,
        session: aiohttp.ClientSession,
        on_problem: ProblemCallback,
        *,
        address: AdvertisedAddress,
    ) -> None:
        self._address = address
        self._workload = workload
        self._config = config
        self._log = log.bind(workload=workload.name)
        self._outages = OutageLog(workload.name, on_problem)
        self._identity = SvidRotator(
            workload,
            config,
            folder,
            session,
            self._outages,
            renew=self._renew,
            on_install=self._connect,
        )
        self._client: ControlPlaneClient | None = None
        self._build_registration: BuildRegistration | None = None
        self._lease_lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks = TaskSet(workload.name, lambda error: on_problem("membership", error))

    @property
    def svid_expiry(self) -> float:
        """When the SVID expires, in seconds since the epoch; 0 before the first."""
        return self._identity.expiry

    async def enrol(self, *, reuse: bool = False) -> None:
        """Get the first SVID, retrying until it works, and keep it renewed from then on.

        `reuse`: go on with the one that the running Envoy has, if it is valid.
        """
        if not (reuse and await self._identity.restore()):
            await self._identity.enrol()
        self._tasks.keep(self._identity.run)

    def register(self, build: BuildRegistration) -> None:
        """Register now, or change the registration; then renew the lease every LEASE_RENEWAL_INTERVAL."""
        first = self._build_registration is None
        self._build_registration = build
        self._changed.set()
        if first:
            self._tasks.keep(self._keep_lease)

    async def report(self, report: ProxyReport) -> bool:
        """Send a proxy's report and return whether it arrived. The lease's renewal shows what is wrong."""
        if self._client is None:
            return False
        try:
            await self._client.report(report)
        except (UnavailableError, RejectedError) as error:
            self._log.debug("cannot send a report", reason=str(error))
            return False
        return True

    def serve_commands(self, handle: Callable[[ProxyCommand], Awaitable[CommandResult]]) -> None:
        """Run the commands for the proxy from now on."""
        proxy = ProxyRef(node=self._workload.name, service=self._workload.service)
        poll = CommandPoll(proxy, lambda: self._client, handle)
        self._tasks.keep(poll.run)

    async def drain(self) -> None:
        """Wait until callers have stopped sending to this instance, as far as the control plane responds."""
        if self._client is None or self._build_registration is None:
            return
        async with self._lease_lock:
            # Registered before the drain and under the lock: an in-flight renewal must not undo it.
            try:
                await self._client.register(self._build_registration(await self._address.current()))
                result = await self._client.drain(self._workload.name)
            except (UnavailableError, RejectedError, ValueError) as error:
                self._log.warning("cannot drain", reason=str(error))
                return
        if not result.drained:
            self._log.warning("drain incomplete", waiting_for=list(result.waiting))

    async def deregister(self, failure: str = "") -> None:
        """End the lease and close the connection. `failure` says why the app did not end as planned."""
        await self._tasks.cancel_all()
        client, self._client = self._client, None
        if client is None:
            return
        if self._build_registration is not None:
            try:
                await client.deregister(self._workload.name, failure)
            except (UnavailableError, RejectedError) as error:
                self._log.warning("cannot deregister: the lease will expire", reason=str(error))
        await client.close()

    async def _renew(self, csr: str) -> SignResponse:
        if self._client is None:
            raise UnavailableError("not enrolled")
        return await self._client.renew(csr)

    async def _connect(self, svid: Svid) -> None:
        """Connect with the new SVID and close the connection of the previous one."""
        previous, self._client = self._client, ControlPlaneClient(self._config.addresses.xds, svid)
        if previous is not None:
            await previous.close()

    async def _keep_lease(self) -> None:
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            self._changed.clear()
            backoff = backoff.worked() if await self._register_once() else backoff.failed()
            jitter = random.random()  # noqa: S311  jitter, not secrecy
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), backoff.delay(jitter) or LEASE_RENEWAL_INTERVAL)

    async def _register_once(self) -> bool:
        if self._client is None or self._build_registration is None:
            return False
        async with self._lease_lock:
            try:
                await self._client.register(self._build_registration(await self._address.current()))
            except (UnavailableError, RejectedError, ValueError) as error:
                self._outages.failed("lease", f"registration: {error}")
                return False
        self._outages.worked("lease")
        return True


def build_registration(
    workload: Workload, address: str, inbound: int, condition: InstanceCondition
) -> Registration:
    """The registration of `workload`: `address` and `inbound` are its sidecar's listener, never the app's."""
    return Registration(
        instance=workload.name,
        service=workload.service,
        role=workload.role,
        address=address,
        port=inbound,
        ports=tuple(port.service_port for port in workload.ports),
        labels=tuple(sorted(workload.labels.items())),
        health_path=workload.health.path or "",
        **condition.model_dump(),
    )
