"""The connection to one peer: gRPC over mutual TLS, under the control plane's own identity on both ends."""

from __future__ import annotations

import grpc

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.cluster.service import MAX_RESPONSE_BYTES, MEMBER_ID_HEADER, SERVICE
from meshwright.control_plane.tls import TlsCredentials

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # Only a control plane's certificate has this name, whatever address it is dialled by.
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


class PeerError(Exception):
    """A peer did not answer; `reason` is gRPC's code in lower case, the text says more."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class PeerConnection:
    """One peer at `address` (host:port). `id` is who must answer there; another one's answer is an error."""

    def __init__(self, id: str, address: str, credentials: TlsCredentials) -> None:
        self.credentials = credentials
        self._metadata = ((MEMBER_ID_HEADER, id),)
        channel = grpc.ssl_channel_credentials(credentials.roots, credentials.key, credentials.certificate)
        self._channel = grpc.aio.secure_channel(address, channel, list(CHANNEL_OPTIONS))

    async def call(self, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """What the peer answers within these seconds; raises PeerError."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method}", None, None)
        try:
            answer: bytes = await call(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code().name.lower()
            raise PeerError(code, f"{method}: {error.details() or code}"[:300]) from None
        return answer

    async def close(self) -> None:
        """End the connection at once."""
        await self._channel.close(None)
