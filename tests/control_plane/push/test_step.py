"""A push as a state machine: waves, harm, pauses; and rules that hold for any course of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.push import Push
from meshwright.control_plane.push.step import (
    ACK_LIMIT,
    GONE_LIMIT,
    AffectedProxy,
    Promote,
    PushObservation,
    Withdraw,
    first_wave,
    later_wave,
    step,
)

PUSH = Push(revision=7)


def proxies(*names: str, requests: float = 0.0, **changes: object) -> list[AffectedProxy]:
    """Proxies by name; the service is what stands before the dash."""
    return [
        AffectedProxy(name.partition("-")[0], name, requests=requests, **changes)  # type: ignore[arg-type]
        for name in names
    ]


def next_push(push: Push, seen: Sequence[AffectedProxy], now: float = 0.0, watch: float = 10.0) -> Push:
    after = step(push, PushObservation(now, seen, watch=watch))
    assert isinstance(after, Push)
    return after


def test_a_change_without_affected_proxies_is_in_force_at_once() -> None:
    assert isinstance(step(PUSH, PushObservation(0.0)), Promote)


def test_the_first_wave_is_the_busiest_proxy_of_each_service_that_has_several() -> None:
    seen = [*proxies("orders-1", "users-1"), *proxies("orders-2", requests=5), *proxies("users-2", "cart-1")]
    push = next_push(PUSH, seen)
    assert push.wave == 1
    assert sorted(push.admitted) == ["orders/orders-2", "users/users-1"]
    assert push.affected == 5
    assert not push.is_last_wave


def test_services_with_one_proxy_each_get_it_one_after_the_other() -> None:
    waiting = [*proxies("users-1", "cart-1"), *proxies("orders-1", requests=3)]
    assert [proxy.name for proxy in first_wave(waiting)] == ["orders-1"]
    assert len(later_wave(waiting[:2], 1)) == 2
    fleet = proxies(*(f"orders-{number}" for number in range(20)))
    assert len(later_wave(fleet, 2)) == 8
    assert len(later_wave(fleet, 3)) == 9
    assert len(later_wave(fleet, 5)) == 20, "no wave is left for the last few"


def test_the_waves_are_counted_before_they_begin() -> None:
    push = next_push(PUSH, proxies(*(f"orders-{number}" for number in range(100))))
    counts = [(push.wave, len(push.admitted), push.waves)]
    while not push.is_last_wave:
        push = next_push(push, proxies(*(f"orders-{number}" for number in range(100)), accepted=True))
        counts.append((push.wave, len(push.admitted), push.waves))
    assert counts == [(1, 1, 4), (2, 9, 4), (3, 36, 4), (4, 100, 4)]


def test_a_change_of_both_sides_of_calls_reaches_everybody_in_one_wave() -> None:
    seen = proxies("orders-1", "orders-2", "users-1")
    push = step(PUSH, PushObservation(0.0, seen, together=True))
    assert isinstance(push, Push)
    assert (push.wave, push.waves, len(push.admitted)) == (1, 1, 3)


def test_a_wave_without_traffic_ends_with_its_acks() -> None:
    seen = proxies("orders-1", "orders-2")
    push = next_push(PUSH, seen)
    assert next_push(push, seen) == push
    seen[0] = proxies("orders-1", accepted=True)[0]
    push = next_push(push, seen)
    assert (push.wave, push.phase, push.admitted) == (2, "acks", ("orders/orders-1", "orders/orders-2"))
    assert push.is_last_wave
    assert isinstance(
        step(push, PushObservation(0.0, proxies("orders-1", "orders-2", accepted=True))), Promote
    )


def test_a_wave_with_traffic_is_watched() -> None:
    push = next_push(PUSH, proxies("orders-1", "orders-2", requests=9))
    seen = proxies("orders-1", "orders-2", requests=9, accepted=True)
    watched = next_push(push, seen, now=2.0)
    assert (watched.phase, watched.since, watched.wave) == ("watch", 2.0, 1)
    assert next_push(watched, seen, now=11.9) == watched
    second = next_push(watched, seen, now=12.0)
    assert second.wave == 2
    assert isinstance(step(second, PushObservation(13.0, seen)), Promote)
    assert next_push(push, seen, watch=0).wave == 2


def test_a_later_wave_is_watched_half_as_long() -> None:
    names = [f"orders-{number}" for number in range(40)]
    push = next_push(PUSH, proxies(*names, requests=9))
    seen = proxies(*names, requests=9, accepted=True)
    push = next_push(next_push(push, seen, now=1.0), seen, now=11.0)
    watched = next_push(push, seen, now=12.0)
    assert (watched.wave, watched.phase) == (2, "watch")
    assert next_push(watched, seen, now=16.9) == watched
    assert next_push(watched, seen, now=17.0).wave == 3


def after_the_last_wave(now: float = 0.0) -> Push:
    """A push of one proxy with traffic, in force at `now`."""
    push = next_push(PUSH, proxies("orders-1", requests=9))
    verdict = step(push, PushObservation(now, proxies("orders-1", requests=9, accepted=True)))
    assert isinstance(verdict, Promote)
    assert verdict.after is not None
    return verdict.after


def test_a_revision_in_force_is_watched_still() -> None:
    push = after_the_last_wave(now=2.0)
    assert (push.phase, push.since, push.wave, push.affected) == ("after", 2.0, 1, 1)
    quiet = proxies("orders-1", accepted=True)
    assert next_push(push, quiet, now=11.9) == push
    assert step(push, PushObservation(12.0, quiet)) == Promote()
    assert step(push, PushObservation(5.0, quiet, burn="9 of 30 failed")) == Withdraw("9 of 30 failed")


def test_a_revision_in_force_without_traffic_is_not_watched() -> None:
    push = next_push(PUSH, proxies("orders-1"))
    quiet = proxies("orders-1", accepted=True)
    assert step(push, PushObservation(1.0, quiet)) == Promote()
    busy = proxies("orders-1", requests=9, accepted=True)
    assert step(push, PushObservation(1.0, busy, watch=0)) == Promote()
    taken_over = step(push, PushObservation(1.0, quiet, taken_over=True))
    assert isinstance(taken_over, Promote)
    assert taken_over.after is not None


def test_a_paused_push_is_not_in_force_before_it_is_resumed() -> None:
    push = next_push(PUSH, proxies("orders-1")).model_copy(update={"state": "paused"})
    accepted = proxies("orders-1", accepted=True)
    assert next_push(push, accepted) == push
    assert step(push.model_copy(update={"state": "running"}), PushObservation(0.0, accepted)) == Promote()


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (
            PushObservation(0.0, proxies("orders-1", rejection="no such filter")),
            "orders-1 of orders rejected it: no",
        ),
        (
            PushObservation(0.0, proxies("orders-1", gone=GONE_LIMIT)),
            "orders-1 of orders dropped off 3 s ago",
        ),
        (PushObservation(0.0, proxies("orders-1"), burn="20 of 100 failed"), "20 of 100 failed"),
        (PushObservation(0.0, proxies("orders-1"), failure="dangling"), "dangling"),
        (
            PushObservation(ACK_LIMIT, proxies("orders-1")),
            "orders-1 neither accepted nor rejected it within 60 s",
        ),
    ],
)
def test_harm_withdraws_even_a_paused_push(seen: PushObservation, reason: str) -> None:
    push = next_push(PUSH, proxies("orders-1", "orders-2"))
    for state in ("running", "paused"):
        verdict = step(push.model_copy(update={"state": state}), seen)
        assert isinstance(verdict, Withdraw)
        assert verdict.reason.startswith(reason)


def test_a_proxy_that_lacks_the_revision_does_no_harm_to_it() -> None:
    push = next_push(PUSH, proxies("orders-1", "orders-2"))
    waiting = [*proxies("orders-2", rejection="older"), *proxies("orders-3", gone=60.0)]
    assert next_push(push, [*proxies("orders-1"), *waiting]) == push


def test_a_new_leader_watches_the_wave_of_the_last_one_though_it_knows_no_traffic() -> None:
    push = Push(revision=7, wave=1, admitted=("orders/orders-1",), size=1, affected=2)
    quiet = proxies("orders-1", accepted=True) + proxies("orders-2")
    assert next_push(push, quiet).wave == 2
    after = step(push, PushObservation(5.0, quiet, taken_over=True))
    assert isinstance(after, Push)
    assert (after.wave, after.phase, after.since) == (1, "watch", 5.0)


def test_a_paused_push_admits_nobody() -> None:
    paused = PUSH.model_copy(update={"state": "paused"})
    seen = proxies("orders-1", "orders-2", accepted=True)
    assert next_push(paused, seen) == paused
    assert next_push(paused.model_copy(update={"state": "running"}), seen).wave == 1


FLEETS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 30)), min_size=1, max_size=25, unique=True
)


@given(FLEETS, st.data())
def test_any_course_of_events(fleet: list[tuple[str, int]], data: st.DataObject) -> None:
    """No wave begins before the last one has ACKed, harm always withdraws, and without it every push ends."""
    accepted: set[str] = set()
    push, now = PUSH, 0.0
    per_service = Counter(service for service, _ in fleet)
    for _ in range(10 * len(fleet) + 10):
        harmed = data.draw(st.integers(0, 30)) == 0 and push.admitted
        seen = [
            AffectedProxy(
                service,
                f"{service}-{number}",
                accepted=f"{service}/{service}-{number}" in accepted,
                rejection="no" if harmed and f"{service}/{service}-{number}" == push.admitted[-1] else "",
                requests=data.draw(st.sampled_from([0, 5])),
            )
            for service, number in fleet
        ]
        after = step(push, PushObservation(now, seen))
        if harmed:
            assert isinstance(after, Withdraw)
            return
        if isinstance(after, Promote):
            assert set(push.admitted) == accepted == {proxy.key for proxy in seen}
            assert after.after is None or after.after.phase == "after"
            return
        assert isinstance(after, Push)
        assert after.admitted[: len(push.admitted)] == push.admitted
        if after.wave > push.wave:
            assert accepted == set(push.admitted)
            assert len(set(after.admitted)) == len(after.admitted)
            if after.wave == 1 and max(per_service.values()) > 1:
                firsts = Counter(key.partition("/")[0] for key in after.admitted)
                assert firsts == {name: 1 for name, count in per_service.items() if count > 1}
        push, now = after, now + data.draw(st.sampled_from([0.5, 10.0]))
        accepted = set(push.admitted)
    raise AssertionError("the push does not end")
