"""What a new exchange begins with, and how words are searched for."""

from __future__ import annotations

import pytest

from meshwright.services.catalog import domain
from meshwright.services.inventory.domain import SEED_STOCK


def test_every_first_product_has_stock() -> None:
    assert {product.id for product in domain.seed_products(0)} == set(SEED_STOCK)


def test_first_products_differ_in_age_so_that_recent_has_an_order() -> None:
    ages = [product.created for product in domain.seed_products(1000)]
    assert ages == sorted(set(ages))
    assert max(ages) < 1000


@pytest.mark.parametrize(
    ("words", "pattern"), [("pen", "%pen%"), ("50%", "%50\\%%"), ("a_b", "%a\\_b%"), ("\\", "%\\\\%")]
)
def test_wildcards_are_searched_for_as_they_stand(words: str, pattern: str) -> None:
    assert domain.like_pattern(words) == pattern
