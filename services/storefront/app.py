"""Storefront: what a page needs, gathered side by side. A part that fails is missing; the page is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.kit.client import Client, Unreachable
from services.kit.operations import Answer, Call, Id, Model, Operation, Query
from services.kit.server import Assembly, Runtime

PART_SECONDS = 1.0
"""How long the page waits for a part: somebody is looking at it."""

NEWEST = 5
"""Orders and products that are shown."""

log = structlog.get_logger()
PartT = TypeVar("PartT", bound=BaseModel)


class Part(BaseModel):
    """What storefront needs of another service's answer; that may hold more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Item(Part):
    """Some pieces of a product."""

    productId: str
    quantity: int


class Order(Part):
    """An order; `total` in minor units."""

    orderId: str
    items: list[Item]
    total: int
    status: str


class Orders(Part):
    """Orders' answer."""

    orders: list[Order]


class Product(Part):
    """A product; `price` in minor units."""

    id: str
    name: str
    price: int


class Products(Part):
    """Catalog's answer."""

    products: list[Product]


class User(Model):
    """Whose page it is."""

    id: Id


class Dashboard(Model):
    """A user's page. Parts named in `missing` are null: their service failed, or took too long."""

    user: User
    orders: list[Order] | None
    recent_products: list[Product] | None
    missing: list[str]


class Viewer(Query):
    """Who looks: named by the query as long as there are no tokens."""

    user: Id = Field(description="The user's id")


class Storefront:
    """The operations, over the neighbours."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def operations(self) -> list[Operation]:
        """All that storefront offers."""
        answers = {200: Dashboard}
        return [Operation("GET", "/api/dashboard", "A user's page", self.dashboard, answers, query=Viewer)]

    async def dashboard(self, call: Call[None, Viewer]) -> Answer:
        """All parts side by side, so that the page takes as long as the slowest, PART_SECONDS at most."""
        user = call.query.user
        orders, products = await asyncio.gather(
            self._part("orders", f"/api/orders/user/{user}?limit={NEWEST}", Orders),
            self._part("catalog", f"/api/catalog/products/recent?limit={NEWEST}", Products),
        )
        missing = [name for name, part in (("orders", orders), ("recentProducts", products)) if part is None]
        return Answer(
            Dashboard(
                user=User(id=user),
                orders=orders.orders if orders else None,
                recent_products=products.products if products else None,
                missing=missing,
            )
        )

    async def _part(self, service: str, path: str, wanted: type[PartT]) -> PartT | None:
        """A service's answer, or None when there is none to be had in time."""
        try:
            async with asyncio.timeout(PART_SECONDS):
                reply = await self._client.call("GET", service, path)
            if reply.status == 200:
                return wanted.model_validate(reply.body)
            why = f"status {reply.status}"
        except TimeoutError:
            why = f"no answer within {PART_SECONDS:g} s"
        except (Unreachable, ValidationError) as error:
            why = str(error)
        log.warning("part missing", neighbour=service, error=why)
        return None


async def assemble(runtime: Runtime) -> Sequence[Operation]:
    """Return the operations; storefront keeps nothing."""
    return Storefront(runtime.client).operations()


ASSEMBLY = Assembly("storefront", None, assemble)
