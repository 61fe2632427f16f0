"""The composition root. The constructor of ControlPlane reads as the architecture, layer by layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from functools import partial

from meshwright.control_plane import background
from meshwright.control_plane.admin.rollout_editor import RolloutEditor
from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.agents.enrolments import SeenEnrolments
from meshwright.control_plane.agents.metrics_address import own_metrics_address
from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.agents.service import AgentService
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.models.instances import DrainResult
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca.authority import open_authority
from meshwright.control_plane.ca.enrolment import EnrolmentServer
from meshwright.control_plane.ca.join_tokens import JoinTokens
from meshwright.control_plane.ca.lost_keys import check_not_lost, read_stored_keys
from meshwright.control_plane.callers import CallerCheck, Evictions
from meshwright.control_plane.cluster.command_router import CommandRouter
from meshwright.control_plane.cluster.drain import ClusterDrain
from meshwright.control_plane.cluster.evictions import EvictionService, EvictionTargets
from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.cluster.presence import Presence
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, PermissionDeniedError
from meshwright.control_plane.events.watcher import EventWatcher
from meshwright.control_plane.host_problems import HostProblems
from meshwright.control_plane.limits.batches import LimitBatches
from meshwright.control_plane.limits.service import RateLimitService
from meshwright.control_plane.moments.recorder import MomentRecorder
from meshwright.control_plane.push.leader import PushLeader
from meshwright.control_plane.push.withdrawal import Withdrawals
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.rollouts.controller import RolloutController
from meshwright.control_plane.status.assessment import StatusAssessment
from meshwright.control_plane.status.known_nodes import NameConflicts, NodeOwners
from meshwright.control_plane.status.read_model import MeshReadModel
from meshwright.control_plane.store.last_revision import LastRevisionFile
from meshwright.control_plane.store.locate import locate_store
from meshwright.control_plane.store.revision_repository import RevisionRepository
from meshwright.control_plane.store.root_claim import RootClaim
from meshwright.control_plane.telemetry.ingest.sender import SenderCheck
from meshwright.control_plane.telemetry.service import TelemetryService
from meshwright.control_plane.tls import TlsCredentials
from meshwright.control_plane.verification.verifier import open_verifier
from meshwright.control_plane.xds.server import XdsServer


class ControlPlane:
    """Everything that runs in the control plane's process. `serving.py` runs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        trust_domain = settings.trust_domain

        # Certificates: the CA signs SVIDs; one of them is the control plane's own.
        self.authority = open_authority(settings)

        # What is wrong on this host: shown by `mesh status`, and survived.
        self.host_problems = HostProblems(settings.state)

        # The store holds revisions, leases, events and join tokens: Redis or Valkey, embedded by default.
        self.store = locate_store(settings, RootClaim(self.authority.ca_sha256, settings.ca_replaces))
        self.last_revision = LastRevisionFile(settings.state / "revision")
        self.store.revision_file = str(settings.state / "revision")
        self.changes = background.StoreChanges()

        # Cluster: the other control planes of the mesh, found through the store.
        self.members = Members(self.store.control_planes, self._credentials, trust_domain)

        # Who calls: identities and enrolments, without those that were evicted.
        self._build_caller_check()

        # Agents register instances, renew SVIDs, report, and fetch commands for their proxies.
        self.reports = ProxyReports()
        self.command_queue = CommandQueue()
        agents = self._agent_service()

        # The xDS port serves Envoys, agents and other control planes, all by mutual TLS.
        self.xds = XdsServer(
            settings.bind,
            settings.xds_port,
            trust_domain,
            self._credentials(),
            handlers=(agents.handlers(), self.members.grpc_service(), self._rate_limits().handlers()),
            callers=self.callers,
            connection_age=settings.svid_ttl,
        )

        # Configuration: store → World → Snapshot → xDS; a change is verified before.
        self._build_configuration()

        # What the mesh does: telemetry, status, events.
        self._build_mesh_view()
        self._build_rollouts()
        self._build_push()
        # Enrolment: a join token and a CSR for the first SVID, by HTTPS.
        self._build_enrolment()

    @classmethod
    async def create(cls, settings: Settings) -> ControlPlane:
        """A control plane, unless a key that the mesh in the store needs is lost (InputError)."""
        store = locate_store(settings)
        try:
            check_not_lost(settings, await read_stored_keys(store))
        finally:
            await store.close()
        return cls(settings)

    def _build_caller_check(self) -> None:
        self.evictions = Evictions()
        self._name_conflicts = NameConflicts(lambda: self.reconciler.world, self._gateways)
        self.callers = CallerCheck(self.settings.trust_domain, self.evictions, self._name_conflicts)
        self.seen_enrolments = SeenEnrolments()

    def _build_configuration(self) -> None:
        settings = self.settings
        allow, patched, names = settings.outbound == "allow", settings.patches_allowed, settings.host_domains
        self.reconciler = ConfigReconciler(settings.trust_domain, self.xds.publish, allow, patched, names)
        self.drain = ClusterDrain(
            lambda: self.reconciler.translation, self.xds.queue, self.members, asyncio.sleep
        )

        # Verification: a scratch Envoy's verdict on a change, before it is made.
        report = partial(self.host_problems.report, "verification")
        self.verifier = open_verifier(settings, lambda: self.reconciler.translation, report)

    def _rate_limits(self) -> RateLimitService:
        """Counts for the global limits of proxies, in the store."""
        counting, late = (partial(self.host_problems.report, name) for name in ("limits", "late limits"))
        batches = LimitBatches(self.store.limit_counters.take, counting, time.monotonic)
        return RateLimitService(self.callers, lambda: self.reconciler.worlds, batches, late)

    def _build_push(self) -> None:
        withdrawals = self.withdrawals = Withdrawals(self.store, self.event_watcher.revision_withdrawn)
        model, settings = self.read_model, self.settings
        self.push_leader = PushLeader(self.members.id, withdrawals, self.reconciler, model, settings)

    def _build_enrolment(self) -> None:
        settings = self.settings
        self.join_tokens = JoinTokens(self.store.tokens, self._mint_token, settings.trust_domain, time.time)
        self.enrolment = EnrolmentServer(
            self.authority,
            settings.bind,
            settings.enrolment_port,
            self._check_join_token,
            self.event_watcher.enrolment_refused,
        )

    def _build_mesh_view(self) -> None:
        # Telemetry: metrics, spans and request logs of all proxies, by OTLP.
        check = SenderCheck(NodeOwners(lambda: self.reconciler.world, self.xds.queue.owners_of), time.time)
        self.telemetry = TelemetryService(self.settings, self._credentials(), self.callers, check)

        # The read model joins all of it for the whole mesh: status, topology, traces, requests.
        self.read_model = MeshReadModel(
            self.store,
            self.reconciler,
            self.xds,
            self.reports,
            self.telemetry,
            members=self.members,
            trust_domain=self.settings.trust_domain,
            host_problems=self.host_problems.current,
            evictions=self.evictions,
        )

        # Events: what changed in the read model, and what other parts report.
        model, settings = self.read_model, self.settings
        self.event_watcher = EventWatcher(self.store, model.mesh_state, model.take_refusals)
        self.presence = Presence(self.store.control_planes, self.event_watcher.control_plane_back)

        # The status with the verdict: what fails, since when and why.
        ttl, absence = settings.svid_ttl, self.presence.recent_absence
        self.assessment = StatusAssessment(model, self.store, self.authority.expiry_times, ttl, absence)

        # Moments: the mesh as it was, recorded for those who look later.
        observe = self.assessment.moment
        self.moments = MomentRecorder(self.members.id, self.store.moments, settings, observe)

        # Commands reach a proxy through the control plane that its agent is connected to.
        self.command_router = CommandRouter(
            self.command_queue,
            self.members,
            self.read_model.services_of_proxy,
            self.event_watcher.manual_change,
        )

        # Evictions take a proxy out of the mesh until it enrols again.
        self.eviction_service = EvictionService(
            self.store.evictions,
            self.evictions,
            EvictionTargets(self.xds.queue, self.store.leases, self.seen_enrolments),
            self.members,
            self.event_watcher.proxy_evicted,
        )

    def _build_rollouts(self) -> None:
        # Rollouts: each moves on by a revision, as its steps and guards say.
        revisions = RevisionRepository(self.store, staged=self.settings.push == "staged")
        editor = RolloutEditor(revisions, self.read_model.preview, self.verifier.verify)
        world, report = (lambda: self.reconciler.world), partial(self.host_problems.report, "rollouts")
        self.rollouts = RolloutController(world, self.telemetry.windows.history, editor.move, report)

    # --- certificates and agents ------------------------------------------------------------------------

    def _credentials(self) -> TlsCredentials:
        """The control plane's own certificate."""
        pair = self.authority.server_certificate()
        return TlsCredentials(pair.certificate.encode(), pair.key.encode(), self.authority.bundle.encode())

    def renew_certificate(self) -> None:
        self.xds.replace_credentials(self._credentials())
        self.telemetry.update_credentials(self._credentials())

    def _agent_service(self) -> AgentService:
        settings = self.settings
        return AgentService(
            self.store.leases,
            self._renew_svid,
            self._drain,
            settings.trust_domain,
            settings.lease_ttl,
            record_report=self._record_report,
            commands=self.command_queue,
            callers=self.callers,
            seen=self.seen_enrolments,
        )

    def _check_join_token(self, claims: JoinTokenClaims) -> None:
        if conflict := self._name_conflicts(claims.identity):
            raise PermissionDeniedError(f"{claims.identity.uri}: {conflict}")
        self.join_tokens.check(claims)
        self.event_watcher.certificate_issued(claims.identity, renewed=False)

    def _renew_svid(self, csr: str, identity: Identity, enrolment: str) -> SignResponse:
        response = self.authority.sign_csr(csr, identity, enrolment)
        self.event_watcher.certificate_issued(identity, renewed=True)
        return response

    def _record_report(self, identity: Identity, report: ProxyReport, peer: str) -> None:
        registered = self.read_model.address_of(report.service, report.node)
        metrics = own_metrics_address(report.metrics, peer, registered)
        self.reports.record(identity, report.model_copy(update={"metrics": metrics}), time.monotonic())

    def _gateways(self) -> Collection[str]:
        """The gateways that a document names or that have a proxy here."""
        translation = self.reconciler.translation
        return {*(translation.snapshot.gateways if translation else ()), *self.xds.queue.gateways()}

    def _mint_token(self, identity: Identity, ttl: float) -> str:
        """Sign a join token; raises InputError for a name that the other role has."""
        if conflict := self._name_conflicts(identity):
            raise InputError(conflict)
        return self.authority.mint_token(identity, ttl)

    async def _drain(self, service: str, instance: str) -> DrainResult:
        return await self.drain.wait(service, instance)
