"""The gRPC service `meshwright.plane.v1.Plane` on the xDS port: what one control plane asks another.

Only the identity of the control plane is admitted. Requests and answers are bytes whose form each method
sets for itself; both are bounded. A question names the control plane that it is for, so that nobody takes
another's words (two that announce one address, a port that was handed on) for a peer's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

import grpc
import structlog

from meshwright.control_plane.api.spiffe import identity_from_auth_context
from meshwright.control_plane.cluster import metrics
from meshwright.control_plane.errors import InputError, MeshError, NotFoundError, PermissionDeniedError
from meshwright.control_plane.tls import LogThrottle

SERVICE = "meshwright.plane.v1.Plane"

MEMBER_ID_HEADER = "mesh-plane-id"
"""Metadata of a question: the id of the control plane that is to answer."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Bytes of a question."""

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Bytes of an answer; methods page what may be longer."""

log = structlog.get_logger(__name__)

MethodHandler = Callable[[bytes], Awaitable[bytes]]
Context = grpc.aio.ServicerContext[bytes, bytes]

if TYPE_CHECKING:
    Base = grpc.GenericRpcHandler[bytes, bytes]
else:
    Base = grpc.GenericRpcHandler

_CODES: dict[type[MeshError], grpc.StatusCode] = {
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
}


class ClusterService(Base):
    """Serves `answers` by the method's name; the mapping may grow while it serves."""

    def __init__(self, id: str, trust_domain: str, answers: Mapping[str, MethodHandler]) -> None:
        self._id = id
        self._trust_domain = trust_domain
        self._answers = answers
        self._refusals = LogThrottle()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The method that is called; None for one of another service, or unknown here."""
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        answer = self._answers.get(method)
        if service != SERVICE or answer is None:
            return None

        async def serve(request: bytes, context: Context) -> bytes:
            try:
                self._admit(context)
                if len(request) > MAX_REQUEST_BYTES:
                    raise InputError(f"the question is larger than {MAX_REQUEST_BYTES} bytes")
                return await answer(request)
            except MeshError as error:
                await self._fail(context, error)

        return grpc.unary_unary_rpc_method_handler(serve)

    def _admit(self, context: Context) -> None:
        """Raises RefusedError for everybody but a control plane of this mesh, NotFoundError when it asks
        for another one than this.
        """
        identity = identity_from_auth_context(context.auth_context() or {}, self._trust_domain)
        if identity.role != "control-plane":
            raise PermissionDeniedError(f"{identity.uri} is no control plane")
        asked = dict(context.invocation_metadata() or ()).get(MEMBER_ID_HEADER)
        if asked != self._id:
            raise NotFoundError("another control plane answers here: give each its own MESH_ADVERTISE")

    async def _fail(self, context: Context, error: MeshError) -> NoReturn:
        if isinstance(error, PermissionDeniedError):
            metrics.DENIED.inc()
            if self._refusals.should_log(context.peer(), str(error), time.monotonic()):
                log.warning("question refused", peer=context.peer(), reason=str(error))
        await context.abort(_CODES.get(type(error), grpc.StatusCode.UNAVAILABLE), str(error))
        raise AssertionError("abort raises")
