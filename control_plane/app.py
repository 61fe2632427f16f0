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

from meshwright.control_plane.admin import server as admin
from meshwright.control_plane.admin.routers import prometheus_sd
from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.agents.command_router import CommandRouter
from meshwright.control_plane.agents.drain import wait_until_drained
from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.agents.service import AgentService
from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.models.base import DrainResult, ProxyReport, SignResponse
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.ca.enrolment import EnrolmentServer
from meshwright.control_plane.ca.join_tokens import JoinTokens
from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.events.watcher import EventWatcher
from meshwright.control_plane.files import password
from meshwright.control_plane.metrics import GENERATION, LAG
from meshwright.control_plane.reconciler import DEBOUNCE, ConfigReconciler
from meshwright.control_plane.status.prometheus import MeshCollector
from meshwright.control_plane.status.read_model import MeshReadModel
from meshwright.control_plane.store.embedded import locate
from meshwright.control_plane.store.last_revision import LastRevisionFile
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.telemetry.service import TelemetryService
from meshwright.control_plane.tls import TlsCredentials
from meshwright.control_plane.xds.server import XdsServer

log = structlog.get_logger(__name__)

LEASE_SWEEP_INTERVAL = 0.5
"""Seconds between looks for leases that ended: short against a lease, nothing against the store."""

LAG_SAMPLE_INTERVAL = 0.25
"""Seconds between two looks at how late the event loop is."""

STORE_RETRY_DELAY = 0.5
"""Seconds until a failed read of the store is tried again."""

TOKEN_USE_FLUSH_INTERVAL = 1.0
"""Seconds between two times that uses of join tokens are put on record."""

DRAIN_METHOD = "Drained"
"""The method by which a control plane is asked to wait until its sidecars have acknowledged a drain."""

REMOTE_DRAIN_TIMEOUT = 4.0
"""Seconds that others have for that; less than a drain has in all."""

CERTIFICATE_CHECK_INTERVAL = 5.0
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
        self.reports = ProxyReports()
        self.command_queue = CommandQueue()
        self.members = Members(
            self.store.control_planes, lambda: _credentials(self.authority), settings.trust_domain
        )
        self.xds = XdsServer(
            settings.bind,
            settings.xds_port,
            settings.trust_domain,
            _credentials(self.authority),
            handlers=(self._agents().handlers(), self.members.grpc_service()),
            connection_age=settings.svid_ttl,
        )
        self.telemetry = TelemetryService(settings, _credentials(self.authority))
        self.reconciler = ConfigReconciler(settings.trust_domain, self.xds.publish)
        self.read_model = MeshReadModel(
            self.store,
            self.reconciler,
            self.xds,
            self.reports,
            self.telemetry,
            members=self.members,
            trust_domain=settings.trust_domain,
        )
        self.members.register_method(DRAIN_METHOD, self._drained_here)
        self.event_watcher = EventWatcher(self.store, self.read_model.mesh_state)
        self.command_router = CommandRouter(
            self.command_queue,
            self.members,
            self.read_model.service_of_instance,
            self.event_watcher.manual_change,
        )
        self.join_tokens = JoinTokens(
            self.store.tokens, self.authority.mint_token, settings.trust_domain, time.time
        )
        self.enrolment = EnrolmentServer(
            self.authority,
            settings.bind,
            settings.enrolment_port,
            self._admit,
            self.event_watcher.enrolment_refused,
        )
        self._changed = asyncio.Event()
        self._tokens_changed = asyncio.Event()
        self._memory = LastRevisionFile(settings.state / "revision")

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
            collector = MeshCollector(self.read_model.metrics, self.authority.expiry_times)
            REGISTRY.register(collector)
            servers.callback(REGISTRY.unregister, collector)
            addresses = self._write_addresses(api.port, xds_port, otlp_port)
            works = (
                self._watch(),
                self._follow(),
                self._follow_tokens(),
                self._sweep(),
                self._renew(),
                self.event_watcher.run(),
                self.members.run(addresses.xds, self._admin_address(api.port)),
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
            await self.store.open(self._memory.load())

    async def _listen(self) -> int:
        try:
            return await self.xds.start()
        except (RuntimeError, OSError):
            where = f"{self._settings.bind}:{self._settings.xds_port}"
            raise InputError(f"{where}: cannot listen for sidecars: set MESH_XDS_PORT or MESH_BIND") from None

    async def _start_admin(self) -> admin.RunningServer:
        settings = self._settings
        token = admin.ensure_token(settings.state)
        mesh = self.read_model.mesh(self.join_tokens, self.command_router.run)
        try:
            return await admin.start(
                mesh,
                token,
                bind=settings.admin_bind,
                port=settings.admin_port,
                hosts=(settings.advertise, *settings.admin_names.replace(",", " ").split()),
                read_token=admin.ensure_read_token(settings.state, settings.read_token_file, token),
                path_tokens={PREFIX + prometheus_sd.PATH: _prometheus_token(settings)},
            )
        except OSError as error:
            where = f"{settings.admin_bind}:{settings.admin_port}"
            raise InputError(f"{where}: cannot listen: {error.strerror}: set MESH_ADMIN_PORT") from None

    def _admin_address(self, port: int) -> str:
        """The admin API's URL for who is elsewhere."""
        settings = self._settings
        host = settings.advertise if settings.admin_bind in ("0.0.0.0", "::") else settings.admin_bind
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _write_addresses(self, admin_port: int, xds_port: int, otlp_port: int) -> MeshAddresses:
        settings = self._settings
        addresses = MeshAddresses(
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
                await asyncio.wait_for(self._tokens_changed.wait(), TOKEN_USE_FLUSH_INTERVAL)
            try:
                if self._tokens_changed.is_set():
                    self._tokens_changed.clear()
                    await self.join_tokens.refresh_revocations()
                await self.join_tokens.flush_uses()
            except StoreError:
                self._tokens_changed.set()
                await asyncio.sleep(STORE_RETRY_DELAY)

    async def _take(self) -> None:
        first = self.reconciler.translation is None
        try:
            stored = await self.store.snapshot()
        except StoreError:
            self._changed.set()
            await asyncio.sleep(STORE_RETRY_DELAY)
            return
        with GENERATION.time():
            translation = await asyncio.to_thread(self.reconciler.build, stored)
        if translation is None:
            log.error("translation failed", problems=self.reconciler.problems())
            return
        self.reconciler.publish(translation)
        self._memory.save(stored.revision.number)
        if first:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            log.info("serving", revision=stored.revision.number, services=len(stored.services))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SWEEP_INTERVAL)
            try:
                gone = await self.store.leases.sweep()
            except StoreError:
                continue
            if gone:
                log.warning("leases ended", instances=gone)
                self.event_watcher.leases_expired(gone)

    async def _renew(self) -> None:
        pair = self.authority.server_certificate()
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_INTERVAL)
            if self.authority.server_certificate() is not pair:
                pair = self.authority.server_certificate()
                self.xds.replace_credentials(_credentials(self.authority))
                self.telemetry.update_credentials(_credentials(self.authority))
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
            record_report=self._note,
            commands=self.command_queue,
        )

    def _admit(self, claims: JoinTokenClaims) -> None:
        self.join_tokens.check(claims)
        self.event_watcher.certificate_issued(claims.identity, renewed=False)

    def _sign_again(self, csr: str, identity: Identity) -> SignResponse:
        signed = self.authority.sign_csr(csr, identity)
        self.event_watcher.certificate_issued(identity, renewed=True)
        return signed

    def _note(self, identity: Identity, report: ProxyReport) -> None:
        self.reports.record(identity, report, time.monotonic())

    async def _drained(self, instance: str) -> DrainResult:
        """Everywhere: the sidecars that call it may be connected to any control plane."""
        asked = len(self.members.reachable())
        here = wait_until_drained(
            instance, lambda: self.reconciler.translation, self.xds.queue, asyncio.sleep
        )
        elsewhere = self.members.broadcast(
            DRAIN_METHOD, instance.encode(), timeout_seconds=REMOTE_DRAIN_TIMEOUT
        )
        done, answers = await asyncio.gather(here, elsewhere)
        return done if len(answers) == asked else DrainResult(drained=False)

    async def _drained_here(self, request: bytes) -> bytes:
        instance = request.decode(errors="replace")
        await wait_until_drained(instance, lambda: self.reconciler.translation, self.xds.queue, asyncio.sleep)
        return b""


async def _measure_lag() -> None:
    """Put on record how late the event loop comes round, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        await asyncio.sleep(LAG_SAMPLE_INTERVAL)
        LAG.observe(max(0.0, loop.time() - begun - LAG_SAMPLE_INTERVAL))


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


def _credentials(authority: CertificateAuthority) -> TlsCredentials:
    pair = authority.server_certificate()
    return TlsCredentials(pair.certificate.encode(), pair.key.encode(), authority.bundle.encode())
