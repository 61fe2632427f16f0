"""Payments' API: charge and refund the payment of an order, inside the mesh only. Staff may look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from pydantic import Field

from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    WholeNumber,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.payments import domain
from meshwright.services.payments.store import TABLES, PaymentStep, PaymentStore

log = structlog.get_logger()


class ChargeRequest(BodyModel):
    """What to charge. The card's token is used and forgotten."""

    order_id: Id
    amount: WholeNumber = Field(ge=0, le=domain.MAX_AMOUNT, description="Minor units")
    card_token: Id = Field(repr=False)


class RefundRequest(BodyModel):
    """The order whose payment is given back."""

    order_id: Id


class PaymentResponse(BodyModel):
    """The payment of an order. `amount` is in minor units."""

    order_id: Id
    state: domain.PaymentState
    amount: int


class PaymentsApi:
    """The operations of payments."""

    def __init__(self, store: PaymentStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All operations."""
        paid = {200: PaymentResponse}
        return [
            Operation(
                "POST",
                "/charges",
                "Charge a card for an order",
                self.charge,
                paid,
                body=ChargeRequest,
                needs_key=True,
            ),
            Operation("POST", "/refunds", "Refund an order", self.refund, paid, body=RefundRequest),
            Operation(
                "GET", "/api/payments/{orderId}", "Get the payment of an order", self.get, paid, roles=STAFF
            ),
        ]

    async def charge(self, request: OperationRequest[ChargeRequest, None]) -> OperationResponse:
        """200 once charged, 402 when the card is declined, 409 when the order was refunded before."""
        body = request.body
        if body.card_token.endswith(domain.SLOW_SUFFIX):
            await asyncio.sleep(domain.SLOW_SECONDS)
        payment = await self._step(
            body.order_id,
            lambda current: domain.charge(body.order_id, body.amount, request.key, body.card_token, current),
        )
        if payment.state == "declined":
            raise HttpError(402, "card_declined", f"the card was declined for order {body.order_id}")
        return OperationResponse(_response(payment))

    async def refund(self, request: OperationRequest[RefundRequest, None]) -> OperationResponse:
        """200 in every case: whatever was charged is given back, and nothing can be charged any more."""
        order_id = request.body.order_id
        return OperationResponse(
            _response(await self._step(order_id, lambda current: domain.refund(order_id, current)))
        )

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        if not (payment := await self._store.get(order_id)):
            raise HttpError(404, "payment_not_found", f"there is no payment of order {order_id}")
        return OperationResponse(_response(payment))

    async def _step(self, order_id: str, step: PaymentStep) -> domain.Payment:
        try:
            payment = await self._store.step(order_id, step, time.time_ns() // 1_000_000)
        except domain.PaymentConflictError as error:
            raise HttpError(409, error.code, str(error)) from None
        log.info("payment", order_id=order_id, state=payment.state, amount=payment.amount)
        return payment


def _response(payment: domain.Payment) -> PaymentResponse:
    return PaymentResponse(order_id=payment.order_id, state=payment.state, amount=payment.amount)


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store."""
    return PaymentsApi(PaymentStore(runtime.database)).operations()


SERVICE = ServiceDefinition("payments", TABLES, build_operations)
