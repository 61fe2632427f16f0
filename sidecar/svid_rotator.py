"""A workload's identity: enrols for its first SVID and renews it for as long as the workload lives."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import structlog

from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE
from meshwright.sidecar import svid_rotation
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.clock import Clock
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.enrolment import enrol, request_timeout
from meshwright.sidecar.errors import RejectedError, UnavailableError
from meshwright.sidecar.files import write_private
from meshwright.sidecar.outage_log import OutageLog
from meshwright.sidecar.svid import (
    Svid,
    assemble_svid,
    bundle_secret,
    create_csr,
    generate_key,
    identity_secret,
    parse_secrets,
)

log = structlog.get_logger(__name__)

_ERRORS = (UnavailableError, RejectedError, ValueError, OSError)

MIN_REMAINING = 2.0
"""Seconds that a running Envoy's SVID must have left for its agent to go on with it instead of enrolling."""


class SvidRotator:
    """Keeps the SVID of one workload valid and written where its Envoy reads it.

    `renew` gets a certificate signed on the strength of the present SVID. `on_install` receives each new SVID
    once it is written. `clock` gives the time of day.
    """

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        folder: Path,
        session: aiohttp.ClientSession,
        outages: OutageLog,
        *,
        renew: Callable[[str], Awaitable[SignResponse]],
        on_install: Callable[[Svid], Awaitable[None]],
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock(time.time)
        self._workload = workload
        self._config = config
        self._folder = folder
        self._session = session
        self._outages = outages
        self._renew = renew
        self._on_install = on_install
        self._log = log.bind(workload=workload.name)
        self._spiffe_id = Identity(config.trust_domain, workload.role, workload.service).uri
        self._svid: Svid | None = None

    @property
    def expiry(self) -> float:
        """When the SVID expires, in seconds since the epoch; 0 before the first."""
        return self._svid.not_after if self._svid else 0.0

    async def enrol(self) -> None:
        """Get the first SVID, retrying until it works."""
        backoff = Backoff(base=0.2, cap=1.0)
        while True:
            try:
                await self._install(await self._enrol_once(backoff.failures))
                break
            except _ERRORS as error:
                self._outages.failed("identity", f"enrolment: {error}")
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  jitter, not secrecy
        self._outages.worked("identity")

    async def restore(self) -> bool:
        """Go on with the SVID that the running Envoy reads; False if there is none, or not for long."""
        try:
            identity = (self._folder / IDENTITY_FILE).read_text()
            svid = parse_secrets(identity, (self._folder / BUNDLE_FILE).read_text(), self._spiffe_id)
        except (OSError, ValueError) as error:
            self._log.info("cannot go on with the SVID", reason=str(error))
            return False
        if svid.not_after - self._clock.now() < MIN_REMAINING:
            return False
        self._svid = svid
        await self._on_install(svid)
        return True

    async def run(self) -> None:
        """Renew the SVID until cancelled."""
        failures = 0
        while self._svid is not None:
            await self._wait_until_due(self._svid, failures)
            try:
                await self._install(await self._renew_once(self._svid, failures))
                failures = 0
                self._outages.worked("identity")
            except _ERRORS as error:
                failures += 1
                self._outages.failed("identity", f"SVID renewal: {error}")

    async def _wait_until_due(self, svid: Svid, failures: int) -> None:
        """Wait until the SVID is to be renewed, or to be tried again after `failures`, by the time of day."""
        jitter, since = random.random(), self._clock.now()  # noqa: S311  jitter, not secrecy
        if failures:
            due = since + svid_rotation.retry_delay(failures, svid.not_after - since, jitter)
        else:
            due = svid_rotation.next_rotation(since, svid.not_after, jitter)
        await self._clock.sleep(svid_rotation.check_delay(due, since))
        while not svid_rotation.is_due(since, due, now := self._clock.now()):
            await self._clock.sleep(svid_rotation.check_delay(due, now))

    async def _enrol_once(self, failures: int = 0) -> Svid:
        # Read at each attempt, so that the token file can be replaced in time.
        token = await asyncio.to_thread(self._workload.token_file.read_text)
        key = generate_key()
        csr = create_csr(key, self._spiffe_id)
        address, seconds = self._config.addresses.enrolment, request_timeout(failures)
        signed = await enrol(self._session, address, token.strip(), csr, seconds)
        return assemble_svid(key, signed, self._spiffe_id)

    async def _renew_once(self, svid: Svid, failures: int) -> Svid:
        """A new SVID after so many failed attempts, by the join token if the present one has expired."""
        if svid_rotation.renewal_method(svid.not_after, self._clock.now()) == "enrol":
            return await self._enrol_once(failures)
        key = generate_key()
        signed = await self._renew(create_csr(key, self._spiffe_id))
        return assemble_svid(key, signed, self._spiffe_id)

    async def _install(self, svid: Svid) -> None:
        """Write the secrets that Envoy watches, then hand the SVID to `on_install`."""
        write_private(self._folder / BUNDLE_FILE, bundle_secret(svid, self._config.trust_domain))
        write_private(self._folder / IDENTITY_FILE, identity_secret(svid))
        self._svid = svid
        self._log.info("SVID installed", spiffe_id=self._spiffe_id, expires=int(svid.not_after))
        await self._on_install(svid)
