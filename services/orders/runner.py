"""Runs sagas: calls inventory and payments, and stores each step before the next one begins.

A request runs its order's saga itself. Whatever it leaves unfinished, because of a failure or a crash,
becomes due and is resumed in the background, by whichever replica claims it first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from opentelemetry.util.types import AttributeValue
from prometheus_client import CollectorRegistry, Counter, Gauge

from meshwright.services.kit.client import ServiceClient, ServiceResponse, ServiceUnavailableError
from meshwright.services.kit.settings import whole_number
from meshwright.services.orders import saga as sagas
from meshwright.services.orders.domain import Order, OrderCancelled, OrderConfirmed, OrderEvent, confirmation
from meshwright.services.orders.saga import Failed, Outcome, Refused, Saga, Succeeded
from meshwright.services.orders.store import OrderStore, SagaStep, VersionConflictError

CLAIMED_AT_ONCE = 20
"""Sagas that one replica resumes side by side."""

CALLEES: Mapping[sagas.Step, str] = {
    "reserve": "inventory", "commit": "inventory", "release": "inventory",
    "charge": "payments", "refund": "payments",
}  # fmt: skip
"""The service that does a step. The other steps are orders' own."""

log = structlog.get_logger()
tracer = trace.get_tracer("meshwright.services.orders")


@dataclass(frozen=True, slots=True)
class SagaSettings:
    """Durations in ms: until a step before the pivot is given up, and until a saga that nobody finishes is
    taken for abandoned.
    """

    patience: int
    lease: int


def read_saga_settings(environ: Mapping[str, str]) -> SagaSettings:
    """Settings from `SAGA_PATIENCE_SECONDS` and `SAGA_LEASE_SECONDS`. Raises SettingsError."""
    return SagaSettings(
        patience=1000 * whole_number(environ, "SAGA_PATIENCE_SECONDS", "30", 86_400),
        lease=1000 * whole_number(environ, "SAGA_LEASE_SECONDS", "15", 86_400),
    )


class SagaRunner:
    """Runs and resumes the sagas of orders."""

    def __init__(
        self, store: OrderStore, client: ServiceClient, settings: SagaSettings, registry: CollectorRegistry
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._finished = Counter(
            "sagas_finished", "Sagas that ended, by the order's status.", ("status",), registry=registry
        )
        self._steps = Counter(
            "saga_steps", "Attempts at steps, by outcome.", ("step", "outcome"), registry=registry
        )
        self._stuck = Gauge("sagas_stuck", "Sagas whose step fails again and again.", registry=registry)

    def begin(self, order_id: str, card_token: str) -> Saga:
        """A new saga, claimed by the request that begins it."""
        now = _now()
        return Saga(order_id, now + self._settings.patience, now + self._settings.lease, card_token)

    async def run(self, order: Order, saga: Saga) -> tuple[Order, Saga]:
        """Run a saga until it is done or a step fails. Another replica may run it at the same time."""
        while saga.step != "done":
            try:
                order, after = await self._step(order, saga)
            except VersionConflictError:
                order, saga = await self._reload(order.id)
                continue
            if after.attempts:
                return order, after
            saga = after
        return order, saga

    async def resume(self) -> bool:
        """Resume the sagas that are due; returns whether there may be more."""
        now = _now()
        claimed = await self._store.claim(now, now + self._settings.lease, CLAIMED_AT_ONCE)
        for result in await asyncio.gather(*map(self._resume, claimed), return_exceptions=True):
            if isinstance(result, BaseException):
                log.error("saga not resumed", error=type(result).__name__, exc_info=result)
        self._stuck.set(await self._store.stuck())
        return len(claimed) == CLAIMED_AT_ONCE

    async def _resume(self, order_id: str) -> None:
        with tracer.start_as_current_span("saga resume"):
            await self.run(*await self._reload(order_id))

    async def _step(self, order: Order, saga: Saga) -> tuple[Order, Saga]:
        """Attempt the saga's step and store the outcome. Raises VersionConflictError."""
        attributes: dict[str, AttributeValue] = {"order.id": order.id, "order.amount": order.total}
        with tracer.start_as_current_span(f"saga {saga.step}", attributes=attributes) as span:
            outcome = await self._attempt(order, saga)
            if not isinstance(outcome, Succeeded):
                span.set_status(StatusCode.ERROR, _text(outcome))
        self._steps.labels(saga.step, type(outcome).__name__.lower()).inc()
        now = _now()
        after = sagas.advance(saga, outcome, now)
        if after.step != "done" and not after.attempts:
            after = replace(after, due=now + self._settings.lease)  # whoever runs it goes on
        job = confirmation(order) if saga.step == "notify" else None
        step = SagaStep(saga, after, _text(outcome), _event(saga), job)
        order = await self._store.save(step, order, now)
        if not isinstance(outcome, Succeeded):
            log.warning("saga step failed", order_id=order.id, step=saga.step, error=_text(outcome))
        if after.step == "done":
            self._finished.labels(order.status).inc()
            log.info("saga done", order_id=order.id, status=order.status, reason=after.reason)
        return order, after

    async def _attempt(self, order: Order, saga: Saga) -> Outcome:
        callee = CALLEES.get(saga.step)
        if callee is None:
            return Succeeded()
        path, body = _request(order, saga)
        try:
            response = await self._client.call("POST", callee, path, body, key=order.id)
        except ServiceUnavailableError as error:
            return Failed(str(error))
        return _outcome(callee, response)

    async def _reload(self, order_id: str) -> tuple[Order, Saga]:
        """The order and its saga as another run has left them."""
        order, saga = await self._store.load(order_id)
        if order is None or saga is None:
            raise RuntimeError(f"order {order_id} has no event or no saga")
        return order, saga


def _request(order: Order, saga: Saga) -> tuple[str, dict[str, Any] | None]:
    """Path and body of the call of a step."""
    match saga.step:
        case "reserve":
            items = [{"productId": product, "quantity": quantity} for product, quantity in order.items]
            return "/reservations", {"orderId": order.id, "items": items}
        case "charge":
            return "/charges", {"orderId": order.id, "amount": order.total, "cardToken": saga.card_token}
        case "refund":
            return "/refunds", {"orderId": order.id}
        case step:
            return f"/reservations/{order.id}/{step}", None


def _outcome(callee: str, response: ServiceResponse) -> Outcome:
    if response.status == 200:
        return Succeeded()
    if response.status in (402, 409) and response.code:
        return Refused(response.code)
    return Failed(f"status {response.status} from {callee}")


def _event(saga: Saga) -> OrderEvent | None:
    """What a step adds to the order's log."""
    match saga.step:
        case "confirm":
            return OrderConfirmed()
        case "cancel":
            return OrderCancelled(saga.reason)
        case _:
            return None


def _text(outcome: Outcome) -> str:
    match outcome:
        case Refused(code):
            return code
        case Failed(error):
            return error[:200]
        case _:
            return "succeeded"


def _now() -> int:
    return time.time_ns() // 1_000_000
