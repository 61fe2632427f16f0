"""Runs a control plane: opens its ports in order, keeps its loops running, and closes all of it again.

`control_plane/app.py` composes what runs here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import REGISTRY

from meshwright.control_plane import background
from meshwright.control_plane.addresses import admin_url, local_admin_url, write_addresses
from meshwright.control_plane.admin import server as admin
from meshwright.control_plane.admin.routers import prometheus_sd
from meshwright.control_plane.admin.token_files import ensure_read_token, ensure_token, prometheus_token
from meshwright.control_plane.admin_routers import build_routers
from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.app import ControlPlane
from meshwright.control_plane.cluster.lease_evidence import LeaseEvidence
from meshwright.control_plane.errors import ForeignRootError, InputError, StoreError
from meshwright.control_plane.status.prometheus import MeshCollector

log = structlog.get_logger(__name__)


async def serve(
    plane: ControlPlane, stop: asyncio.Event, listening: Callable[[], None] = lambda: None
) -> None:
    """Serve until `stop` is set; raises InputError for a port or file that cannot be used."""
    async with contextlib.AsyncExitStack() as servers:
        servers.push_async_callback(plane.store.close)
        await _open_store(plane)
        await plane.enrolment.start()
        servers.push_async_callback(plane.enrolment.close)
        xds_port = await _start_xds(plane)
        servers.push_async_callback(plane.xds.stop)
        otlp_port = await plane.telemetry.start()
        servers.push_async_callback(plane.telemetry.stop)
        servers.push_async_callback(plane.verifier.stop)
        api = await _start_admin(plane)
        servers.push_async_callback(api.stop)
        collector = MeshCollector(plane.read_model.metrics, plane.authority.expiry_times)
        REGISTRY.register(collector)
        servers.callback(REGISTRY.unregister, collector)
        addresses = _write_addresses(plane, api.port, xds_port, otlp_port)
        listening()
        await _run_background(plane, stop, addresses.xds, admin_url(plane.settings, api.port))


async def _open_store(plane: ControlPlane) -> None:
    """Open the store. The background loops wait for one that is unavailable."""
    try:
        await plane.store.open(plane.last_revision.load())
    except ForeignRootError as error:
        raise InputError(str(error)) from None
    except StoreError:
        pass


async def _run_background(plane: ControlPlane, stop: asyncio.Event, xds: str, admin: str) -> None:
    """Run all loops until `stop` is set. One that fails is started again."""
    store, changes, last_revision = plane.store, plane.changes, plane.last_revision
    reconcile, follow_evictions = background.reconcile, background.follow_evictions
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "changes": lambda: changes.watch(store),
        "configuration": lambda: reconcile(store, plane.reconciler, last_revision, changes.config),
        "push": plane.push_leader.run,
        "join tokens": lambda: background.follow_join_tokens(plane.join_tokens, changes.tokens),
        "evictions": lambda: follow_evictions(plane.eviction_service.refresh, changes.evictions),
        "leases": lambda: _expire_leases(plane),
        "certificate": lambda: background.watch_certificate(plane.authority, plane.renew_certificate),
        "lag": background.measure_lag,
        "host": plane.host_problems.watch,
        "events": plane.event_watcher.run,
        "members": lambda: plane.members.run(xds, admin),
        "presence": lambda: plane.presence.run(xds),
        "rollouts": plane.rollouts.run,
        "moments": plane.moments.run,
    }
    keep = plane.host_problems.keep_running
    tasks = [asyncio.create_task(keep(name, loop)) for name, loop in loops.items()]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _expire_leases(plane: ControlPlane) -> None:
    store, events, connected = plane.store, plane.event_watcher, plane.read_model.connected_proxies
    which_work = LeaseEvidence(
        lambda instances: plane.telemetry.at_work(instances, connected()),
        store.control_planes,
        lambda: plane.reconciler.world,
    ).which_work
    await background.expire_leases(store, which_work, events.leases_expired, events.agents_silent)


async def _start_xds(plane: ControlPlane) -> int:
    try:
        return await plane.xds.start()
    except (RuntimeError, OSError):
        address = f"{plane.settings.bind}:{plane.settings.xds_port}"
        raise InputError(f"{address}: cannot listen: set MESH_XDS_PORT or MESH_BIND") from None


async def _start_admin(plane: ControlPlane) -> admin.RunningServer:
    settings = plane.settings
    token = ensure_token(settings.state)
    routers = build_routers(
        plane.store,
        plane.read_model,
        plane.join_tokens,
        run_command=plane.command_router.run,
        evict=plane.eviction_service.evict,
        status=plane.assessment.status,
        patches_allowed=settings.patches_allowed,
        verify=plane.verifier.verify,
        rollouts=plane.rollouts.statuses,
        withdraw=plane.withdrawals.withdraw,
        staged=settings.push == "staged",
    )
    try:
        return await admin.start(
            routers,
            token,
            bind=settings.admin_bind,
            port=settings.admin_port,
            hosts=(settings.advertise, *settings.admin_names.replace(",", " ").split()),
            read_token=ensure_read_token(settings.state, settings.read_token_file, token),
            path_tokens={PREFIX + prometheus_sd.PATH: prometheus_token(settings)},
        )
    except OSError as error:
        address = f"{settings.admin_bind}:{settings.admin_port}"
        raise InputError(f"{address}: cannot listen: {error.strerror}: set MESH_ADMIN_PORT") from None


def _write_addresses(plane: ControlPlane, admin_port: int, xds_port: int, otlp_port: int) -> MeshAddresses:
    settings = plane.settings
    addresses = MeshAddresses(
        admin=local_admin_url(settings, admin_port),
        xds=f"{settings.advertise}:{xds_port}",
        enrolment=f"{settings.advertise}:{plane.enrolment.port}",
        ca_sha256=plane.authority.ca_sha256,
        trust_domain=settings.trust_domain,
        otlp=f"{settings.advertise}:{otlp_port}",
    )
    write_addresses(settings.state, addresses)
    log.info("listening", admin=addresses.admin, xds=addresses.xds, enrolment=addresses.enrolment)
    return addresses
