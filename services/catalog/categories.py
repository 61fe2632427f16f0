"""The categories of catalog's API. Anyone may read them, admins write them."""

from __future__ import annotations

from pydantic import Field

from meshwright.services.catalog.category_store import CategoryInUseError, CategoryStore
from meshwright.services.catalog.domain import Category
from meshwright.services.kit.callers import ADMIN
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    PlainText,
)

BASE = "/api/catalog/categories"


class CategoryRequest(BodyModel):
    """The name of a category."""

    name: PlainText = Field(min_length=1, max_length=200)


class CategoryResponse(CategoryRequest):
    """A category."""

    id: Id


class CountedCategory(CategoryResponse):
    """A category and the number of its products."""

    products: int


class CategoryListResponse(BodyModel):
    """All categories, by name."""

    categories: list[CountedCategory]


class CategoriesApi:
    """The operations on categories."""

    def __init__(self, store: CategoryStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All operations."""
        category = f"{BASE}/{{categoryId}}"
        return [
            Operation("GET", BASE, "List the categories", self.list, {200: CategoryListResponse}),
            Operation(
                "PUT", category, "Add or rename a category", self.put, {200: CategoryResponse},
                CategoryRequest, roles=ADMIN,
            ),
            Operation("DELETE", category, "Remove a category", self.remove, {204: None}, roles=ADMIN),
        ]  # fmt: skip

    async def list(self, _: OperationRequest[None, None]) -> OperationResponse:
        categories = [
            CountedCategory(id=category.id, name=category.name, products=products)
            for category, products in await self._store.list()
        ]
        return OperationResponse(CategoryListResponse(categories=categories))

    async def put(self, request: OperationRequest[CategoryRequest, None]) -> OperationResponse:
        category = Category(request.path["categoryId"], request.body.name)
        await self._store.put(category)
        return OperationResponse(CategoryResponse(id=category.id, name=category.name))

    async def remove(self, request: OperationRequest[None, None]) -> OperationResponse:
        """409 while there are products in it."""
        category_id = request.path["categoryId"]
        try:
            removed = await self._store.remove(category_id)
        except CategoryInUseError:
            message = f"there are products in category {category_id}: move them first"
            raise HttpError(409, "category_in_use", message) from None
        if not removed:
            raise HttpError(404, "category_not_found", f"there is no category {category_id}")
        return OperationResponse(status=204)
