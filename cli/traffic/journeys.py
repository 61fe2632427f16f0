"""What visitors of the demo do: an endless sequence of journeys that is determined by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from meshwright.services.inventory.domain import SEED_STOCK

STOCK: Mapping[str, int] = SEED_STOCK
"""The products and how many a new shop has. Orders come in this proportion: no product sells out long before
the others."""

PRODUCTS = tuple(STOCK)
SYMBOLS = ("BTC", "ETH", "LTC", "XMR")
SEARCH_TERMS = ("wallet", "steel", "key", "card", "computer")

USER = "{user}"
"""Stands in a path for the id of the request's person."""

NEWCOMERS = 0.2
"""Share of journeys by somebody new, who signs up first: two hashes of a password, 50 ms of CPU each."""

REGULARS = 20
"""The people who signed up last: the others' journeys are theirs."""

DECLINED, SLOW = 0.05, 0.03
"""Shares of orders whose card is declined, and whose payment takes 3 s."""

OK_STATUSES = frozenset({200})


@dataclass(frozen=True, slots=True)
class TrafficRequest:
    """One request, for whose person's id USER stands in `path`.

    `route` is its path as a template; a status outside `expected_statuses` is an error.
    """

    route: str
    path: str
    method: str = "GET"
    expected_statuses: frozenset[int] = OK_STATUSES
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """What one person does, from first to last. People are numbered in the order in which they sign up."""

    person: int
    requests: tuple[TrafficRequest, ...]


RequestFactory = Callable[[random.Random, str], TrafficRequest]
"""Makes a request from a random generator and a key that is unique in the sequence."""


def _list_products(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/catalog/products", "/api/catalog/products")


def _search_products(rng: random.Random, _: str) -> TrafficRequest:
    query = urlencode({"q": rng.choice(SEARCH_TERMS)})
    return TrafficRequest("GET /api/catalog/products?q=", f"/api/catalog/products?{query}")


def _recent_products(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/catalog/products/recent", "/api/catalog/products/recent")


def _get_product(rng: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/catalog/products/{id}", f"/api/catalog/products/{rng.choice(PRODUCTS)}")


def _get_stock(rng: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/inventory/{productId}", f"/api/inventory/{rng.choice(PRODUCTS)}")


def _get_quote(rng: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/quotes/{symbol}", f"/api/quotes/{rng.choice(SYMBOLS)}")


def _get_bars(rng: random.Random, _: str) -> TrafficRequest:
    symbol = rng.choice(SYMBOLS)
    # 404: a market that has just opened has no bars yet.
    expected = frozenset({200, 404})
    return TrafficRequest(
        "GET /api/analytics/bars/{symbol}", f"/api/analytics/bars/{symbol}", expected_statuses=expected
    )


def _mint_nft(rng: random.Random, key: str) -> TrafficRequest:
    """An NFT that stands for some of an asset, so trading is asked for its quote."""
    backing = {"symbol": rng.choice(SYMBOLS), "quantity": rng.randint(1, 5)}
    headers = {"Idempotency-Key": f"{key}-nft"}
    return TrafficRequest(
        "POST /api/nfts", "/api/nfts", "POST", frozenset({201}), headers,
        {"name": f"Visit {key}", "backing": backing},
    )  # fmt: skip


def _place_order(rng: random.Random, key: str) -> TrafficRequest:
    """An order by a good card, by one that is declined, or by one that takes 3 s; each its own route."""
    bought = rng.choices(PRODUCTS, list(STOCK.values()), k=rng.randint(1, 2))
    products, share = dict.fromkeys(bought), rng.random()
    route, card, status = "POST /api/orders", "tok-traffic", 201
    if share < DECLINED:
        route, card, status = f"{route} (declined)", f"{card}-declined", 402
    elif share < DECLINED + SLOW:
        route, card = f"{route} (slow)", f"{card}-slow"
    return TrafficRequest(
        route,
        "/api/orders",
        "POST",
        # 409: sold out, which everything is after some 10,000 orders.
        frozenset({status, 409}),
        {"Idempotency-Key": key},
        {"items": [{"productId": product, "quantity": 1} for product in products], "cardToken": card},
    )


def _user_orders(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/orders/user/{userId}", f"/api/orders/user/{USER}")


def _get_dashboard(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/dashboard", "/api/dashboard")


STEPS: Sequence[tuple[float, RequestFactory]] = (
    (1.0, _list_products),
    (0.5, _search_products),
    (0.3, _recent_products),
    (1.0, _get_product),
    (0.6, _get_stock),
    (0.5, _get_quote),
    (0.2, _get_bars),
    (0.2, _mint_nft),
    (0.6, _place_order),
    (0.3, _user_orders),
    (1.0, _get_dashboard),
)
"""The requests of a journey in order, each with the share of journeys that have it. Six on average."""


def journeys(seed: int) -> Iterator[Journey]:
    """The journeys of a seed: the same on every machine and at every rate, idempotency keys included."""
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    people = number = 0
    while True:
        is_new = rng.random() < NEWCOMERS or not people
        person = people if is_new else rng.randrange(max(0, people - REGULARS), people)
        people += is_new
        key = f"traffic-{seed}-{number}"
        requests = tuple(make(rng, key) for share, make in STEPS if rng.random() < share)
        yield Journey(person, requests)
        number += 1
