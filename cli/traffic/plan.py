"""What the demo's traffic asks for: an endless sequence of requests that follows from a seed alone. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from meshwright.control_plane.errors import InputError

PRODUCTS = ("paper-wallet", "cold-wallet", "seed-plate", "signing-card", "validator-kit", "genesis-print")
SYMBOLS = ("BTC", "ETH", "LTC", "XMR")
SEARCH_TERMS = ("wallet", "steel", "key", "card", "computer")
USERS = tuple(f"user-{number}" for number in range(50))

FAULT_SECONDS, MAX_FAULT_SECONDS = 10.0, 3600.0
LEAD_SECONDS = 5.0
"""Traffic without a fault comes first, to compare with; in a short run a quarter of it."""

SLOW_DELAY = "1s"
"""How much later a slow service gets its requests: more than the dashboard waits for a part."""

OK_STATUSES = frozenset({200})


@dataclass(frozen=True, slots=True)
class TrafficRequest:
    """One request. `route` is its path as a template; an answer of `fine` is as it should be."""

    route: str
    path: str
    method: str = "GET"
    expected_statuses: frozenset[int] = OK_STATUSES
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


RequestFactory = Callable[[random.Random, str], TrafficRequest]
"""Makes a request from chance and a key that no other request of the sequence has."""


def _list_products(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/catalog/products", "/api/catalog/products")


def _search_products(chance: random.Random, _: str) -> TrafficRequest:
    query = urlencode({"q": chance.choice(SEARCH_TERMS)})
    return TrafficRequest("GET /api/catalog/products?q=", f"/api/catalog/products?{query}")


def _recent_products(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/catalog/products/recent", "/api/catalog/products/recent")


def _get_product(chance: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest(
        "GET /api/catalog/products/{id}", f"/api/catalog/products/{chance.choice(PRODUCTS)}"
    )


def _get_stock(chance: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/inventory/{productId}", f"/api/inventory/{chance.choice(PRODUCTS)}")


def _user_orders(chance: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/orders/user/{userId}", f"/api/orders/user/{chance.choice(USERS)}")


def _get_dashboard(chance: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/dashboard", f"/api/dashboard?{urlencode({'user': chance.choice(USERS)})}")


def _get_quote(chance: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/quotes/{symbol}", f"/api/quotes/{chance.choice(SYMBOLS)}")


def _get_bars(chance: random.Random, _: str) -> TrafficRequest:
    symbol = chance.choice(SYMBOLS)
    # A market that has just opened has none yet.
    fine = frozenset({200, 404})
    return TrafficRequest(
        "GET /api/analytics/bars/{symbol}", f"/api/analytics/bars/{symbol}", expected_statuses=fine
    )


def _place_order(chance: random.Random, key: str) -> TrafficRequest:
    products = chance.sample(PRODUCTS, chance.randint(1, 2))
    return TrafficRequest(
        "POST /api/orders",
        "/api/orders",
        "POST",
        # Selling out is an answer too: after some hours of traffic the shelves are empty.
        frozenset({201, 409}),
        {"Idempotency-Key": key},
        {
            "userId": chance.choice(USERS),
            "items": [{"productId": product, "quantity": 1} for product in products],
        },
    )


MIX: Mapping[RequestFactory, int] = {
    _list_products: 14,
    _search_products: 8,
    _recent_products: 8,
    _get_product: 14,
    _get_stock: 12,
    _user_orders: 8,
    _get_dashboard: 10,
    _get_quote: 10,
    _get_bars: 4,
    _place_order: 12,
}
"""How many of a hundred requests are of each sort."""


def request_sequence(seed: int) -> Iterator[TrafficRequest]:
    """The sequence of a seed: the same on every machine and at every rate, order keys included."""
    chance = random.Random(seed)  # noqa: S311  reproducible, not secret
    makers, weights = list(MIX), list(MIX.values())
    number = 0
    while True:
        [maker] = chance.choices(makers, weights)
        yield maker(chance, f"traffic-{seed}-{number}")
        number += 1


@dataclass(frozen=True, slots=True)
class TrafficFault:
    """What goes wrong with a service, and for how many seconds."""

    service: str
    kind: Literal["slow", "fail"]
    seconds: float = FAULT_SECONDS

    @property
    def name(self) -> str:
        """The name of its policy."""
        return f"traffic-{self.service}"

    def document(self) -> dict[str, Any]:
        """Its policy: every request to the service is held back, or answered with 503 in its place."""
        what = {"delay": {"fixed": SLOW_DELAY}} if self.kind == "slow" else {"abort": {"status": 503}}
        return {
            "apiVersion": "meshwright.io/v1",
            "kind": "FaultInjection",
            "metadata": {"name": self.name},
            "spec": {"targetRefs": [{"kind": "Service", "name": self.service}], **what},
        }

    def __str__(self) -> str:
        return f"{self.service}:{self.kind}:{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What traffic is wanted: requests a second, for how many seconds (infinite: until stopped)."""

    rate: int
    seed: int = 1
    seconds: float = math.inf
    fault: TrafficFault | None = None

    @property
    def fault_delay(self) -> float:
        """Seconds until the fault."""
        return min(LEAD_SECONDS, self.seconds / 4)


def parse_fault(text: str, services: frozenset[str]) -> TrafficFault:
    """`SERVICE:slow|fail[:SECONDS]`; raises InputError for another form, or a service there is not."""
    service, kind, *rest = text.split(":")[:4] if ":" in text else (text, "")
    if service not in services:
        raise InputError(f"--fault {text}: no service {service}: there are {', '.join(sorted(services))}")
    seconds = FAULT_SECONDS
    try:
        if rest:
            [word] = rest
            seconds = float(word)
    except ValueError:
        seconds = 0.0
    if kind not in ("slow", "fail") or not 0 < seconds <= MAX_FAULT_SECONDS:
        raise InputError(
            f"--fault {text}: write it like inventory:fail or inventory:slow:30, "
            f"with up to {MAX_FAULT_SECONDS:g} seconds"
        )
    return TrafficFault(service, "slow" if kind == "slow" else "fail", seconds)
