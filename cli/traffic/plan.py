"""The requests of the demo's traffic: an endless sequence that is determined by a seed. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlencode

from meshwright.cli.durations import parse_seconds
from meshwright.control_plane.errors import InputError

PRODUCTS = ("paper-wallet", "cold-wallet", "seed-plate", "signing-card", "validator-kit", "genesis-print")
SYMBOLS = ("BTC", "ETH", "LTC", "XMR")
SEARCH_TERMS = ("wallet", "steel", "key", "card", "computer")
PEOPLE = 5
"""Users in whose name requests are sent."""

USER = "{user}"
"""Stands in a path for the id of the request's person."""

FAULT_SECONDS, MAX_FAULT_SECONDS = 10.0, 3600.0
LEAD_SECONDS = 5.0
"""Seconds of traffic before the fault, for comparison; in a short run a quarter of it."""

SLOW_DELAY = "1s"
"""Delay of the requests to a slow service: longer than the storefront waits for a part of its page."""

OK_STATUSES = frozenset({200})


@dataclass(frozen=True, slots=True)
class TrafficRequest:
    """One request of `person` (0 to PEOPLE - 1), whose id is for USER in `path`.

    `route` is its path as a template; a status outside `expected_statuses` is an error.
    """

    route: str
    path: str
    method: str = "GET"
    expected_statuses: frozenset[int] = OK_STATUSES
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    person: int = 0


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


def _user_orders(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/orders/user/{userId}", f"/api/orders/user/{USER}")


def _get_dashboard(_: random.Random, __: str) -> TrafficRequest:
    return TrafficRequest("GET /api/dashboard", "/api/dashboard")


def _get_quote(rng: random.Random, _: str) -> TrafficRequest:
    return TrafficRequest("GET /api/quotes/{symbol}", f"/api/quotes/{rng.choice(SYMBOLS)}")


def _get_bars(rng: random.Random, _: str) -> TrafficRequest:
    symbol = rng.choice(SYMBOLS)
    # 404: a market that has just opened has no bars yet.
    expected = frozenset({200, 404})
    return TrafficRequest(
        "GET /api/analytics/bars/{symbol}", f"/api/analytics/bars/{symbol}", expected_statuses=expected
    )


def _place_order(rng: random.Random, key: str) -> TrafficRequest:
    products = rng.sample(PRODUCTS, rng.randint(1, 2))
    return TrafficRequest(
        "POST /api/orders",
        "/api/orders",
        "POST",
        # 409: sold out, which everything is after some hours of traffic.
        frozenset({201, 409}),
        {"Idempotency-Key": key},
        {
            "items": [{"productId": product, "quantity": 1} for product in products],
            "cardToken": "tok-traffic",
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
"""Percentage of each kind of request."""


def request_sequence(seed: int) -> Iterator[TrafficRequest]:
    """The requests of a seed: the same on every machine and at every rate, idempotency keys included."""
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    factories, weights = list(MIX), list(MIX.values())
    number = 0
    while True:
        [factory] = rng.choices(factories, weights)
        request = factory(rng, f"traffic-{seed}-{number}")
        yield replace(request, person=rng.randrange(PEOPLE))
        number += 1


@dataclass(frozen=True, slots=True)
class TrafficFault:
    """What to do to a service, and for how many seconds."""

    service: str
    kind: Literal["slow", "fail"]
    seconds: float = FAULT_SECONDS

    @property
    def name(self) -> str:
        """The name of its policy."""
        return f"traffic-{self.service}"

    def document(self) -> dict[str, Any]:
        """Its policy: every request to the service is delayed, or gets a 503 instead."""
        fault = {"delay": {"fixed": SLOW_DELAY}} if self.kind == "slow" else {"abort": {"status": 503}}
        return {
            "apiVersion": "meshwright.io/v1",
            "kind": "FaultInjection",
            "metadata": {"name": self.name},
            "spec": {"targetRefs": [{"kind": "Service", "name": self.service}], **fault},
        }

    def __str__(self) -> str:
        return f"{self.service}:{self.kind}:{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Requests per second, for how many seconds (infinite: until stopped), and an optional fault."""

    rate: int
    seed: int = 1
    seconds: float = math.inf
    fault: TrafficFault | None = None

    @property
    def fault_delay(self) -> float:
        """Seconds before the fault."""
        return min(LEAD_SECONDS, self.seconds / 4)


def parse_fault(text: str, services: frozenset[str]) -> TrafficFault:
    """Parse `SERVICE:slow|fail[:DURATION]`; raises InputError for another form or an unknown service."""
    service, kind, *rest = text.split(":")[:4] if ":" in text else (text, "")
    if service not in services:
        raise InputError(f"--fault {text}: no service {service}: use one of {', '.join(sorted(services))}")
    seconds = FAULT_SECONDS
    try:
        if rest:
            [duration] = rest
            seconds = parse_seconds(duration)
    except ValueError:
        seconds = 0.0
    if kind not in ("slow", "fail") or not 0 < seconds <= MAX_FAULT_SECONDS:
        raise InputError(
            f"--fault {text}: expected SERVICE:slow or SERVICE:fail with an optional duration up to "
            f"{MAX_FAULT_SECONDS:g}s, for example inventory:slow:30s"
        )
    return TrafficFault(service, "slow" if kind == "slow" else "fail", seconds)
