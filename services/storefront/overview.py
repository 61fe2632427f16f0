"""The exchange as a whole: one OpenAPI document, and whether what a customer needs is there.

Anyone may ask, and each request would ask many services. So a result is kept for a while, and whoever asks
meanwhile gets the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field

from meshwright.services.kit.client import PartModel, ServiceClient
from meshwright.services.kit.operations import BodyModel, Operation, OperationRequest, OperationResponse
from meshwright.services.storefront.domain import join

DESCRIBED = (
    "users", "catalog", "inventory", "orders", "payments", "nfts", "legacy", "analytics", "notifications",
    "inbox", "mobile", "storefront",
)  # fmt: skip
"""Services with operations at the ingress. Trading takes legacy's, which are described already."""

NEEDED = ("users", "catalog", "inventory", "payments", "orders")
"""Services without which nobody can order."""

DOCUMENT_SECONDS, INCOMPLETE_SECONDS = 60.0, 2.0
"""Seconds for which the document is kept: one that lacks a service soon gets another chance."""

AVAILABILITY_SECONDS = 1.0
"""Seconds for which the answer of the services is kept."""

ResultT = TypeVar("ResultT")


class KeptResult(Generic[ResultT]):
    """The result of `produce`, for the seconds that come with it. Only one caller at a time produces."""

    def __init__(self, produce: Callable[[], Awaitable[tuple[ResultT, float]]]) -> None:
        self._produce = produce
        self._lock = asyncio.Lock()
        self._cached: tuple[ResultT, float] | None = None

    async def get(self) -> ResultT:
        """The result."""
        async with self._lock:
            if self._cached is None or self._cached[1] <= time.monotonic():
                result, seconds = await self._produce()
                self._cached = (result, time.monotonic() + seconds)
            return self._cached[0]


class ServiceDocument(PartModel):
    """A service's OpenAPI document."""

    paths: dict[str, dict[str, Any]]
    components: dict[str, Any] = Field(default={})


class ReadyService(PartModel):
    """The response of a service that is ready."""

    status: Literal["ready"]


class ReadyResponse(BodyModel):
    """Whether a customer can order."""

    status: Literal["ready", "not ready"]


class AvailabilityResponse(BodyModel):
    """What a customer needs, service by service."""

    status: Literal["healthy", "unhealthy"]
    services: dict[str, Literal["ready", "not ready"]]


class OverviewApi:
    """The operations about the exchange as a whole, and its document."""

    def __init__(self, client: ServiceClient, version: str) -> None:
        self._client = client
        self._version = version
        self._document = KeptResult(self._join)
        self._ready = KeptResult(self._ask)

    def operations(self) -> list[Operation]:
        """All operations."""
        health: dict[int, type[BaseModel] | None] = dict.fromkeys((200, 503), AvailabilityResponse)
        ready: dict[int, type[BaseModel] | None] = dict.fromkeys((200, 503), ReadyResponse)
        return [
            Operation("GET", "/api/health", "Get what a customer needs", self.health, health),
            Operation("GET", "/api/ready", "Get whether a customer can order", self.ready, ready),
        ]

    def routes(self) -> list[web.RouteDef]:
        """The joint document. A service that does not answer is listed in `x-missing`."""
        return [web.get("/api/openapi.json", self._serve_document)]

    async def health(self, _: OperationRequest[None, None]) -> OperationResponse:
        ready = await self._ready.get()
        is_healthy = all(ready.values())
        body = AvailabilityResponse(
            status="healthy" if is_healthy else "unhealthy",
            services={name: "ready" if answers else "not ready" for name, answers in ready.items()},
        )
        return OperationResponse(body, 200 if is_healthy else 503)

    async def ready(self, _: OperationRequest[None, None]) -> OperationResponse:
        is_ready = all((await self._ready.get()).values())
        return OperationResponse(
            ReadyResponse(status="ready" if is_ready else "not ready"), 200 if is_ready else 503
        )

    async def _ask(self) -> tuple[dict[str, bool], float]:
        """Which of the needed services are ready."""
        calls = (self._client.part(name, "/health/ready", ReadyService) for name in NEEDED)
        answers = await asyncio.gather(*calls)
        ready = {name: answer is not None for name, answer in zip(NEEDED, answers, strict=True)}
        return ready, AVAILABILITY_SECONDS

    async def _serve_document(self, _: web.Request) -> web.Response:
        return web.json_response(await self._document.get())

    async def _join(self) -> tuple[dict[str, Any], float]:
        calls = (self._client.part(name, "/openapi.json", ServiceDocument) for name in DESCRIBED)
        documents = dict(zip(DESCRIBED, await asyncio.gather(*calls), strict=True))
        joint = join(
            {name: document.model_dump() for name, document in documents.items() if document}, self._version
        )
        if missing := [name for name, document in documents.items() if document is None]:
            return {**joint, "x-missing": missing}, INCOMPLETE_SECONDS
        return joint, DOCUMENT_SECONDS
