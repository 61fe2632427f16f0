"""Catalog's API: products, open to read. Writing is for inside the mesh: no public route leads to it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import structlog
from pydantic import Field

from meshwright.services.catalog import domain
from meshwright.services.catalog.store import TABLES, ProductStore
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    PlainText,
    QueryModel,
    WholeNumber,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition

BASE = "/api/catalog/products"
log = structlog.get_logger()


class ProductFields(BodyModel):
    """What may be changed of a product."""

    name: PlainText = Field(min_length=1, max_length=200)
    description: PlainText = ""
    price: WholeNumber = Field(ge=0, le=domain.MAX_PRICE, description="Minor units")


class ProductRequest(ProductFields):
    """A product to add; without an id it gets one."""

    id: Id | None = None


class ProductResponse(ProductFields):
    """A product. `created` is milliseconds since the epoch."""

    id: Id
    created: int


class ProductPageResponse(BodyModel):
    """Products of one page, and how many there are in all."""

    products: list[ProductResponse]
    total: int


class ProductListResponse(BodyModel):
    """A few products."""

    products: list[ProductResponse]


class ProductSearchQuery(QueryModel):
    """`q`: words that the name or the description contains, whatever their case."""

    q: str = Field("", max_length=200)
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)


class RecentProductsQuery(QueryModel):
    """How many of the newest."""

    limit: int = Field(5, ge=1, le=50)


class CatalogApi:
    """The operations, over a store."""

    def __init__(self, store: ProductStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that the catalog offers."""
        one = f"{BASE}/{{productId}}"
        return [
            Operation(
                "GET",
                BASE,
                "Search products",
                self.search,
                {200: ProductPageResponse},
                query=ProductSearchQuery,
            ),
            Operation(
                "GET",
                f"{BASE}/recent",
                "The newest products",
                self.recent,
                {200: ProductListResponse},
                query=RecentProductsQuery,
            ),
            Operation("POST", BASE, "Add a product", self.add, {201: ProductResponse}, body=ProductRequest),
            Operation("GET", one, "One product", self.get, {200: ProductResponse}),
            Operation(
                "PUT", one, "Change a product", self.change, {200: ProductResponse}, body=ProductFields
            ),
            Operation("DELETE", one, "Remove a product", self.remove, {204: None}),
        ]

    async def search(self, call: OperationRequest[None, ProductSearchQuery]) -> OperationResponse:
        found, total = await self._store.search(call.query.q, call.query.limit, call.query.offset)
        return OperationResponse(
            ProductPageResponse(products=[_product_response(product) for product in found], total=total)
        )

    async def recent(self, call: OperationRequest[None, RecentProductsQuery]) -> OperationResponse:
        return OperationResponse(
            ProductListResponse(
                products=[_product_response(item) for item in await self._store.recent(call.query.limit)]
            )
        )

    async def get(self, call: OperationRequest[None, None]) -> OperationResponse:
        return OperationResponse(await self._get(call.path["productId"]))

    async def add(self, call: OperationRequest[ProductRequest, None]) -> OperationResponse:
        new = call.body
        product_id = new.id or uuid.uuid4().hex
        if product_id in domain.RESERVED_IDS:
            raise HttpError(422, "invalid", f"id: {product_id!r} is a word of the API: choose another")
        product = domain.Product(product_id, new.name, new.description, new.price, _now())
        if not await self._store.add(product):
            raise HttpError(
                409, "product_exists", f"there is a product {product_id} already: change it with PUT"
            )
        return OperationResponse(_product_response(product), 201, {"Location": f"{BASE}/{product_id}"})

    async def change(self, call: OperationRequest[ProductFields, None]) -> OperationResponse:
        product_id, fields = call.path["productId"], call.body
        await self._store.change(product_id, fields.name, fields.description, fields.price)
        return OperationResponse(await self._get(product_id))

    async def remove(self, call: OperationRequest[None, None]) -> OperationResponse:
        product_id = call.path["productId"]
        if not await self._store.remove(product_id):
            raise _not_found(product_id)
        return OperationResponse(status=204)

    async def _get(self, product_id: str) -> ProductResponse:
        if not (product := await self._store.get(product_id)):
            raise _not_found(product_id)
        return _product_response(product)


def _not_found(product_id: str) -> HttpError:
    return HttpError(404, "product_not_found", f"there is no product {product_id}")


def _product_response(product: domain.Product) -> ProductResponse:
    return ProductResponse(
        id=product.id,
        name=product.name,
        description=product.description,
        price=product.price,
        created=product.created,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, give a new one its first products, and return the operations."""
    store = ProductStore(runtime.database)
    if await store.seed(domain.seed_products(_now())):
        log.info("seeded", products=len(domain.seed_products(0)))
    return CatalogApi(store).operations()


SERVICE = ServiceDefinition("catalog", TABLES, build_operations)
