"""The seeds of a new shop, and escaping of search text."""

from __future__ import annotations

import pytest

from meshwright.services.catalog import domain
from meshwright.services.inventory.domain import SEED_STOCK


def test_every_seed_product_has_stock() -> None:
    assert {product.id for product in domain.seed_products(0)} == set(SEED_STOCK)


def test_seed_products_differ_in_age_so_that_recent_has_an_order() -> None:
    created = [product.created for product in domain.seed_products(1000)]
    assert created == sorted(set(created))
    assert max(created) < 1000


@pytest.mark.parametrize(
    ("text", "pattern"), [("pen", "%pen%"), ("50%", "%50\\%%"), ("a_b", "%a\\_b%"), ("\\", "%\\\\%")]
)
def test_wildcards_are_searched_literally(text: str, pattern: str) -> None:
    assert domain.like_pattern(text) == pattern
