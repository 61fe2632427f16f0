"""Mobile: all that a phone's first screen needs, in one small response.

A second backend for frontend beside storefront: the same services, other fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meshwright.services.kit.client import PartModel, ServiceClient
from meshwright.services.kit.operations import BodyModel, Operation, OperationRequest, OperationResponse
from meshwright.services.kit.service import Runtime, ServiceDefinition

SCREEN_PRODUCTS = 3
"""Names of products on the screen."""

PAID = ("confirmed", "shipped")


class PhoneUser(PartModel):
    """Users' response."""

    name: str


class PhoneProduct(PartModel):
    """A product of catalog's response."""

    name: str


class PhoneProducts(PartModel):
    """Catalog's response."""

    products: list[PhoneProduct]


class PhoneOrder(PartModel):
    """An order of orders' response. `total` is in minor units."""

    total: int
    status: str


class PhoneOrders(PartModel):
    """Orders' response."""

    orders: list[PhoneOrder]


class PhonePortfolio(PartModel):
    """Nfts' response. `total` is in minor units."""

    total: int


class PhoneNotices(PartModel):
    """Notifications' response."""

    unread: int


class HomeResponse(BodyModel):
    """A phone's first screen. Parts named in `missing` are null: their service failed or was too slow.

    `spent` is the sum of the latest fifty orders that were paid, `worth` that of the NFTs, in minor units.
    """

    name: str | None
    products: list[str] | None
    spent: int | None
    worth: int | None
    unread: int | None
    missing: list[str]


class MobileApi:
    """The operations of mobile."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        path, summary = "/api/mobile/home", "Get a phone's first screen"
        return [Operation("GET", path, summary, self.home, {200: HomeResponse}, needs_caller=True)]

    async def home(self, request: OperationRequest[None, None]) -> OperationResponse:
        """All parts concurrently: the screen takes as long as the slowest, up to PART_SECONDS."""
        client, user_id = self._client, request.caller.user_id
        newest = f"/api/catalog/products/recent?limit={SCREEN_PRODUCTS}"
        user, products, orders, portfolio, notices = await asyncio.gather(
            client.part("users", f"/api/users/{user_id}", PhoneUser),
            client.part("catalog", newest, PhoneProducts),
            client.part("orders", f"/api/orders/user/{user_id}", PhoneOrders),
            client.part("nfts", "/api/portfolio", PhonePortfolio),
            client.part("notifications", f"/api/notifications/user/{user_id}?limit=1", PhoneNotices),
        )
        screen = {
            "name": user and user.name,
            "products": products and [product.name for product in products.products],
            "spent": orders and sum(order.total for order in orders.orders if order.status in PAID),
            "worth": portfolio and portfolio.total,
            "unread": notices and notices.unread,
        }
        missing = [name for name, part in screen.items() if part is None]
        return OperationResponse(HomeResponse.model_validate({**screen, "missing": missing}))


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """The operations. Mobile has no database."""
    return MobileApi(runtime.client).operations()


SERVICE = ServiceDefinition("mobile", None, build_operations)
