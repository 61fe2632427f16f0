"""Catalog's API: products, open to read. Writing is for inside the mesh: no public route leads to it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import structlog
from pydantic import Field

from services.catalog import domain
from services.catalog.store import TABLES, Products
from services.kit.operations import Answer, Call, Id, Model, Operation, Problem, Query, Text, Whole
from services.kit.server import Assembly, Runtime

BASE = "/api/catalog/products"
log = structlog.get_logger()


class ProductFields(Model):
    """What may be changed of a product."""

    name: Text = Field(min_length=1, max_length=200)
    description: Text = ""
    price: Whole = Field(ge=0, le=domain.PRICE_LIMIT, description="Minor units")


class NewProduct(ProductFields):
    """A product to add; without an id it gets one."""

    id: Id | None = None


class Product(ProductFields):
    """A product. `created` is milliseconds since the epoch."""

    id: Id
    created: int


class ProductPage(Model):
    """Products of one page, and how many there are in all."""

    products: list[Product]
    total: int


class ProductList(Model):
    """A few products."""

    products: list[Product]


class Search(Query):
    """`q`: words that the name or the description contains, whatever their case."""

    q: str = Field("", max_length=200)
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)


class Newest(Query):
    """How many of the newest."""

    limit: int = Field(5, ge=1, le=50)


class Catalog:
    """The operations, over a store."""

    def __init__(self, store: Products) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that the catalog offers."""
        one = f"{BASE}/{{productId}}"
        return [
            Operation("GET", BASE, "Search products", self.search, {200: ProductPage}, query=Search),
            Operation(
                "GET", f"{BASE}/recent", "The newest products", self.recent, {200: ProductList}, query=Newest
            ),
            Operation("POST", BASE, "Add a product", self.add, {201: Product}, body=NewProduct),
            Operation("GET", one, "One product", self.get, {200: Product}),
            Operation("PUT", one, "Change a product", self.change, {200: Product}, body=ProductFields),
            Operation("DELETE", one, "Remove a product", self.remove, {204: None}),
        ]

    async def search(self, call: Call[None, Search]) -> Answer:
        found, total = await self._store.find(call.query.q, call.query.limit, call.query.offset)
        return Answer(ProductPage(products=[_shown(product) for product in found], total=total))

    async def recent(self, call: Call[None, Newest]) -> Answer:
        return Answer(
            ProductList(products=[_shown(item) for item in await self._store.recent(call.query.limit)])
        )

    async def get(self, call: Call[None, None]) -> Answer:
        return Answer(await self._one(call.path["productId"]))

    async def add(self, call: Call[NewProduct, None]) -> Answer:
        new = call.body
        product_id = new.id or uuid.uuid4().hex
        if product_id in domain.RESERVED_IDS:
            raise Problem(422, "invalid", f"id: {product_id!r} is a word of the API: choose another")
        product = domain.Product(product_id, new.name, new.description, new.price, _now())
        if not await self._store.add(product):
            raise Problem(
                409, "product_exists", f"there is a product {product_id} already: change it with PUT"
            )
        return Answer(_shown(product), 201, {"Location": f"{BASE}/{product_id}"})

    async def change(self, call: Call[ProductFields, None]) -> Answer:
        product_id, fields = call.path["productId"], call.body
        await self._store.change(product_id, fields.name, fields.description, fields.price)
        return Answer(await self._one(product_id))

    async def remove(self, call: Call[None, None]) -> Answer:
        product_id = call.path["productId"]
        if not await self._store.remove(product_id):
            raise _missing(product_id)
        return Answer(status=204)

    async def _one(self, product_id: str) -> Product:
        if not (product := await self._store.get(product_id)):
            raise _missing(product_id)
        return _shown(product)


def _missing(product_id: str) -> Problem:
    return Problem(404, "product_not_found", f"there is no product {product_id}")


def _shown(product: domain.Product) -> Product:
    return Product(
        id=product.id,
        name=product.name,
        description=product.description,
        price=product.price,
        created=product.created,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def assemble(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, give a new one its first products, and return the operations."""
    store = Products(runtime.database)
    if await store.seed(domain.seeds(_now())):
        log.info("seeded", products=len(domain.seeds(0)))
    return Catalog(store).operations()


ASSEMBLY = Assembly("catalog", TABLES, assemble)
