"""The agents' service over real mutual TLS: each caller may act for itself alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from meshwright.control_plane.agents import command_queue
from meshwright.control_plane.agents import service as agents
from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.agents.service import AgentService
from meshwright.control_plane.api.models.base import (
    ApiModel,
    ClusterReport,
    DrainResult,
    InstanceRef,
    LeaseGrant,
    ProxyReport,
    Registration,
    SignRequest,
    SignResponse,
)
from meshwright.control_plane.api.models.commands import ARGUMENT_LIMIT, CommandBatch, CommandResult, ProxyRef
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.ca.authority import CertificateAuthority, grpc_credentials, open_authority
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import NotFoundError, PermissionDeniedError, StoreError
from tests.control_plane.ca.keys import ORDERS, key_pem, new_key, request

PAYMENTS = Identity("mesh.local", "service", "payments")
INGRESS = Identity("mesh.local", "gateway", "ingress")
ONE = Registration(instance="orders-1", service="orders", address="127.0.0.1", port=15006)


@dataclass
class Kept:
    """Leases in memory, with the rules of the real store."""

    instances: dict[str, Registration] = field(default_factory=dict)
    away: bool = False

    async def register(self, registration: Registration) -> bool:
        known = self._known(registration.instance, registration.service)
        self.instances[registration.instance] = registration
        return known != registration

    async def deregister(self, instance: str, service: str) -> bool:
        self._known(instance, service)
        return self.instances.pop(instance, None) is not None

    async def set_draining(self, instance: str, service: str) -> bool:
        known = self._known(instance, service)
        if known is None:
            raise NotFoundError(f"instance {instance}: not registered")
        self.instances[instance] = known.model_copy(update={"health": "draining"})
        return True

    def _known(self, instance: str, service: str) -> Registration | None:
        if self.away:
            raise StoreError("the store cannot be reached")
        known = self.instances.get(instance)
        if known and known.service != service:
            raise PermissionDeniedError(
                f"instance {instance} belongs to service {known.service}, not {service}"
            )
        return known


@dataclass
class Mesh:
    """A served AgentService. `asked`: a drain waits; `taken_out`: every sidecar has taken it out."""

    authority: CertificateAuthority
    leases: Kept
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    taken_out: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    reports: list[tuple[str, ProxyReport]] = field(default_factory=list)
    asks: CommandQueue = field(default_factory=CommandQueue)

    def note(self, identity: Identity, report: ProxyReport) -> None:
        if report.node == "one-too-many":
            raise PermissionDeniedError("too many")
        self.reports.append((identity.uri, report))

    async def drained(self, _instance: str) -> DrainResult:
        self.asked.set()
        await self.taken_out.wait()
        return DrainResult(drained=True)

    @asynccontextmanager
    async def caller(
        self, identity: Identity, authority: CertificateAuthority | None = None
    ) -> AsyncIterator[Any]:
        """Calls a method as `identity`, certified by `authority` (by default the mesh's own)."""
        key = new_key()
        svid = (authority or self.authority).sign_csr(request(key), identity).certificate
        credentials = grpc.ssl_channel_credentials(
            self.authority.bundle.encode(), key_pem(key).encode(), svid.encode()
        )
        options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:

            async def call(method: str, message: ApiModel | bytes) -> bytes:
                body = message if isinstance(message, bytes) else message.model_dump_json().encode()
                answer = await channel.unary_unary(f"/{agents.SERVICE}/{method}", bytes, bytes)(
                    body, timeout=20
                )
                assert isinstance(answer, bytes)
                return answer

            yield call


@asynccontextmanager
async def serving(authority: CertificateAuthority) -> AsyncIterator[Mesh]:
    mesh = Mesh(authority, Kept())
    service = AgentService(
        mesh.leases,
        authority.sign_csr,
        mesh.drained,
        "mesh.local",
        6.0,
        record_report=mesh.note,
        commands=mesh.asks,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handlers(),))
    mesh.port = server.add_secure_port("127.0.0.1:0", grpc_credentials(authority))
    await server.start()
    yield mesh
    await server.stop(0)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with serving(open_authority(Settings(tmp_path))) as mesh:
        yield mesh


async def fails(code: grpc.StatusCode, reason: str, call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == code
    assert reason in (caught.value.details() or "")


async def connected(mesh: Mesh, wanted: bool) -> None:
    """Wait until the agent of orders-1 is there to be asked, or is not."""
    end = asyncio.get_running_loop().time() + 20
    while mesh.asks.is_connected("orders-1") is not wanted:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)


def refusals() -> float:
    return float(agents.REFUSALS._value.get())


async def test_an_instance_lives_drains_and_leaves(mesh: Mesh) -> None:
    async with mesh.caller(ORDERS) as call:
        assert LeaseGrant.model_validate_json(await call("Register", ONE)).ttl == 6
        assert mesh.leases.instances == {"orders-1": ONE}
        draining = asyncio.create_task(call("Drain", InstanceRef(instance="orders-1")))
        await asyncio.wait_for(mesh.asked.wait(), 20)
        assert mesh.leases.instances["orders-1"].health == "draining"
        assert not draining.done()
        mesh.taken_out.set()
        assert DrainResult.model_validate_json(await draining) == DrainResult(drained=True)
        assert await call("Deregister", InstanceRef(instance="orders-1")) == b"{}"
        assert mesh.leases.instances == {}


async def test_a_drain_ends_when_sidecars_stay_silent(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "DRAIN_LIMIT", 0.2)
    async with mesh.caller(ORDERS) as call:
        await call("Register", ONE)
        answer = await call("Drain", InstanceRef(instance="orders-1"))
    assert DrainResult.model_validate_json(answer) == DrainResult(drained=False)


async def test_a_certificate_of_another_service_can_do_nothing_here(mesh: Mesh) -> None:
    async with mesh.caller(ORDERS) as call:
        await call("Register", ONE)
    before = refusals()
    denied = grpc.StatusCode.PERMISSION_DENIED
    with capture_logs() as logs:
        async with mesh.caller(PAYMENTS) as call:
            await fails(denied, "may not register an instance of orders", call("Register", ONE))
            taken = ONE.model_copy(update={"service": "payments"})
            await fails(denied, "belongs to service orders", call("Register", taken))
            for method in ("Drain", "Deregister"):
                await fails(
                    denied, "belongs to service orders", call(method, InstanceRef(instance="orders-1"))
                )
            asked = SignRequest(csr=request(new_key(), [ORDERS.uri]))
            await fails(denied, f"not for {PAYMENTS.uri}", call("Renew", asked))
    assert mesh.leases.instances == {"orders-1": ONE}
    assert refusals() == before + 5
    assert len([entry for entry in logs if entry["event"] == "agent refused"]) == 5


async def test_a_gateway_renews_and_registers_nothing(mesh: Mesh) -> None:
    async with mesh.caller(INGRESS) as call:
        for method, message in (("Register", ONE), ("Drain", InstanceRef(instance="orders-1"))):
            await fails(grpc.StatusCode.PERMISSION_DENIED, "is no service", call(method, message))
        named_alike = ONE.model_copy(update={"service": "ingress"})
        await fails(grpc.StatusCode.PERMISSION_DENIED, "is no service", call("Register", named_alike))
        key = new_key()
        signed = SignResponse.model_validate_json(
            await call("Renew", SignRequest(csr=request(key, [INGRESS.uri])))
        )
    assert x509.load_pem_x509_certificate(signed.certificate.encode()).public_key() == key.public_key()


async def test_services_and_gateways_report_for_themselves_alone(mesh: Mesh) -> None:
    clusters = tuple(ClusterReport(cluster=f"service-{number:03}", hosts=9) for number in range(500))
    own = ProxyReport(node="orders-1", service="orders", version="1.40.0", clusters=clusters)
    gateway = ProxyReport(node="ingress", service="ingress")
    async with mesh.caller(ORDERS) as call:
        assert await call("Report", own) == b"{}"
        denied = grpc.StatusCode.PERMISSION_DENIED
        await fails(denied, "may not report for a proxy of ingress", call("Report", gateway))
        await fails(denied, "too many", call("Report", own.model_copy(update={"node": "one-too-many"})))
        wrong = grpc.StatusCode.INVALID_ARGUMENT
        many = own.model_copy(update={"clusters": (*clusters, clusters[0])})
        await fails(wrong, "wrong: clusters", call("Report", many))
        await fails(wrong, "larger than 262144 bytes", call("Report", b" " * 262145))
    async with mesh.caller(INGRESS) as call:
        await call("Report", gateway)
    assert mesh.reports == [(ORDERS.uri, own), (INGRESS.uri, gateway)]


async def test_an_ask_is_fetched_and_answered_by_its_own_identity_alone(mesh: Mesh) -> None:
    own = ProxyRef(node="orders-1", service="orders")
    denied = grpc.StatusCode.PERMISSION_DENIED
    async with mesh.caller(ORDERS) as call, mesh.caller(PAYMENTS) as stranger:
        fetching = asyncio.create_task(call("Fetch", own))
        await connected(mesh, True)
        asking = asyncio.create_task(mesh.asks.run("orders-1", "stats", "ä" * ARGUMENT_LIMIT))
        (ask,) = CommandBatch.model_validate_json(await fetching).commands
        assert (ask.kind, ask.argument) == ("stats", "ä" * ARGUMENT_LIMIT)
        await fails(denied, "may not be asked for a proxy of orders", stranger("Fetch", own))
        await fails(denied, "was not asked", stranger("Answer", CommandResult.succeeded(ask, "forged")))
        wrong = grpc.StatusCode.INVALID_ARGUMENT
        await fails(wrong, "larger than", call("Answer", b" " * (agents.MAX_RESULT_BYTES + 1)))
        text = "".join(f"cluster.c{number}.rq: {number * number}\n" for number in range(60_000))
        assert len(text) > agents.MAX_RESULT_BYTES
        await call("Answer", CommandResult.succeeded(ask, text))
        assert await asking == text
        await fails(
            grpc.StatusCode.NOT_FOUND, "too late", call("Answer", CommandResult.succeeded(ask, "twice"))
        )


async def test_an_agent_that_is_gone_is_asked_no_more(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "GONE", 0.0)
    async with mesh.caller(ORDERS) as call:
        fetching = asyncio.create_task(call("Fetch", ProxyRef(node="orders-1", service="orders")))
        await connected(mesh, True)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    await connected(mesh, False)


async def test_a_certificate_of_another_mesh_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    stranger = open_authority(Settings(tmp_path / "other"))
    async with mesh.caller(ORDERS, stranger) as call:
        await fails(grpc.StatusCode.UNAVAILABLE, "", call("Register", ONE))
    assert mesh.leases.instances == {}


async def test_without_a_certificate_nobody_speaks(mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(mesh.authority.bundle.encode())
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{mesh.port}", credentials, options) as channel:
        call = channel.unary_unary(f"/{agents.SERVICE}/Register", bytes, bytes)
        await fails(grpc.StatusCode.UNAVAILABLE, "", call(ONE.model_dump_json().encode(), timeout=20))


@pytest.mark.parametrize(
    ("method", "body", "reason"),
    [
        ("Register", b"", "not a Registration in JSON (wrong: body)"),
        ("Register", b'{"instance": "A!", "service": "orders", "address": "a", "port": 0}', "instance, port"),
        ("Renew", b'{"csr": 7}', "not a SignRequest in JSON (wrong: csr)"),
        ("Drain", b" " * 32769, "larger than 32768 bytes"),
    ],
)
async def test_messages_that_make_no_sense_are_told_so(
    mesh: Mesh, method: str, body: bytes, reason: str
) -> None:
    async with mesh.caller(ORDERS) as call:
        await fails(grpc.StatusCode.INVALID_ARGUMENT, reason, call(method, body))


async def test_a_store_that_is_away_is_said_and_is_no_refusal(mesh: Mesh) -> None:
    before = refusals()
    async with mesh.caller(ORDERS) as call:
        mesh.leases.away = True
        await fails(grpc.StatusCode.UNAVAILABLE, "cannot be reached", call("Register", ONE))
        mesh.leases.away = False
        await fails(
            grpc.StatusCode.NOT_FOUND, "not registered", call("Drain", InstanceRef(instance="orders-9"))
        )
        await call("Register", ONE)
    assert refusals() == before


async def test_the_servers_certificate_is_renewed_under_way(tmp_path: Path) -> None:
    late = [7200.0]
    authority = open_authority(Settings(tmp_path), lambda: time.time() - late[0])
    async with serving(authority) as mesh:
        async with mesh.caller(ORDERS) as call:
            await fails(grpc.StatusCode.UNAVAILABLE, "", call("Register", ONE))
        late[0] = 0
        async with mesh.caller(ORDERS) as call:
            await call("Register", ONE)
