"""The agents' service over real mutual TLS: a caller may act only for itself."""

from __future__ import annotations

import asyncio
import json
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
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import ARGUMENT_LIMIT, CommandBatch, CommandResult, ProxyRef
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.models.instances import DrainResult, InstanceRef, LeaseGrant, Registration
from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.tls import ReloadableCertificates
from tests.control_plane.ca.keys import ORDERS, csr, key_pem, new_key
from tests.fakes.clock import FakeClock
from tests.fakes.pki import tls_credentials

PAYMENTS = Identity("mesh.local", "service", "payments")
INGRESS = Identity("mesh.local", "gateway", "ingress")
BAD_ADDRESSES = (
    "localhost", "host2.example", "", " ", "10.0.0.1 ", "10.0.0", "10.0.0.1:80", "0.0.0.0", "::", "224.0.0.1",
    "ff02::1", "255.255.255.255", "fe80::1%eth0", "010.0.0.1", "1", "10.0.0.1\n", "10.0.0.1\x00", "\x1b[2J",
    "a" * 255, "a" * 300, "1" * 255,
)  # fmt: skip
REGISTRATION = Registration(instance="orders-1", service="orders", address="127.0.0.1", port=15006)


@dataclass
class FakeLeases:
    """Leases in memory, with the rules of the real store."""

    instances: dict[tuple[str, str], Registration] = field(default_factory=dict)
    unavailable: bool = False

    async def register(self, registration: Registration) -> bool:
        stored = self._find(registration.instance, registration.service)
        self.instances[registration.service, registration.instance] = registration
        return stored != registration

    async def deregister(self, instance: str, service: str, failure: str = "") -> bool:
        self._find(instance, service)
        return self.instances.pop((service, instance), None) is not None

    async def set_draining(self, instance: str, service: str) -> bool:
        stored = self._find(instance, service)
        if stored is None:
            raise NotFoundError(f"instance {instance} of {service}: not registered")
        self.instances[service, instance] = stored.model_copy(update={"health": "draining"})
        return True

    def _find(self, instance: str, service: str) -> Registration | None:
        if self.unavailable:
            raise StoreError("the store cannot be reached")
        return self.instances.get((service, instance))


@dataclass
class Mesh:
    """A running AgentService. A drain sets `draining` and waits for `drained`."""

    authority: CertificateAuthority
    leases: FakeLeases
    certificates: ReloadableCertificates
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    reports: list[tuple[str, ProxyReport]] = field(default_factory=list)
    commands: CommandQueue = field(default_factory=CommandQueue)

    def record_report(self, identity: Identity, report: ProxyReport, peer: str) -> None:
        if report.node == "above-the-limit":
            raise PermissionDeniedError("too many")
        self.reports.append((identity.uri, report))

    async def drain(self, _service: str, _instance: str) -> DrainResult:
        self.draining.set()
        await self.drained.wait()
        return DrainResult(drained=True)

    @asynccontextmanager
    async def caller(
        self, identity: Identity, authority: CertificateAuthority | None = None
    ) -> AsyncIterator[Any]:
        """Calls methods as `identity`, certified by `authority` (by default that of the mesh)."""
        key = new_key()
        svid = (authority or self.authority).sign_csr(csr(key), identity).certificate
        credentials = grpc.ssl_channel_credentials(
            self.authority.bundle.encode(), key_pem(key).encode(), svid.encode()
        )
        options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:

            async def call(method: str, message: ApiModel | bytes) -> bytes:
                body = message if isinstance(message, bytes) else message.model_dump_json().encode()
                response = await channel.unary_unary(f"/{agents.SERVICE}/{method}", bytes, bytes)(
                    body, timeout=20
                )
                assert isinstance(response, bytes)
                return response

            yield call


@asynccontextmanager
async def serving(authority: CertificateAuthority) -> AsyncIterator[Mesh]:
    mesh = Mesh(authority, FakeLeases(), ReloadableCertificates(tls_credentials(authority)))
    service = AgentService(
        mesh.leases,
        authority.sign_csr,
        mesh.drain,
        "mesh.local",
        6.0,
        record_report=mesh.record_report,
        commands=mesh.commands,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handlers(),))
    mesh.port = server.add_secure_port("127.0.0.1:0", mesh.certificates.server_credentials())
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


async def agent_is(mesh: Mesh, *, connected: bool) -> None:
    """Wait until the agent of orders-1 is connected, or is not."""
    deadline = asyncio.get_running_loop().time() + 20
    while mesh.commands.is_connected("orders-1") is not connected:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def refusals() -> float:
    return float(agents.DENIED._value.get())


async def test_instance_registers_drains_and_deregisters(mesh: Mesh) -> None:
    async with mesh.caller(ORDERS) as call:
        assert LeaseGrant.model_validate_json(await call("Register", REGISTRATION)).ttl == 6
        assert mesh.leases.instances == {("orders", "orders-1"): REGISTRATION}
        draining = asyncio.create_task(call("Drain", InstanceRef(instance="orders-1")))
        await asyncio.wait_for(mesh.draining.wait(), 20)
        assert mesh.leases.instances["orders", "orders-1"].health == "draining"
        assert not draining.done()
        mesh.drained.set()
        assert DrainResult.model_validate_json(await draining) == DrainResult(drained=True)
        assert await call("Deregister", InstanceRef(instance="orders-1")) == b"{}"
        assert mesh.leases.instances == {}


async def test_drain_times_out_when_sidecars_do_not_reply(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "DRAIN_TIMEOUT", 0.2)
    async with mesh.caller(ORDERS) as call:
        await call("Register", REGISTRATION)
        response = await call("Drain", InstanceRef(instance="orders-1"))
    assert DrainResult.model_validate_json(response) == DrainResult(drained=False)


async def test_certificate_of_another_service_is_denied_everything(mesh: Mesh) -> None:
    async with mesh.caller(ORDERS) as call:
        await call("Register", REGISTRATION)
    before = refusals()
    denied = grpc.StatusCode.PERMISSION_DENIED
    with capture_logs() as logs:
        async with mesh.caller(PAYMENTS) as call:
            await fails(denied, "may not register an instance of orders", call("Register", REGISTRATION))
            renewal = SignRequest(csr=csr(new_key(), [ORDERS.uri]))
            await fails(denied, f"not for {PAYMENTS.uri}", call("Renew", renewal))
    assert mesh.leases.instances == {("orders", "orders-1"): REGISTRATION}
    assert refusals() == before + 2
    assert len([entry for entry in logs if entry["event"] == "agent call denied"]) == 2


async def test_two_services_may_use_the_same_instance_name(mesh: Mesh) -> None:
    same_name = REGISTRATION.model_copy(update={"service": "payments"})
    async with mesh.caller(ORDERS) as orders, mesh.caller(PAYMENTS) as payments:
        not_found = grpc.StatusCode.NOT_FOUND
        await orders("Register", REGISTRATION)
        await fails(not_found, "of payments", payments("Drain", InstanceRef(instance="orders-1")))
        await payments("Deregister", InstanceRef(instance="orders-1"))
        await payments("Register", same_name)
        await payments("Deregister", InstanceRef(instance="orders-1"))
    assert mesh.leases.instances == {("orders", "orders-1"): REGISTRATION}


@pytest.mark.parametrize("address", BAD_ADDRESSES)
async def test_address_that_envoy_cannot_use_is_refused_with_the_reason(mesh: Mesh, address: str) -> None:
    body = REGISTRATION.model_dump() | {"address": address}
    async with mesh.caller(ORDERS) as call:
        await fails(
            grpc.StatusCode.INVALID_ARGUMENT, "address: ", call("Register", json.dumps(body).encode())
        )
    assert mesh.leases.instances == {}


async def test_gateway_can_renew_and_register_only_itself(mesh: Mesh) -> None:
    async with mesh.caller(INGRESS) as call:
        denied = grpc.StatusCode.PERMISSION_DENIED
        await fails(denied, "may not register an instance of orders", call("Register", REGISTRATION))
        await fails(grpc.StatusCode.NOT_FOUND, "orders-1", call("Drain", InstanceRef(instance="orders-1")))
        same_name = REGISTRATION.model_copy(update={"service": "ingress"})
        await fails(denied, "may not register an instance of ingress", call("Register", same_name))
        await call("Register", same_name.model_copy(update={"role": "gateway", "ports": ()}))
        assert [entry.owner for entry in mesh.leases.instances.values()] == ["gateway/ingress"]
        key = new_key()
        signed = SignResponse.model_validate_json(
            await call("Renew", SignRequest(csr=csr(key, [INGRESS.uri])))
        )
    assert x509.load_pem_x509_certificate(signed.certificate.encode()).public_key() == key.public_key()


async def test_services_and_gateways_report_only_for_themselves(mesh: Mesh) -> None:
    clusters = tuple(ClusterReport(cluster=f"service-{number:03}", hosts=9) for number in range(500))
    report = ProxyReport(node="orders-1", service="orders", version="1.40.0", clusters=clusters)
    gateway = ProxyReport(node="ingress", service="ingress")
    async with mesh.caller(ORDERS) as call:
        assert await call("Report", report) == b"{}"
        denied = grpc.StatusCode.PERMISSION_DENIED
        await fails(denied, "may not report for a proxy of ingress", call("Report", gateway))
        await fails(denied, "too many", call("Report", report.model_copy(update={"node": "above-the-limit"})))
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        many = report.model_copy(update={"clusters": (*clusters, clusters[0])})
        await fails(invalid, "ProxyReport: clusters", call("Report", many))
        await fails(invalid, "larger than 262144 bytes", call("Report", b" " * 262145))
    async with mesh.caller(INGRESS) as call:
        await call("Report", gateway)
    assert mesh.reports == [(ORDERS.uri, report), (INGRESS.uri, gateway)]


async def test_command_is_fetched_and_answered_only_by_its_own_identity(mesh: Mesh) -> None:
    proxy = ProxyRef(node="orders-1", service="orders")
    denied = grpc.StatusCode.PERMISSION_DENIED
    async with mesh.caller(ORDERS) as call, mesh.caller(PAYMENTS) as stranger:
        fetching = asyncio.create_task(call("FetchCommands", proxy))
        await agent_is(mesh, connected=True)
        result = asyncio.create_task(mesh.commands.run("orders-1", "stats", "ä" * ARGUMENT_LIMIT))
        (command,) = CommandBatch.model_validate_json(await fetching).commands
        assert (command.kind, command.argument) == ("stats", "ä" * ARGUMENT_LIMIT)
        await fails(denied, "may not fetch commands for a proxy of orders", stranger("FetchCommands", proxy))
        await fails(
            denied, "was not for", stranger("ReportResult", CommandResult.succeeded(command, "forged"))
        )
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        await fails(invalid, "larger than", call("ReportResult", b" " * (agents.MAX_RESULT_BYTES + 1)))
        text = "".join(f"cluster.c{number}.rq: {number * number}\n" for number in range(60_000))
        assert len(text) > agents.MAX_RESULT_BYTES
        await call("ReportResult", CommandResult.succeeded(command, text))
        assert await result == text
        await fails(
            grpc.StatusCode.NOT_FOUND,
            "too late",
            call("ReportResult", CommandResult.succeeded(command, "twice")),
        )


async def test_disconnected_agent_gets_no_more_commands(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "PROXY_TIMEOUT", 0.0)
    async with mesh.caller(ORDERS) as call:
        fetching = asyncio.create_task(call("FetchCommands", ProxyRef(node="orders-1", service="orders")))
        await agent_is(mesh, connected=True)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    await agent_is(mesh, connected=False)


async def test_certificate_of_another_mesh_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    stranger = open_authority(Settings(tmp_path / "other"))
    async with mesh.caller(ORDERS, stranger) as call:
        await fails(grpc.StatusCode.UNAVAILABLE, "", call("Register", REGISTRATION))
    assert mesh.leases.instances == {}


async def test_client_without_a_certificate_is_refused(mesh: Mesh) -> None:
    credentials = grpc.ssl_channel_credentials(mesh.authority.bundle.encode())
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_DNS)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{mesh.port}", credentials, options) as channel:
        call = channel.unary_unary(f"/{agents.SERVICE}/Register", bytes, bytes)
        await fails(
            grpc.StatusCode.UNAVAILABLE, "", call(REGISTRATION.model_dump_json().encode(), timeout=20)
        )


@pytest.mark.parametrize(
    ("method", "body", "reason"),
    [
        ("Register", b"", "not a valid Registration: body"),
        (
            "Register",
            b'{"instance": "A!", "service": "orders", "address": "a", "port": 0}',
            "address: 'a' is not an IP address; instance: ",
        ),
        ("Renew", b'{"csr": 7}', "not a valid SignRequest: csr"),
        ("Drain", b" " * 32769, "larger than 32768 bytes"),
    ],
)
async def test_invalid_message_is_named(mesh: Mesh, method: str, body: bytes, reason: str) -> None:
    async with mesh.caller(ORDERS) as call:
        await fails(grpc.StatusCode.INVALID_ARGUMENT, reason, call(method, body))


async def test_unavailable_store_is_reported_and_not_counted_as_a_refusal(mesh: Mesh) -> None:
    before = refusals()
    async with mesh.caller(ORDERS) as call:
        mesh.leases.unavailable = True
        await fails(grpc.StatusCode.UNAVAILABLE, "cannot be reached", call("Register", REGISTRATION))
        mesh.leases.unavailable = False
        await fails(
            grpc.StatusCode.NOT_FOUND, "not registered", call("Drain", InstanceRef(instance="orders-9"))
        )
        await call("Register", REGISTRATION)
    assert refusals() == before


async def test_server_certificate_is_replaced_while_serving(tmp_path: Path) -> None:
    clock = FakeClock(time.time() - 7200)
    authority = open_authority(Settings(tmp_path), clock)
    async with serving(authority) as mesh:
        async with mesh.caller(ORDERS) as call:
            await fails(grpc.StatusCode.UNAVAILABLE, "", call("Register", REGISTRATION))
        clock.advance(7200)
        mesh.certificates.replace(tls_credentials(authority))
        async with mesh.caller(ORDERS) as call:
            await call("Register", REGISTRATION)
