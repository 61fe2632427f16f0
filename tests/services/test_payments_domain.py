"""An order is charged at most once and its refund is final, in any order of steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.payments import domain
from meshwright.services.payments.domain import Payment, PaymentConflictError

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["charge", "refund"]),
        st.sampled_from([100, 200]),
        st.sampled_from(["k1", "k2"]),
        st.sampled_from(["card", "card-declined"]),
    ),
    max_size=20,
)


def step(current: Payment | None, kind: str, amount: int, key: str, card: str) -> Payment:
    if kind == "refund":
        return domain.refund("o", current)
    return domain.charge("o", amount, key, card, current)


@given(STEPS)
def test_payment_is_decided_once_and_ends_with_its_refund(steps: list[tuple[str, int, str, str]]) -> None:
    current: Payment | None = None
    for kind, amount, key, card in steps:
        before = current
        try:
            current = step(before, kind, amount, key, card)
        except PaymentConflictError:
            assert before is not None
            assert before.state in ("refunded", "void") or (before.key, before.amount) != (key, amount)
            continue
        assert step(current, "refund", 0, "", "").state in ("refunded", "void", "declined")
        if before is not None and before.state != "charged":
            assert current == before  # declined, refunded and void are final
        if before is not None and before.state == "charged":
            assert current.amount == before.amount
            assert current.state == ("refunded" if kind == "refund" else "charged")


def test_refund_before_the_charge_leaves_a_tombstone() -> None:
    with pytest.raises(PaymentConflictError) as error:
        domain.charge("o", 100, "k", "card", domain.refund("o", None))
    assert error.value.code == "payment_refunded"


def test_declined_card_stays_declined() -> None:
    declined = domain.charge("o", 100, "k", "tok-declined", None)
    assert declined.state == "declined"
    assert domain.charge("o", 100, "k", "tok", declined) == declined
