"""The agents' gRPC service `meshwright.agent.v1.Agent`: leases, draining, renewal of SVIDs, what
sidecars report of themselves, and what they are asked.

It is served on the xDS port, so every caller has an SVID, and who it is is read from nothing else. Messages
are the JSON of `meshwright.control_plane.api.models.base`. A caller may act on its own service's instances only; gateways only
renew, report and answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol, TypeVar

import grpc
import structlog
from prometheus_client import Counter
from pydantic import ValidationError

from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.api.models.base import (
    ApiModel,
    DrainResult,
    InstanceRef,
    LeaseGrant,
    ProxyReport,
    Registration,
    SignRequest,
    SignResponse,
)
from meshwright.control_plane.api.models.commands import (
    COMPRESSED_LIMIT,
    CommandBatch,
    CommandResult,
    ProxyRef,
)
from meshwright.control_plane.api.peer import identity_from_auth_context
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import (
    InputError,
    MeshError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
)

SERVICE = "meshwright.agent.v1.Agent"

MAX_REQUEST_BYTES = 32768
"""Bytes of a request: a CSR at its limit has 16 KiB, a registration at all its limits less."""

MAX_REPORT_BYTES = 262_144
"""Bytes of a report: more than 500 clusters need."""

MAX_RESULT_BYTES = COMPRESSED_LIMIT + MAX_REQUEST_BYTES
"""Bytes of an answer to an ask."""

DRAIN_TIMEOUT = 5.0
"""Seconds that a drain waits for the sidecars; an agent then goes on with its stop."""

REFUSALS = Counter(
    "mesh_agent_refusals_total", "Calls of agents that their identity does not entitle them to"
)

log = structlog.get_logger(__name__)

Asked = TypeVar("Asked", bound=ApiModel)
Sign = Callable[[str, Identity], SignResponse]
Drained = Callable[[str], Awaitable[DrainResult]]
Note = Callable[[Identity, ProxyReport], None]
Context = grpc.aio.ServicerContext[bytes, bytes]

_CODES: dict[type[MeshError], grpc.StatusCode] = {
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    StoreError: grpc.StatusCode.UNAVAILABLE,
}


class LeaseRegistry(Protocol):
    """The part of the store that agents write. All raise StoreError when it cannot be reached, and
    RefusedError when the instance is another service's.
    """

    async def register(self, registration: Registration) -> bool:
        """Make or renew the instance's lease; whether that says something new."""

    async def deregister(self, instance: str, service: str) -> bool:
        """End the lease of an instance of `service`; False when there was none."""

    async def set_draining(self, instance: str, service: str) -> bool:
        """Mark an instance of `service` as draining; raises NotFoundError when it has no lease."""


class AgentService:
    """The calls. `sign` certifies a CSR for an identity (see ca.app.CertificateAuthority.sign).

    `drained` waits until every connected sidecar that knew the instance has taken it out, or answers sooner
    whom it waits for; it is cancelled after DRAIN_LIMIT. `lease_ttl` in seconds is what agents are told.
    `note` keeps a report of the caller's; it raises RefusedError when it keeps too many already. `asks`
    are what sidecars are asked.
    """

    def __init__(
        self,
        leases: LeaseRegistry,
        sign: Sign,
        drained: Drained,
        trust_domain: str,
        lease_ttl: float,
        *,
        record_report: Note = lambda _identity, _report: None,
        commands: CommandQueue | None = None,
    ) -> None:
        self._leases = leases
        self._sign = sign
        self._drained = drained
        self._trust_domain = trust_domain
        self._lease_ttl = lease_ttl
        self._note = record_report
        self._asks = commands or CommandQueue()

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """What to add to a grpc.aio server that demands client certificates."""
        calls = {
            "Register": self._call(Registration, self._register),
            "Deregister": self._call(InstanceRef, self._deregister),
            "Drain": self._call(InstanceRef, self._drain),
            "Renew": self._call(SignRequest, self._renew),
            "Report": self._call(ProxyReport, self._report, MAX_REPORT_BYTES),
            "Fetch": self._call(ProxyRef, self._fetch),
            "Answer": self._call(CommandResult, self._answer, MAX_RESULT_BYTES),
        }
        return grpc.method_handlers_generic_handler(SERVICE, calls)

    async def _register(self, caller: Identity, asked: Registration) -> LeaseGrant:
        if asked.service != _service(caller):
            raise PermissionDeniedError(f"{caller.uri} may not register an instance of {asked.service}")
        await self._leases.register(asked)
        return LeaseGrant(ttl=self._lease_ttl)

    async def _deregister(self, caller: Identity, asked: InstanceRef) -> ApiModel:
        await self._leases.deregister(asked.instance, _service(caller))
        return ApiModel()

    async def _drain(self, caller: Identity, asked: InstanceRef) -> DrainResult:
        await self._leases.set_draining(asked.instance, _service(caller))
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                return await self._drained(asked.instance)
        except TimeoutError:
            return DrainResult(drained=False)

    async def _renew(self, caller: Identity, asked: SignRequest) -> SignResponse:
        signed = self._sign(asked.csr, caller)
        log.info("renewed", identity=caller.uri)
        return signed

    async def _report(self, caller: Identity, asked: ProxyReport) -> ApiModel:
        if asked.service != caller.name:
            raise PermissionDeniedError(f"{caller.uri} may not report for a proxy of {asked.service}")
        self._note(caller, asked)
        return ApiModel()

    async def _fetch(self, caller: Identity, asked: ProxyRef) -> CommandBatch:
        if asked.service != caller.name:
            raise PermissionDeniedError(f"{caller.uri} may not be asked for a proxy of {asked.service}")
        return await self._asks.fetch(caller, asked.node)

    async def _answer(self, caller: Identity, asked: CommandResult) -> ApiModel:
        self._asks.complete(caller, asked)
        return ApiModel()

    def _call(
        self,
        kind: type[Asked],
        answer: Callable[[Identity, Asked], Awaitable[ApiModel]],
        limit: int = MAX_REQUEST_BYTES,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method that reads `kind`, knows its caller and turns our errors into gRPC's codes."""

        async def serve(request: bytes, context: Context) -> bytes:
            try:
                caller = identity_from_auth_context(context.auth_context(), self._trust_domain)
                return (await answer(caller, _read(kind, request, limit))).model_dump_json().encode()
            except MeshError as error:
                await _fail(context, error)

        return grpc.unary_unary_rpc_method_handler(serve)


def _service(caller: Identity) -> str:
    if caller.role != "service":
        raise PermissionDeniedError(f"{caller.uri} is no service: it has no instances")
    return caller.name


def _read(kind: type[Asked], request: bytes, limit: int) -> Asked:
    if len(request) > limit:
        raise InputError(f"the request is larger than {limit} bytes")
    try:
        return kind.model_validate_json(request)
    except ValidationError as error:
        fields = sorted({".".join(map(str, problem["loc"])) or "body" for problem in error.errors()})
        raise InputError(f"not a {kind.__name__} in JSON (wrong: {', '.join(fields)})") from None


async def _fail(context: Context, error: MeshError) -> NoReturn:
    if isinstance(error, PermissionDeniedError):
        REFUSALS.inc()
        log.warning("agent refused", peer=context.peer(), reason=str(error))
    await context.abort(_CODES.get(type(error), grpc.StatusCode.INTERNAL), str(error))
    raise AssertionError("abort raises")
