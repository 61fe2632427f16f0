"""The gRPC service of cluster.proto on the xDS port: what one control plane calls at another.

Only the control plane's identity is admitted. Requests and responses are limited in size. A request names
the member that it is for: two control planes that announce one address, or a port that was reused, must not
pass for a peer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError

from meshwright.control_plane.api.spiffe import identity_from_auth_context
from meshwright.control_plane.cluster import metrics
from meshwright.control_plane.cluster.methods import SERVICE, Method
from meshwright.control_plane.cluster.peer_client import Handler
from meshwright.control_plane.errors import InputError, MeshError, NotFoundError, PermissionDeniedError
from meshwright.control_plane.tls import LogThrottle

MEMBER_ID_HEADER = "mesh-member-id"
"""Request metadata: id of the control plane that is to respond."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Methods whose responses can be larger return them in pages."""

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]

if TYPE_CHECKING:
    Base = grpc.GenericRpcHandler[bytes, bytes]
else:
    Base = grpc.GenericRpcHandler  # has no type parameters at run time

_CODES: dict[type[MeshError], grpc.StatusCode] = {
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class ServedMethod:
    """A method with its handler."""

    method: Method[Any, Any]
    handler: Handler[Any, Any]

    async def serve(self, request: bytes) -> bytes:
        """The serialized response; raises InputError for bytes that are not the method's request."""
        if len(request) > MAX_REQUEST_BYTES:
            raise InputError(f"the request is larger than {MAX_REQUEST_BYTES} bytes")
        try:
            message = self.method.request.FromString(request)
        except DecodeError:
            raise InputError(f"{self.method.name}: not a {self.method.request.__name__}") from None
        response: bytes = (await self.handler(message)).SerializeToString()
        return response


class ClusterService(Base):
    """Serves `methods` by name; the mapping may grow while it serves."""

    def __init__(self, id: str, trust_domain: str, methods: Mapping[str, ServedMethod]) -> None:
        self._id = id
        self._trust_domain = trust_domain
        self._methods = methods
        self._log_throttle = LogThrottle()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of the called method; None for another service or an unknown method."""
        service, _, name = handler_call_details.method.lstrip("/").partition("/")
        served = self._methods.get(name)
        if service != SERVICE or served is None:
            return None

        async def serve(request: bytes, context: Context) -> bytes:
            try:
                self._authorize(context)
                return await served.serve(request)
            except MeshError as error:
                await self._abort(context, error)

        return grpc.unary_unary_rpc_method_handler(serve)

    def _authorize(self, context: Context) -> None:
        """Raises PermissionDeniedError unless the caller is a control plane of this mesh, NotFoundError if
        the request is for another member.
        """
        identity = identity_from_auth_context(context.auth_context() or {}, self._trust_domain)
        if identity.role != "control-plane":
            raise PermissionDeniedError(f"{identity.uri} is not a control plane")
        if dict(context.invocation_metadata() or ()).get(MEMBER_ID_HEADER) != self._id:
            raise NotFoundError("another control plane listens here: give each its own MESH_ADVERTISE")

    async def _abort(self, context: Context, error: MeshError) -> NoReturn:
        if isinstance(error, PermissionDeniedError):
            metrics.DENIED.inc()
            if self._log_throttle.should_log(context.peer(), str(error), time.monotonic()):
                log.warning("cluster call denied", peer=context.peer(), reason=str(error))
        await context.abort(_CODES.get(type(error), grpc.StatusCode.UNAVAILABLE), str(error))
        raise AssertionError("abort raises")
