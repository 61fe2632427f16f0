"""Route: take a proxy out of the mesh."""

from __future__ import annotations

from typing import Protocol

from meshwright.control_plane.admin.route import Route
from meshwright.control_plane.admin.routers.proxies import ProxyParams
from meshwright.control_plane.api.models.proxies import EvictionRequest, EvictionResult


class Evict(Protocol):
    """Evicts a proxy (cluster.evictions.EvictionService.evict)."""

    async def __call__(self, node: str, service: str, author: str, message: str, /) -> EvictionResult:
        """Raises NotFoundError, InputError, StoreError."""


class EvictionsRouter:
    """`/proxies/{name}/evict`."""

    def __init__(self, evict: Evict) -> None:
        self._evict = evict

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "POST", "/proxies/{name}/evict", "evict_proxy", "Evict a proxy", self.evict, EvictionResult,
                params=ProxyParams, body=EvictionRequest, errors=(404, 503),
            ),
        )  # fmt: skip

    async def evict(self, params: ProxyParams, body: EvictionRequest) -> EvictionResult:
        """Refuse a proxy's certificate and its renewal until it enrols again.

        Its streams are closed, and the instances that it registered are removed, at every control plane.
        """
        return await self._evict(params.name, params.service, body.author, body.message)
