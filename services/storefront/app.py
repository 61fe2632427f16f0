"""Storefront: collects the data of a page concurrently. A failed upstream leaves its part empty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
from meshwright.services.kit.operations import (
    BodyModel,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition

UPSTREAM_TIMEOUT_SECONDS = 1.0
"""Seconds that the page waits for an upstream: a user is waiting for the page."""

PAGE_ITEMS = 5
"""Orders and products on the page."""

log = structlog.get_logger()
UpstreamT = TypeVar("UpstreamT", bound=BaseModel)


class UpstreamModel(BaseModel):
    """The fields that storefront needs of another service's response. It ignores others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DashboardOrderItem(UpstreamModel):
    """A quantity of one product."""

    productId: str
    quantity: int


class DashboardOrder(UpstreamModel):
    """An order. `total` is in minor units."""

    orderId: str
    items: list[DashboardOrderItem]
    total: int
    status: str


class UserOrders(UpstreamModel):
    """Orders' response."""

    orders: list[DashboardOrder]


class DashboardProduct(UpstreamModel):
    """A product. `price` is in minor units."""

    id: str
    name: str
    price: int


class RecentProducts(UpstreamModel):
    """Catalog's response."""

    products: list[DashboardProduct]


class DashboardUser(BodyModel):
    """The page's user."""

    id: Id


class DashboardResponse(BodyModel):
    """A user's page. Parts named in `missing` are null: their service failed or was too slow."""

    user: DashboardUser
    orders: list[DashboardOrder] | None
    recent_products: list[DashboardProduct] | None
    missing: list[str]


class StorefrontApi:
    """The operations of storefront."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        return [
            Operation(
                "GET",
                "/api/dashboard",
                "Get a user's page",
                self.dashboard,
                {200: DashboardResponse},
                needs_caller=True,
            )
        ]

    async def dashboard(self, request: OperationRequest[None, None]) -> OperationResponse:
        """All parts concurrently: the page takes as long as the slowest, up to UPSTREAM_TIMEOUT_SECONDS."""
        user = request.caller.user_id
        orders, products = await asyncio.gather(
            self._fetch("orders", f"/api/orders/user/{user}?limit={PAGE_ITEMS}", UserOrders),
            self._fetch("catalog", f"/api/catalog/products/recent?limit={PAGE_ITEMS}", RecentProducts),
        )
        parts = {"orders": orders, "recentProducts": products}
        return OperationResponse(
            DashboardResponse(
                user=DashboardUser(id=user),
                orders=orders.orders if orders else None,
                recent_products=products.products if products else None,
                missing=[name for name, part in parts.items() if part is None],
            )
        )

    async def _fetch(self, service: str, path: str, model: type[UpstreamT]) -> UpstreamT | None:
        """A service's response; None when there is no valid one in time."""
        try:
            async with asyncio.timeout(UPSTREAM_TIMEOUT_SECONDS):
                response = await self._client.call("GET", service, path)
            if response.status == 200:
                return model.model_validate(response.body)
            reason = f"status {response.status}"
        except TimeoutError:
            reason = f"no response within {UPSTREAM_TIMEOUT_SECONDS:g} s"
        except (ServiceUnavailableError, ValidationError) as error:
            reason = str(error)
        log.warning("part of the page missing", upstream=service, error=reason)
        return None


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """The operations. Storefront has no database."""
    return StorefrontApi(runtime.client).operations()


SERVICE = ServiceDefinition("storefront", None, build_operations)
