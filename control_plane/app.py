"""The composition root: the store feeds worlds, worlds become snapshots, snapshots are served.

Read it as the architecture: what is made here, in this order, is what there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from pathlib import Path

import structlog
from prometheus_client import REGISTRY

from control_plane.admin import server as admin
from control_plane.admin import targets
from control_plane.agents.asks.app import Asks
from control_plane.agents.reports import Reports
from control_plane.agents.server import AgentService
from control_plane.api.operations import PREFIX
from control_plane.api.spiffe import Identity
from control_plane.api.state import Addresses
from control_plane.api.tokens import Claims
from control_plane.api.types import DrainResult, ProxyReport, Signed
from control_plane.ca.app import CertificateAuthority, open_authority
from control_plane.ca.server import EnrolmentServer
from control_plane.config import Settings
from control_plane.draining import drained
from control_plane.errors import InputError, StoreError
from control_plane.events.app import Watch
from control_plane.feed import DEBOUNCE, Feed
from control_plane.join_tokens import JoinTokens
from control_plane.memory import Memory
from control_plane.mtls.server import Credentials
from control_plane.overview.app import Overview
from control_plane.overview.asking import Asking
from control_plane.overview.figures import Told
from control_plane.overview.metrics import GENERATION, LAG
from control_plane.peers.app import Peers
from control_plane.secret_files import password
from control_plane.store.embedded import locate
from control_plane.store.redis import Store
from control_plane.telemetry.app import Telemetry
from control_plane.xds.server import XdsServer

log = structlog.get_logger(__name__)

SWEEP_EVERY = 0.5
"""Seconds between looks for leases that ended: short against a lease, nothing against the store."""

LAG_EVERY = 0.25
"""Seconds between two looks at how late the event loop is."""

RETRY_EVERY = 0.5
"""Seconds until a failed read of the store is tried again."""

USES_EVERY = 1.0
"""Seconds between two times that uses of join tokens are put on record."""

DRAINED = "Drained"
"""The method by which a control plane is asked to wait until its sidecars have acknowledged a drain."""

PEERS_DRAIN_LIMIT = 4.0
"""Seconds that others have for that; less than a drain has in all."""

RENEWAL_CHECK = 5.0
"""Seconds between looks whether the control plane's own certificate is past half of its life."""

GC_THRESHOLDS = (2_000, 5, 100_000)
"""Streams and snapshots live long; the default thresholds walk them for nothing (measured: half the CPU).

What is young is walked at once while everybody waits, so that is kept few: a tenth of a millisecond for each
thousand objects.
"""


class ControlPlane:
    """Everything that runs in the control plane's process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.authority = open_authority(settings)
        self.store = _store(settings)
        self.reports = Reports()
        self.asks = Asks()
        self.peers = Peers(self.store.planes, lambda: _credentials(self.authority), settings.trust_domain)
        self.xds = XdsServer(
            settings.bind,
            settings.xds_port,
            settings.trust_domain,
            _credentials(self.authority),
            handlers=(self._agents().handlers(), self.peers.service()),
            connection_age=settings.svid_ttl,
        )
        self.telemetry = Telemetry(settings, _credentials(self.authority))
        self.feed = Feed(settings.trust_domain, self.xds.publish)
        self.overview = Overview(
            self.store,
            self.feed,
            self.xds,
            self.reports,
            self.telemetry,
            peers=self.peers,
            trust_domain=settings.trust_domain,
        )
        self.peers.answers(DRAINED, self._drained_here)
        self.watch = Watch(self.store, self.overview.picture)
        self.asking = Asking(self.asks, self.peers, self.overview.owner, self.watch.by_hand)
        self.tokens = JoinTokens(self.store.tokens, self.authority.mint, settings.trust_domain, time.time)
        self.enrolment = EnrolmentServer(
            self.authority, settings.bind, settings.enrolment_port, self._admit, self.watch.refused
        )
        self._changed = asyncio.Event()
        self._tokens_changed = asyncio.Event()
        self._memory = Memory(settings.state / "revision")

    # --- life -------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; raises InputError for a port or file that cannot be used."""
        servers = contextlib.AsyncExitStack()
        async with servers:
            servers.push_async_callback(self.store.close)
            await self._open_store()
            await self.enrolment.start()
            servers.push_async_callback(self.enrolment.close)
            xds_port = await self._listen()
            servers.push_async_callback(self.xds.stop)
            otlp_port = await self.telemetry.start()
            servers.push_async_callback(self.telemetry.stop)
            api = await self._start_admin()
            servers.push_async_callback(api.stop)
            collector = Told(self.overview.figures, self.authority.expires)
            REGISTRY.register(collector)
            servers.callback(REGISTRY.unregister, collector)
            addresses = self._write_addresses(api.port, xds_port, otlp_port)
            works = (
                self._watch(),
                self._follow(),
                self._follow_tokens(),
                self._sweep(),
                self._renew(),
                self.watch.run(),
                self.peers.run(addresses.xds, self._admin_address(api.port)),
                _measure_lag(),
            )
            tasks = [asyncio.create_task(one) for one in works]
            ended = asyncio.create_task(stop.wait())
            await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in (ended, *tasks):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _open_store(self) -> None:
        """Remember how far the store was; one that is away is waited for while serving."""
        with contextlib.suppress(StoreError):
            await self.store.open(self._memory.recall())

    async def _listen(self) -> int:
        try:
            return await self.xds.start()
        except (RuntimeError, OSError):
            where = f"{self._settings.bind}:{self._settings.xds_port}"
            raise InputError(f"{where}: cannot listen for sidecars: set MESH_XDS_PORT or MESH_BIND") from None

    async def _start_admin(self) -> admin.RunningServer:
        settings = self._settings
        token = admin.ensure_token(settings.state)
        mesh = self.overview.mesh(self.tokens, self.asking.ask)
        try:
            return await admin.start(
                mesh,
                token,
                bind=settings.admin_bind,
                port=settings.admin_port,
                names=(settings.advertise, *settings.admin_names.replace(",", " ").split()),
                reading=admin.reading_token(settings.state, settings.read_token_file, token),
                readers={PREFIX + targets.PATH: _prometheus_token(settings)},
            )
        except OSError as error:
            where = f"{settings.admin_bind}:{settings.admin_port}"
            raise InputError(f"{where}: cannot listen: {error.strerror}: set MESH_ADMIN_PORT") from None

    def _admin_address(self, port: int) -> str:
        """The admin API's URL for who is elsewhere."""
        settings = self._settings
        host = settings.advertise if settings.admin_bind in ("0.0.0.0", "::") else settings.admin_bind
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _write_addresses(self, admin_port: int, xds_port: int, otlp_port: int) -> Addresses:
        settings = self._settings
        addresses = Addresses(
            admin=f"http://{_locally(settings.admin_bind)}:{admin_port}",
            xds=f"{settings.advertise}:{xds_port}",
            enrolment=f"{settings.advertise}:{self.enrolment.port}",
            ca_sha256=self.authority.ca_sha256,
            trust_domain=settings.trust_domain,
            otlp=f"{settings.advertise}:{otlp_port}",
        )
        path = settings.state / "mesh.json"
        fresh = path.with_name(f".mesh.json.{os.getpid()}")
        fresh.write_text(addresses.model_dump_json(indent=1) + "\n")
        fresh.replace(path)
        log.info("listening", admin=addresses.admin, xds=addresses.xds, enrolment=addresses.enrolment)
        return addresses

    # --- what goes on -----------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Serve what the store holds, and again after every change."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._take()
            await asyncio.sleep(DEBOUNCE)

    async def _watch(self) -> None:
        async for kinds in self.store.changes():
            if kinds != {"tokens"}:
                self._changed.set()
            if "tokens" in kinds:
                self._tokens_changed.set()

    async def _follow_tokens(self) -> None:
        """Know what is revoked, and put on record what was used."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tokens_changed.wait(), USES_EVERY)
            try:
                if self._tokens_changed.is_set():
                    self._tokens_changed.clear()
                    await self.tokens.follow()
                await self.tokens.write_uses()
            except StoreError:
                self._tokens_changed.set()
                await asyncio.sleep(RETRY_EVERY)

    async def _take(self) -> None:
        first = self.feed.translation is None
        try:
            stored = await self.store.snapshot()
        except StoreError:
            self._changed.set()
            await asyncio.sleep(RETRY_EVERY)
            return
        with GENERATION.time():
            translation = await asyncio.to_thread(self.feed.prepare, stored)
        if translation is None:
            log.error("translation failed", problems=self.feed.problems())
            return
        self.feed.serve(translation)
        self._memory.keep(stored.revision.number)
        if first:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            log.info("serving", revision=stored.revision.number, services=len(stored.services))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            try:
                gone = await self.store.leases.sweep()
            except StoreError:
                continue
            if gone:
                log.warning("leases ended", instances=gone)
                self.watch.leases_ended(gone)

    async def _renew(self) -> None:
        pair = self.authority.server_pair()
        while True:
            await asyncio.sleep(RENEWAL_CHECK)
            if self.authority.server_pair() is not pair:
                pair = self.authority.server_pair()
                self.xds.renew(_credentials(self.authority))
                self.telemetry.renew(_credentials(self.authority))
                log.info("own certificate renewed")

    # --- what agents ask --------------------------------------------------------------------------

    def _agents(self) -> AgentService:
        settings = self._settings
        return AgentService(
            self.store.leases,
            self._sign_again,
            self._drained,
            settings.trust_domain,
            settings.lease_ttl,
            note=self._note,
            asks=self.asks,
        )

    def _admit(self, claims: Claims) -> None:
        self.tokens.admit(claims)
        self.watch.certified(claims.identity, renewed=False)

    def _sign_again(self, csr: str, identity: Identity) -> Signed:
        signed = self.authority.sign(csr, identity)
        self.watch.certified(identity, renewed=True)
        return signed

    def _note(self, identity: Identity, report: ProxyReport) -> None:
        self.reports.note(identity, report, time.monotonic())

    async def _drained(self, instance: str) -> DrainResult:
        """Everywhere: the sidecars that call it may be connected to any control plane."""
        asked = len(self.peers.answering())
        here = drained(instance, lambda: self.feed.translation, self.xds.queue, asyncio.sleep)
        elsewhere = self.peers.everyone(DRAINED, instance.encode(), within=PEERS_DRAIN_LIMIT)
        done, answers = await asyncio.gather(here, elsewhere)
        return done if len(answers) == asked else DrainResult(drained=False)

    async def _drained_here(self, request: bytes) -> bytes:
        instance = request.decode(errors="replace")
        await drained(instance, lambda: self.feed.translation, self.xds.queue, asyncio.sleep)
        return b""


async def _measure_lag() -> None:
    """Put on record how late the event loop comes round, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        await asyncio.sleep(LAG_EVERY)
        LAG.observe(max(0.0, loop.time() - begun - LAG_EVERY))


def _prometheus_token(settings: Settings) -> str:
    """What Prometheus shows to be told its targets."""
    if settings.prometheus_token_file:
        return password(Path(settings.prometheus_token_file))
    return admin.ensure_token(settings.state, "prometheus.token")


def _locally(bind: str) -> str:
    """The host by which a process of this machine reaches what listens on `bind`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bind, bind)
    return f"[{host}]" if ":" in host else host


def _store(settings: Settings) -> Store:
    if settings.redis_url:
        file = settings.redis_password_file
        given = password(Path(file)) if file else ""
        return Store(settings.redis_url, given, lease_ttl=settings.lease_ttl)
    embedded = locate(settings.state)
    return Store(embedded.url, embedded.password(), lease_ttl=settings.lease_ttl)


def _credentials(authority: CertificateAuthority) -> Credentials:
    pair = authority.server_pair()
    return Credentials(pair.certificate.encode(), pair.key.encode(), authority.bundle.encode())
