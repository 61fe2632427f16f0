"""The agents' gRPC service, `meshwright.agent.v1.Agent`: leases, drain, SVID renewal, reports, commands.

It is served on the xDS port, so every caller has an SVID, and the SVID alone says who it is. Messages are
the JSON of models in `control_plane/api/models`. A service may act on its own instances only; a gateway may
only renew, report, and fetch and complete commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol, TypeVar

import grpc
import structlog
from prometheus_client import Counter
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import (
    COMPRESSED_LIMIT,
    CommandBatch,
    CommandResult,
    ProxyRef,
)
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.models.instances import DrainResult, InstanceRef, LeaseGrant, Registration
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.spiffe import Identity, identity_from_auth_context
from meshwright.control_plane.errors import (
    InputError,
    MeshError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
)

SERVICE = "meshwright.agent.v1.Agent"

MAX_REQUEST_BYTES = 32768
"""A CSR at its limit has 16 KiB, a registration with every field at its limit less."""

MAX_REPORT_BYTES = 262_144
"""More than 500 clusters need."""

MAX_PROBLEMS = 3
"""Problems of an invalid request that the response names."""

MAX_RESULT_BYTES = COMPRESSED_LIMIT + MAX_REQUEST_BYTES
"""A command's result."""

DRAIN_TIMEOUT = 5.0
"""Seconds that a drain waits for sidecars; the agent then stops its app anyway."""

DENIED = Counter("mesh_agent_denied_total", "Calls of agents that their identity does not permit.")

log = structlog.get_logger(__name__)

RequestT = TypeVar("RequestT", bound=ApiModel)
Sign = Callable[[str, Identity], SignResponse]
Drain = Callable[[str, str], Awaitable[DrainResult]]
RecordReport = Callable[[Identity, ProxyReport], None]
Context = grpc.aio.ServicerContext[bytes, bytes]

_CODES: dict[type[MeshError], grpc.StatusCode] = {
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    StoreError: grpc.StatusCode.UNAVAILABLE,
}


class LeaseRegistry(Protocol):
    """The leases that agents write (store.leases.Leases). Every method raises StoreError if the store is
    unavailable.
    """

    async def register(self, registration: Registration) -> bool:
        """Create or renew the instance's lease. Returns whether anything changed.

        Raises PermissionDeniedError if the service has too many instances.
        """

    async def deregister(self, instance: str, service: str) -> bool:
        """Delete the lease of an instance of `service`. Returns whether there was one."""

    async def set_draining(self, instance: str, service: str) -> bool:
        """Mark an instance of `service` as draining; raises NotFoundError if it has no lease."""


class AgentService:
    """Serves agents. `sign` signs a CSR for an identity (ca.authority.CertificateAuthority.sign_csr).

    `drain` waits until every connected sidecar has ACKed that an instance of a service (service, instance)
    drains; it is cancelled after
    DRAIN_TIMEOUT. `lease_ttl` is sent to agents, in seconds. `record_report` raises PermissionDeniedError if
    the caller reports for too many proxies. `commands` are the commands for sidecars.
    """

    def __init__(
        self,
        leases: LeaseRegistry,
        sign: Sign,
        drain: Drain,
        trust_domain: str,
        lease_ttl: float,
        *,
        record_report: RecordReport = lambda _identity, _report: None,
        commands: CommandQueue | None = None,
    ) -> None:
        self._leases = leases
        self._sign = sign
        self._drain = drain
        self._trust_domain = trust_domain
        self._lease_ttl = lease_ttl
        self._record_report = record_report
        self._commands = commands or CommandQueue()

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The handler for a grpc.aio server that demands client certificates."""
        methods = {
            "Register": self._method(Registration, self._serve_register),
            "Deregister": self._method(InstanceRef, self._serve_deregister),
            "Drain": self._method(InstanceRef, self._serve_drain),
            "Renew": self._method(SignRequest, self._serve_renew),
            "Report": self._method(ProxyReport, self._serve_report, MAX_REPORT_BYTES),
            "FetchCommands": self._method(ProxyRef, self._serve_fetch_commands),
            "ReportResult": self._method(CommandResult, self._serve_report_result, MAX_RESULT_BYTES),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _serve_register(self, caller: Identity, registration: Registration) -> LeaseGrant:
        if registration.service != _service(caller):
            message = f"{caller.uri} may not register an instance of {registration.service}"
            raise PermissionDeniedError(message)
        await self._leases.register(registration)
        return LeaseGrant(ttl=self._lease_ttl)

    async def _serve_deregister(self, caller: Identity, request: InstanceRef) -> ApiModel:
        await self._leases.deregister(request.instance, _service(caller))
        return ApiModel()

    async def _serve_drain(self, caller: Identity, request: InstanceRef) -> DrainResult:
        service = _service(caller)
        await self._leases.set_draining(request.instance, service)
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                return await self._drain(service, request.instance)
        except TimeoutError:
            return DrainResult(drained=False)

    async def _serve_renew(self, caller: Identity, request: SignRequest) -> SignResponse:
        response = self._sign(request.csr, caller)
        log.info("SVID renewed", identity=caller.uri)
        return response

    async def _serve_report(self, caller: Identity, report: ProxyReport) -> ApiModel:
        if report.service != caller.name:
            raise PermissionDeniedError(f"{caller.uri} may not report for a proxy of {report.service}")
        self._record_report(caller, report)
        return ApiModel()

    async def _serve_fetch_commands(self, caller: Identity, proxy: ProxyRef) -> CommandBatch:
        if proxy.service != caller.name:
            message = f"{caller.uri} may not fetch commands for a proxy of {proxy.service}"
            raise PermissionDeniedError(message)
        return await self._commands.fetch(caller, proxy.node)

    async def _serve_report_result(self, caller: Identity, result: CommandResult) -> ApiModel:
        self._commands.complete(caller, result)
        return ApiModel()

    def _method(
        self,
        request_type: type[RequestT],
        handler: Callable[[Identity, RequestT], Awaitable[ApiModel]],
        max_bytes: int = MAX_REQUEST_BYTES,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A gRPC method: parses the request, identifies the caller, maps a MeshError to a status code."""

        async def serve(body: bytes, context: Context) -> bytes:
            try:
                caller = identity_from_auth_context(context.auth_context(), self._trust_domain)
                response = await handler(caller, _parse(request_type, body, max_bytes))
                return response.model_dump_json().encode()
            except MeshError as error:
                await _abort(context, error)

        return grpc.unary_unary_rpc_method_handler(serve)


def _service(caller: Identity) -> str:
    if caller.role != "service":
        raise PermissionDeniedError(f"{caller.uri} is not a service and has no instances")
    return caller.name


def _parse(request_type: type[RequestT], body: bytes, max_bytes: int) -> RequestT:
    if len(body) > max_bytes:
        raise InputError(f"the request is larger than {max_bytes} bytes")
    try:
        return request_type.model_validate_json(body)
    except ValidationError as error:
        problems = sorted({_describe(problem) for problem in error.errors(include_url=False)})
        message = "; ".join(problems[:MAX_PROBLEMS])
        raise InputError(f"not a valid {request_type.__name__}: {message}") from None


def _describe(problem: ErrorDetails) -> str:
    """Where a problem is and what it is. Of the input only what the message quotes."""
    location = ".".join(map(str, problem["loc"]))[:63] or "body"
    return f"{location}: {problem['msg'].removeprefix('Value error, ')}"


async def _abort(context: Context, error: MeshError) -> NoReturn:
    if isinstance(error, PermissionDeniedError):
        DENIED.inc()
        log.warning("agent call denied", peer=context.peer(), reason=str(error))
    await context.abort(_CODES.get(type(error), grpc.StatusCode.INTERNAL), str(error))
    raise AssertionError("abort raises")
