"""Wires the admin API: each router gets the parts of the control plane that its routes need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from meshwright.control_plane.admin.protocols import RunCommand, StatusSource, Verify
from meshwright.control_plane.admin.rollout_editor import RolloutEditor
from meshwright.control_plane.admin.route import Router
from meshwright.control_plane.admin.routers.authorization import AuthorizationRouter
from meshwright.control_plane.admin.routers.call_explanations import CallExplanationRouter
from meshwright.control_plane.admin.routers.events import EventsRouter
from meshwright.control_plane.admin.routers.evictions import Evict, EvictionsRouter
from meshwright.control_plane.admin.routers.explain import ExplainRouter
from meshwright.control_plane.admin.routers.instances import InstancesRouter
from meshwright.control_plane.admin.routers.jaeger import JaegerRouter
from meshwright.control_plane.admin.routers.lint import LintRouter
from meshwright.control_plane.admin.routers.moments import MomentsRouter
from meshwright.control_plane.admin.routers.policies import PoliciesRouter
from meshwright.control_plane.admin.routers.prometheus_sd import PrometheusSdRouter
from meshwright.control_plane.admin.routers.proxies import ProxiesRouter
from meshwright.control_plane.admin.routers.pushes import PushesRouter, Withdraw
from meshwright.control_plane.admin.routers.refusals import RefusalsRouter
from meshwright.control_plane.admin.routers.requests import RequestsRouter
from meshwright.control_plane.admin.routers.revisions import RevisionsRouter
from meshwright.control_plane.admin.routers.rollouts import RolloutsRouter
from meshwright.control_plane.admin.routers.services import ServicesRouter
from meshwright.control_plane.admin.routers.status import StatusRouter
from meshwright.control_plane.admin.routers.tap import TapRouter
from meshwright.control_plane.admin.routers.tokens import TokenRegistry, TokensRouter
from meshwright.control_plane.admin.routers.topology import TopologyRouter
from meshwright.control_plane.admin.routers.traces import TracesRouter
from meshwright.control_plane.admin.routers.wait import WaitRouter
from meshwright.control_plane.admin.sidecar_probe import SidecarProbe
from meshwright.control_plane.api.models.rollouts import RolloutStatus
from meshwright.control_plane.events.subscriptions import EventSubscriptions
from meshwright.control_plane.moments.past import Past
from meshwright.control_plane.status.read_model import MeshReadModel
from meshwright.control_plane.store.revision_repository import RevisionRepository
from meshwright.control_plane.store.store import Store

PATCHES_DENIED = {
    "EnvoyPatch": "this mesh takes no patches of Envoy's configuration: MESH_ENVOY_PATCHES=deny"
}


def build_routers(
    store: Store,
    mesh: MeshReadModel,
    tokens: TokenRegistry,
    *,
    run_command: RunCommand,
    evict: Evict,
    status: StatusSource,
    patches_allowed: bool,
    verify: Verify,
    rollouts: Callable[[], Iterable[RolloutStatus]],
    withdraw: Withdraw,
    staged: bool,
) -> tuple[Router, ...]:
    """All routers of the admin API."""
    revisions = RevisionRepository(store, staged=staged)
    probe = SidecarProbe(mesh.plan_probe, mesh.discount_probes, run_command)
    denied = {} if patches_allowed else PATCHES_DENIED
    return (
        PoliciesRouter(revisions, mesh.preview, denied, verify, topology=mesh.topology, reports=mesh.reports),
        RevisionsRouter(revisions, mesh.preview, denied, verify),
        PushesRouter(store.pushes, withdraw),
        LintRouter(revisions, mesh.preview.lint),
        RolloutsRouter(rollouts, RolloutEditor(revisions, mesh.preview, verify), now=time.time),
        WaitRouter(revisions, mesh.status, monotonic=time.monotonic, sleep=asyncio.sleep),
        StatusRouter(status),
        InstancesRouter(mesh.instances),
        ProxiesRouter(mesh.proxies, run_command),
        EvictionsRouter(evict),
        TokensRouter(tokens),
        TopologyRouter(mesh.topology, mesh.edge_history),
        MomentsRouter(Past(store).at),
        ServicesRouter(mesh.services, mesh.service_history, mesh.service_policies, store.leases.forget),
        AuthorizationRouter(
            revisions,
            mesh.check_access,
            mesh.access_matrix,
            mesh.observed_calls,
            probe,
        ),
        CallExplanationRouter(revisions, mesh.explain_call, probe),
        EventsRouter(EventSubscriptions(store.events), monotonic=time.monotonic),
        TracesRouter(mesh.traces),
        JaegerRouter(mesh.traces),
        RequestsRouter(mesh.requests, now=time.time),
        RefusalsRouter(mesh.refusals.list),
        ExplainRouter(mesh.requests, mesh.traces, revisions, mesh.explain, now=time.time),
        _tap_router(mesh, run_command),
        PrometheusSdRouter(mesh.control_plane_addresses, mesh.reports),
    )


def _tap_router(mesh: MeshReadModel, run_command: RunCommand) -> TapRouter:
    return TapRouter(
        mesh.requests,
        mesh.proxies,
        run_command,
        mesh.name_refusals,
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
    )
