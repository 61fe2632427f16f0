"""Catalog's API. Anyone may read products, admins write them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import structlog
from pydantic import Field

from meshwright.services.catalog import domain
from meshwright.services.catalog.categories import CategoriesApi
from meshwright.services.catalog.category_store import CategoryStore
from meshwright.services.catalog.store import TABLES, ProductStore, UnknownCategoryError
from meshwright.services.kit.callers import ADMIN
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
from meshwright.services.kit.service import Runtime, ServiceDefinition

BASE = "/api/catalog/products"
log = structlog.get_logger()


class ProductFields(BodyModel):
    """The fields of a product that can be changed."""

    name: PlainText = Field(min_length=1, max_length=200)
    description: PlainText = ""
    price: WholeNumber = Field(ge=0, le=domain.MAX_PRICE, description="Minor units")
    category: Id | None = None


class ProductRequest(ProductFields):
    """A new product. Without an id the service generates one."""

    id: Id | None = None


class ProductResponse(ProductFields):
    """A product. `created` is in milliseconds since the epoch."""

    id: Id
    created: int


class ProductPageResponse(BodyModel):
    """One page of products, and the number of all."""

    products: list[ProductResponse]
    total: int


class ProductListResponse(BodyModel):
    """Some products."""

    products: list[ProductResponse]


class ProductSearchQuery(QueryModel):
    """`q`: text that the name or the description contains, regardless of case. `category`: an id."""

    q: str = Field("", max_length=200)
    category: Id | None = None
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)


class RecentProductsQuery(QueryModel):
    """The maximum number of products."""

    limit: int = Field(5, ge=1, le=50)


class CatalogApi:
    """The operations of catalog."""

    def __init__(self, store: ProductStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All operations."""
        product, recent = f"{BASE}/{{productId}}", f"{BASE}/recent"
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
                recent,
                "List the newest products",
                self.recent,
                {200: ProductListResponse},
                query=RecentProductsQuery,
            ),
            Operation(
                "POST", BASE, "Add a product", self.add, {201: ProductResponse}, ProductRequest, roles=ADMIN
            ),
            Operation("GET", product, "Get a product", self.get, {200: ProductResponse}),
            Operation(
                "PUT",
                product,
                "Change a product",
                self.change,
                {200: ProductResponse},
                body=ProductFields,
                roles=ADMIN,
            ),
            Operation("DELETE", product, "Remove a product", self.remove, {204: None}, roles=ADMIN),
        ]

    async def search(self, request: OperationRequest[None, ProductSearchQuery]) -> OperationResponse:
        query = request.query
        products, total = await self._store.search(query.q, query.category, query.limit, query.offset)
        page = [_product_response(product) for product in products]
        return OperationResponse(ProductPageResponse(products=page, total=total))

    async def recent(self, request: OperationRequest[None, RecentProductsQuery]) -> OperationResponse:
        products = await self._store.recent(request.query.limit)
        return OperationResponse(
            ProductListResponse(products=[_product_response(product) for product in products])
        )

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        return OperationResponse(await self._get(request.path["productId"]))

    async def add(self, request: OperationRequest[ProductRequest, None]) -> OperationResponse:
        fields = request.body
        product_id = fields.id or uuid.uuid4().hex
        if product_id in domain.RESERVED_IDS:
            raise HttpError(422, "invalid", f"id: {product_id!r} is reserved: choose another")
        product = domain.Product(
            product_id, fields.name, fields.description, fields.price, fields.category, _now()
        )
        try:
            added = await self._store.add(product)
        except UnknownCategoryError as error:
            raise _unknown_category(error) from None
        if not added:
            message = f"product {product_id} already exists: change it with PUT"
            raise HttpError(409, "product_exists", message)
        return OperationResponse(_product_response(product), 201, {"Location": f"{BASE}/{product_id}"})

    async def change(self, request: OperationRequest[ProductFields, None]) -> OperationResponse:
        product_id, fields = request.path["productId"], request.body
        try:
            await self._store.change(product_id, fields.model_dump())
        except UnknownCategoryError as error:
            raise _unknown_category(error) from None
        return OperationResponse(await self._get(product_id))

    async def remove(self, request: OperationRequest[None, None]) -> OperationResponse:
        product_id = request.path["productId"]
        if not await self._store.remove(product_id):
            raise _not_found(product_id)
        return OperationResponse(status=204)

    async def _get(self, product_id: str) -> ProductResponse:
        if not (product := await self._store.get(product_id)):
            raise _not_found(product_id)
        return _product_response(product)


def _not_found(product_id: str) -> HttpError:
    return HttpError(404, "product_not_found", f"there is no product {product_id}")


def _unknown_category(error: UnknownCategoryError) -> HttpError:
    return HttpError(422, "unknown_category", f"there is no category {error}")


def _product_response(product: domain.Product) -> ProductResponse:
    return ProductResponse(
        id=product.id,
        name=product.name,
        description=product.description,
        price=product.price,
        category=product.category,
        created=product.created,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store and seed it if it is empty."""
    store = ProductStore(runtime.database)
    products = domain.seed_products(_now())
    if await store.seed(products, domain.SEED_CATEGORIES):
        log.info("seeded", products=len(products))
    categories = CategoriesApi(CategoryStore(runtime.database))
    return [*CatalogApi(store).operations(), *categories.operations()]


SERVICE = ServiceDefinition("catalog", TABLES, build_operations)
