"""Who of the proxies that a push has reached left as planned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.push import Push
from meshwright.control_plane.core.world import Departure
from meshwright.control_plane.push.observer import PushObserver, has_left
from tests.control_plane.core.worlds import instance, service, world

WORLD = replace(
    world(
        service("orders", instance("orders-1")),
        replace(service("idle"), instances=(), departure=Departure(1.0)),
    ),
    gateway_instances={"ingress": (instance("ingress-1"),)},
)
CRASHED = world(
    replace(service("orders"), instances=(), departure=Departure(1.0, "orders-1", "killed by SIGKILL"))
)


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        ("orders", "orders-1", False),
        ("orders", "orders-2", True),
        ("idle", "idle-1", True),
        ("ingress", "ingress-1", False),
        ("ingress", "ingress-2", True),
    ],
)
def test_a_proxy_without_a_lease_has_left(owner: str, name: str, expected: bool) -> None:
    assert has_left(WORLD, owner, name) is expected


def test_one_that_crashed_has_not_left_as_planned() -> None:
    assert not has_left(CRASHED, "orders", "orders-1")


def test_a_new_leader_does_not_take_a_proxy_without_lease_for_one_that_left() -> None:
    """Its lease may have expired while nobody led."""
    connected = ProxyStatus(name="orders-1", service="orders", state="synced", revision=7)
    admitted = Push(revision=7, wave=1, admitted=("orders/orders-1",), size=1, affected=2)
    gone = world(replace(service("orders", instance("orders-2")), departure=None))

    def seen(observer: PushObserver, proxies: tuple[ProxyStatus, ...], now: float) -> list[float]:
        observation = observer.observe(admitted, proxies, gone, (), now)
        return [proxy.gone for proxy in observation.proxies]

    new = PushObserver(10.0, lambda _services: {})
    assert seen(new, (), 1.0) == [0.001]
    assert seen(new, (), 5.0) == [4.0]
    old = PushObserver(10.0, lambda _services: {})
    assert seen(old, (connected,), 1.0) == [0.0]
    assert seen(old, (), 5.0) == []


def test_requests_count_since_a_proxy_has_the_revision_and_those_of_its_siblings_since_the_first() -> None:
    observer = PushObserver(10.0, lambda _services: {})
    push = Push(revision=7, wave=1, admitted=("orders/orders-1",), size=1, affected=3)

    def proxies(**revisions: int) -> list[ProxyStatus]:
        return [
            ProxyStatus(name=f"{name}-{number}", service=name, state="synced", revision=revisions[key])
            for key in revisions
            for name, number in [key.split("_")]
        ]

    before = proxies(orders_1=6, orders_2=6, users_1=6)
    assert observer.watched_since(push, before, 100.0) == {"orders/orders-1": 100.0}
    reached = proxies(orders_1=7, orders_2=6, users_1=6)
    expected = {"orders/orders-1": 102.0, "orders/orders-2": 102.0}
    assert observer.watched_since(push, reached, 102.0) == expected
    assert observer.watched_since(push, reached, 105.0) == expected
    all_have_it = push.model_copy(update={"admitted": ("orders/orders-1", "orders/orders-2"), "wave": 2})
    both = proxies(orders_1=7, orders_2=7, orders_3=7)
    expected = {"orders/orders-1": 102.0, "orders/orders-2": 109.0}
    assert observer.watched_since(all_have_it, both[:2], 109.0) == expected
    in_force = all_have_it.model_copy(update={"phase": "after"})
    assert observer.watched_since(in_force, both, 111.0) == expected, "orders-3 began with it"
