"""The saga ends with the goods paid and gone, or with neither, whatever its calls do."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.inventory import domain as inventory
from meshwright.services.orders import saga as sagas
from meshwright.services.orders.saga import Failed, Outcome, Refused, Saga, Succeeded
from meshwright.services.payments import domain as payments

LINES = (("pen", 2),)
PATIENCE = 1000

FAULTS = st.lists(
    st.tuples(
        # What happens to the call; how late it arrives; whether its outcome is stored before a crash.
        st.sampled_from(["done", "lost before", "lost after", "delayed"]),
        st.integers(0, 600),
        st.booleans(),
    ),
    max_size=25,
)


@dataclass
class World:
    """Inventory and payments with their real rules, one order, and a network that loses and delays calls."""

    stock: dict[str, inventory.Stock]
    card: str
    reservation: inventory.Reservation | None = None
    payment: payments.Payment | None = None
    order: str = "pending"
    delayed: list[Saga] = field(default_factory=list)

    def call(self, saga: Saga) -> Outcome:
        """What the callee of a step does and answers."""
        try:
            match saga.step:
                case "reserve":
                    self._store(inventory.reserve("o", LINES, self.stock, self.reservation))
                    assert self.reservation
                    return Refused("out_of_stock") if self.reservation.state == "rejected" else Succeeded()
                case "commit":
                    self._store(inventory.commit("o", self.stock, self.reservation))
                case "release":
                    self._store(inventory.release("o", self.stock, self.reservation))
                case "charge":
                    self.payment = payments.charge("o", 700, "o", self.card, self.payment)
                    if self.payment.state == "declined":
                        return Refused("card_declined")
                case "refund":
                    self.payment = payments.refund("o", self.payment)
        except (inventory.StockConflictError, payments.PaymentConflictError) as error:
            return Refused(error.code)
        return Succeeded()

    def store(self, saga: Saga) -> None:
        """What orders itself does in a step."""
        if saga.step == "notify":
            assert self.order == "confirmed"
            return
        assert self.order == "pending"
        self.order = "confirmed" if saga.step == "confirm" else "cancelled"

    def _store(self, decision: inventory.Decision) -> None:
        self.reservation = decision.reservation
        self.stock.update(decision.stock)


@given(FAULTS, st.integers(0, 3), st.sampled_from(["tok", "tok-declined"]))
def test_saga_ends_confirmed_and_paid_or_cancelled_and_free(
    faults: list[tuple[str, int, bool]], on_hand: int, card: str
) -> None:
    world = World({"pen": inventory.Stock(on_hand)}, card)
    saga, now = Saga("o", deadline=PATIENCE, due=0, card_token=card), 0
    attempts = iter(faults)
    for _ in range(200):
        if saga.step == "done":
            break
        fault, later, is_stored = next(attempts, ("done", 0, True))
        now = max(now, saga.due) + later
        is_local = saga.step in ("confirm", "notify", "cancel")
        outcome: Outcome = Succeeded()
        if not is_local and fault in ("done", "lost after"):
            outcome = world.call(saga)
        if not is_local and fault == "delayed":
            world.delayed.append(saga)
        if not is_local and fault != "done":
            outcome = Failed(fault)
        if not is_stored:
            continue  # a crash: the outcome is forgotten, and the step is tried again
        if is_local:
            world.store(saga)
        before, saga = saga, sagas.advance(saga, outcome, now)
        assert saga.version == before.version + 1
    for late in world.delayed:  # calls that were on their way all the time arrive at the very end
        world.call(late)
    assert saga.step == "done"
    assert saga.card_token == ""
    charged = world.payment is not None and world.payment.state == "charged"
    taken = on_hand - world.stock["pen"].on_hand
    assert world.stock["pen"].reserved == 0
    assert (world.order, charged, taken) in (("confirmed", True, 2), ("cancelled", False, 0))
    if not faults:
        assert world.order == ("confirmed" if on_hand >= 2 and card == "tok" else "cancelled")


def test_delay_grows_to_half_a_minute_and_a_saga_then_counts_as_stuck() -> None:
    saga = Saga("o", deadline=0, due=0, step="commit")
    delays = []
    for _ in range(12):
        after = sagas.advance(saga, Failed("away"), 1000)
        delays.append(after.due - 1000)
        assert after.step == "commit"
        saga = after
    assert delays[:4] == [250, 500, 1000, 2000]
    assert delays[-1] == sagas.MAX_BACKOFF_MS
    assert saga.is_stuck
    assert not sagas.advance(saga, Succeeded(), 1000).is_stuck


def test_before_its_deadline_a_call_without_an_answer_is_tried_again() -> None:
    saga = Saga("o", deadline=1000, due=0, card_token="tok", step="charge")
    assert sagas.advance(saga, Failed("away"), 999).step == "charge"
    assert sagas.advance(saga, Failed("away"), 1000).step == "refund"
    assert "tok" not in repr(saga)
