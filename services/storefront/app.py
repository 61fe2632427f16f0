"""Storefront: what a page needs, gathered side by side. A part that fails is missing; the page is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
from meshwright.services.kit.operations import (
    BodyModel,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition

UPSTREAM_TIMEOUT_SECONDS = 1.0
"""How long the page waits for a part: somebody is looking at it."""

PAGE_ITEMS = 5
"""Orders and products that are shown."""

log = structlog.get_logger()
UpstreamT = TypeVar("UpstreamT", bound=BaseModel)


class UpstreamModel(BaseModel):
    """What storefront needs of another service's answer; that may hold more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DashboardOrderItem(UpstreamModel):
    """Some pieces of a product."""

    productId: str
    quantity: int


class DashboardOrder(UpstreamModel):
    """An order; `total` in minor units."""

    orderId: str
    items: list[DashboardOrderItem]
    total: int
    status: str


class UserOrders(UpstreamModel):
    """Orders' answer."""

    orders: list[DashboardOrder]


class DashboardProduct(UpstreamModel):
    """A product; `price` in minor units."""

    id: str
    name: str
    price: int


class RecentProducts(UpstreamModel):
    """Catalog's answer."""

    products: list[DashboardProduct]


class DashboardUser(BodyModel):
    """Whose page it is."""

    id: Id


class DashboardResponse(BodyModel):
    """A user's page. Parts named in `missing` are null: their service failed, or took too long."""

    user: DashboardUser
    orders: list[DashboardOrder] | None
    recent_products: list[DashboardProduct] | None
    missing: list[str]


class DashboardQuery(QueryModel):
    """Who looks: named by the query as long as there are no tokens."""

    user: Id = Field(description="The user's id")


class StorefrontApi:
    """The operations, over the neighbours."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def operations(self) -> list[Operation]:
        """All that storefront offers."""
        answers = {200: DashboardResponse}
        return [
            Operation("GET", "/api/dashboard", "A user's page", self.dashboard, answers, query=DashboardQuery)
        ]

    async def dashboard(self, call: OperationRequest[None, DashboardQuery]) -> OperationResponse:
        """All parts side by side, so that the page takes as long as the slowest, PART_SECONDS at most."""
        user = call.query.user
        orders, products = await asyncio.gather(
            self._part("orders", f"/api/orders/user/{user}?limit={PAGE_ITEMS}", UserOrders),
            self._part("catalog", f"/api/catalog/products/recent?limit={PAGE_ITEMS}", RecentProducts),
        )
        missing = [name for name, part in (("orders", orders), ("recentProducts", products)) if part is None]
        return OperationResponse(
            DashboardResponse(
                user=DashboardUser(id=user),
                orders=orders.orders if orders else None,
                recent_products=products.products if products else None,
                missing=missing,
            )
        )

    async def _part(self, service: str, path: str, wanted: type[UpstreamT]) -> UpstreamT | None:
        """A service's answer, or None when there is none to be had in time."""
        try:
            async with asyncio.timeout(UPSTREAM_TIMEOUT_SECONDS):
                reply = await self._client.call("GET", service, path)
            if reply.status == 200:
                return wanted.model_validate(reply.body)
            why = f"status {reply.status}"
        except TimeoutError:
            why = f"no answer within {UPSTREAM_TIMEOUT_SECONDS:g} s"
        except (ServiceUnavailableError, ValidationError) as error:
            why = str(error)
        log.warning("part missing", neighbour=service, error=why)
        return None


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Return the operations; storefront keeps nothing."""
    return StorefrontApi(runtime.client).operations()


SERVICE = ServiceDefinition("storefront", None, build_operations)
