"""The agents' gRPC service, `meshwright.agent.v1.Agent`: leases, drain, SVID renewal, reports, commands.

It is served on the xDS port, so every caller has an SVID, and the SVID alone says who it is. Messages are
the JSON of models in `control_plane/api/models`. A service or gateway may act on its own instances only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol, TypeVar

import grpc
import structlog
from prometheus_client import Counter
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.agents.enrolments import SeenEnrolments
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import (
    COMPRESSED_LIMIT,
    CommandBatch,
    CommandResult,
    ProxyRef,
)
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.models.instances import (
    DrainResult,
    InstanceDeparture,
    InstanceRef,
    LeaseGrant,
    Registration,
    owner_name,
)
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Caller, CallerCheck
from meshwright.control_plane.errors import (
    InputError,
    MeshError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
)
from meshwright.control_plane.peer_log import PeerLog

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
Sign = Callable[[str, Identity, str], SignResponse]
Drain = Callable[[str, str], Awaitable[DrainResult]]
RecordReport = Callable[[Identity, ProxyReport, str], None]
"""Called with the caller, its report, and gRPC's name of its connection."""
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

    async def deregister(self, instance: str, service: str, failure: str = "") -> bool:
        """Delete the lease of an instance of `service`. Returns whether there was one.

        `failure` says why it did not end as planned.
        """

    async def set_draining(self, instance: str, service: str) -> bool:
        """Mark an instance of `service` as draining; raises NotFoundError if it has no lease."""


class AgentService:
    """Serves agents. `sign` signs a CSR for an identity and enrolment (ca.authority's `sign_csr`).

    `drain` waits until every connected sidecar has ACKed that an instance of a service (service, instance)
    drains; it is cancelled after
    DRAIN_TIMEOUT. `lease_ttl` is sent to agents, in seconds. `record_report` raises PermissionDeniedError if
    the caller reports for too many proxies. `commands` are the commands for sidecars.
    `callers` refuses evicted callers, `seen` takes note of which enrolment speaks for which node.
    """

    def __init__(
        self,
        leases: LeaseRegistry,
        sign: Sign,
        drain: Drain,
        trust_domain: str,
        lease_ttl: float,
        *,
        record_report: RecordReport = lambda _identity, _report, _peer: None,
        commands: CommandQueue | None = None,
        callers: CallerCheck | None = None,
        seen: SeenEnrolments | None = None,
    ) -> None:
        self._leases = leases
        self._sign = sign
        self._drain = drain
        self._callers = callers or CallerCheck(trust_domain)
        self._seen = seen or SeenEnrolments()
        self._lines = PeerLog("agents")
        self._lease_ttl = lease_ttl
        self._record_report = record_report
        self._commands = commands or CommandQueue()

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The handler for a grpc.aio server that demands client certificates."""
        methods = {
            "Register": self._method(Registration, self._serve_register),
            "Deregister": self._method(InstanceDeparture, self._serve_deregister),
            "Drain": self._method(InstanceRef, self._serve_drain),
            "Renew": self._method(SignRequest, self._serve_renew),
            "Report": self._method(ProxyReport, self._serve_report, MAX_REPORT_BYTES),
            "FetchCommands": self._method(ProxyRef, self._serve_fetch_commands),
            "ReportResult": self._method(CommandResult, self._serve_report_result, MAX_RESULT_BYTES),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _serve_register(self, caller: Caller, registration: Registration, _peer: str) -> LeaseGrant:
        if registration.owner != _owner(caller.identity):
            message = f"{caller.identity.uri} may not register an instance of {registration.owner}"
            raise PermissionDeniedError(message)
        self._seen.record(caller, registration.instance, time.monotonic())
        await self._leases.register(registration)
        return LeaseGrant(ttl=self._lease_ttl)

    async def _serve_deregister(self, caller: Caller, request: InstanceDeparture, _peer: str) -> ApiModel:
        await self._leases.deregister(request.instance, _owner(caller.identity), request.failure)
        return ApiModel()

    async def _serve_drain(self, caller: Caller, request: InstanceRef, _peer: str) -> DrainResult:
        owner = _owner(caller.identity)
        await self._leases.set_draining(request.instance, owner)
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                return await self._drain(owner, request.instance)
        except TimeoutError:
            return DrainResult(drained=False)

    async def _serve_renew(self, caller: Caller, request: SignRequest, _peer: str) -> SignResponse:
        response = self._sign(request.csr, caller.identity, caller.enrolment)
        log.info("SVID renewed", identity=caller.identity.uri)
        return response

    async def _serve_report(self, caller: Caller, report: ProxyReport, peer: str) -> ApiModel:
        if report.service != caller.identity.name:
            message = f"{caller.identity.uri} may not report for a proxy of {report.service}"
            raise PermissionDeniedError(message)
        self._seen.record(caller, report.node, time.monotonic())
        self._record_report(caller.identity, report, peer)
        return ApiModel()

    async def _serve_fetch_commands(self, caller: Caller, proxy: ProxyRef, _peer: str) -> CommandBatch:
        if proxy.service != caller.identity.name:
            message = f"{caller.identity.uri} may not fetch commands for a proxy of {proxy.service}"
            raise PermissionDeniedError(message)
        self._seen.record(caller, proxy.node, time.monotonic())
        return await self._commands.fetch(caller.identity, proxy.node)

    async def _serve_report_result(self, caller: Caller, result: CommandResult, _peer: str) -> ApiModel:
        self._commands.complete(caller.identity, result)
        return ApiModel()

    def _method(
        self,
        request_type: type[RequestT],
        handler: Callable[[Caller, RequestT, str], Awaitable[ApiModel]],
        max_bytes: int = MAX_REQUEST_BYTES,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A gRPC method: parses the request, identifies the caller, maps a MeshError to a status code."""

        async def serve(body: bytes, context: Context) -> bytes:
            try:
                caller = self._callers.identify(context.auth_context())
                request = _parse(request_type, body, max_bytes)
                response = await handler(caller, request, context.peer())
                return response.model_dump_json().encode()
            except MeshError as error:
                await self._abort(context, error)

        return grpc.unary_unary_rpc_method_handler(serve)

    async def _abort(self, context: Context, error: MeshError) -> NoReturn:
        if isinstance(error, PermissionDeniedError):
            DENIED.inc()
            self._lines.warning("agent call denied", context.peer().rpartition(":")[0], reason=str(error))
        await context.abort(_CODES.get(type(error), grpc.StatusCode.INTERNAL), str(error))
        raise AssertionError("abort raises")


def _owner(caller: Identity) -> str:
    """Whose instances the caller may act on, as Registration.owner has it."""
    if caller.role == "control-plane":
        raise PermissionDeniedError(f"{caller.uri} is neither a service nor a gateway and has no instances")
    return owner_name(caller.name, caller.role)


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
