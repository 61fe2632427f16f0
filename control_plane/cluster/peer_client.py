"""How the other control planes are called, as the modules that call them see it (`members.Members`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from meshwright.control_plane.cluster.methods import Method, RequestT, ResponseT

CALL_TIMEOUT = 1.0
"""Seconds that a peer has to respond."""

Handler = Callable[[RequestT], Awaitable[ResponseT]]
"""Serves a method. A MeshError becomes a gRPC status."""


class PeerError(Exception):
    """A peer did not respond. `reason` is gRPC's status code in lower case; the text says more."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PeerClient(Protocol):
    """All other control planes of the mesh."""

    id: str

    def register_method(
        self, method: Method[RequestT, ResponseT], handler: Handler[RequestT, ResponseT]
    ) -> None:
        """Serve a method to peers. A handler must not call peers in turn."""

    def reachable(self) -> Sequence[str]:
        """Ids of the peers that responded to their last poll."""

    async def broadcast(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float = CALL_TIMEOUT,
    ) -> list[ResponseT]:
        """Call all reachable peers at once. Peers that fail or are late are left out; nothing is raised."""

    async def call(
        self,
        id: str,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float = CALL_TIMEOUT,
    ) -> ResponseT:
        """Call one peer; raises PeerError."""
