"""The connection to one peer: gRPC over mutual TLS with the control plane's identity on both ends."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.cluster.methods import SERVICE, Method, RequestT, ResponseT
from meshwright.control_plane.cluster.peer_client import PeerError
from meshwright.control_plane.cluster.service import MAX_RESPONSE_BYTES, MEMBER_ID_HEADER
from meshwright.control_plane.tls import TlsCredentials

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # Only a control plane's certificate has this name, whatever address is dialled.
    ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class PeerConnection:
    """One peer at `address` (host:port). `id` must match the control plane that responds there."""

    def __init__(self, id: str, address: str, credentials: TlsCredentials) -> None:
        self.credentials = credentials
        self._metadata = ((MEMBER_ID_HEADER, id),)
        channel = grpc.ssl_channel_credentials(credentials.roots, credentials.key, credentials.certificate)
        self._channel = grpc.aio.secure_channel(address, channel, list(CHANNEL_OPTIONS))

    async def call(
        self, method: Method[RequestT, ResponseT], request: RequestT, timeout_seconds: float
    ) -> ResponseT:
        """The peer's response; raises PeerError."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method.name}", None, None)
        try:
            body: bytes = await call(
                request.SerializeToString(), timeout=timeout_seconds, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            code = error.code().name.lower()
            raise PeerError(code, f"{method.name}: {error.details() or code}"[:300]) from None
        try:
            return method.response.FromString(body)
        except DecodeError:
            raise PeerError("unreadable", f"{method.name}: not a {method.response.__name__}") from None

    async def close(self) -> None:
        """Close the connection immediately."""
        await self._channel.close(None)
