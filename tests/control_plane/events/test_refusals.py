"""What was refused becomes one event for each caller, service and policy within a minute, with the number."""

from __future__ import annotations

from dataclasses import replace

from meshwright.control_plane.events.rate_limit import MAX_PER_OWNER, EventRateLimiter
from meshwright.control_plane.events.refusals import INTERVAL, MAX_WAIT, MAX_WATCHED, RefusalEvents
from meshwright.control_plane.store.events import EventEntry
from meshwright.control_plane.telemetry.requests.refusals import Refusal

REFUSED = Refusal(
    service="orders",
    caller="storefront",
    callee="orders",
    policies=("JWTAuthentication/users",),
    code="401",
    message="the request has no token",
    count=1,
    time=0.0,
    request="abc",
)


def messages(events: RefusalEvents, now: float, *refusals: Refusal) -> list[str]:
    return [entry.event.message for entry in events.detect(refusals, now, unlimited)]


def unlimited(_entry: EventEntry) -> bool:
    return True


def test_the_first_refusal_is_an_event_at_once_and_later_ones_are_counted_by_the_next() -> None:
    events = RefusalEvents()
    assert messages(events, 0.0, REFUSED) == [
        "JWTAuthentication/users refused a request: the request has no token; mesh why abc"
    ]
    for second in range(1, 60):
        assert messages(events, float(second), replace(REFUSED, count=2)) == []
    (message,) = messages(events, INTERVAL)
    assert message.startswith("JWTAuthentication/users refused 118 requests: ")
    assert messages(events, 2 * INTERVAL) == []
    assert messages(events, 2 * INTERVAL + 1, REFUSED), (
        "after a quiet minute the next one is an event at once"
    )


def test_callers_services_and_policies_have_events_of_their_own() -> None:
    events = RefusalEvents()
    others = (
        replace(REFUSED, caller="mallory"),
        replace(REFUSED, service="catalog", callee="catalog"),
        replace(REFUSED, policies=("Authorization/orders",)),
    )
    entries = list(events.detect((REFUSED, *others), 0.0, unlimited))
    assert [entry.event.subject for entry in entries] == [
        "storefront → orders", "mallory → orders", "storefront → catalog", "storefront → orders",
    ]  # fmt: skip
    assert {entry.owner for entry in entries} == {"orders", "catalog"}
    assert {entry.event.kind for entry in entries} == {"refusal"}


def test_connections_are_told_apart_by_peer_and_reason() -> None:
    events = RefusalEvents()
    connection = replace(
        REFUSED,
        caller="",
        policies=(),
        message="from 10.0.0.7: no certificate",
        reason="no-certificate",
    )
    assert messages(events, 0.0, connection, replace(connection, message="from 10.0.0.8: ...")) == [
        "refused a connection from 10.0.0.7: no certificate",
        "refused a connection from 10.0.0.8: ...",
    ]


def test_connections_of_a_gateways_clients_are_told_together_however_many_addresses_they_have() -> None:
    events = RefusalEvents()
    strangers = [
        replace(
            REFUSED,
            service="ingress",
            caller="outside",
            callee="",
            policies=(),
            message=f"from 10.0.0.{number}: it sent plain text",
            reason="plaintext",
        )
        for number in range(3)
    ]
    assert messages(events, 0.0, *strangers) == [
        "refused 3 connections, the last one from 10.0.0.2: it sent plain text"
    ]
    other = replace(strangers[0], reason="distrust", message="from 10.0.0.9: ...")
    assert messages(events, 1.0, other) == ["refused a connection from 10.0.0.9: ..."]


def test_the_number_of_watched_combinations_is_bounded() -> None:
    events = RefusalEvents()
    many = [replace(REFUSED, caller=f"caller-{number}") for number in range(MAX_WATCHED + 10)]
    assert len(messages(events, 0.0, *many)) == MAX_WATCHED


class Limited:
    """Refusals, and the share of their service as the watcher of events applies it."""

    def __init__(self) -> None:
        self.limiter = EventRateLimiter()
        self.events = RefusalEvents()

    def detect(self, now: float, *refusals: Refusal) -> list[str]:
        """The messages that are written."""

        def has_room(entry: EventEntry) -> bool:
            return self.limiter.has_room("refusal", entry.owner, now)

        return [
            entry.event.message
            for entry in self.events.detect(refusals, now, has_room)
            if self.limiter.allow("refusal", entry.owner, entry.event.subject, now)
        ]


def test_an_event_above_the_share_of_its_service_comes_with_all_it_counted_once_there_is_room() -> None:
    mesh = Limited()
    many = [replace(REFUSED, caller=f"caller-{number}") for number in range(MAX_PER_OWNER)]
    assert len(mesh.detect(0.0, *many)) == MAX_PER_OWNER
    assert mesh.detect(1.0, REFUSED) == []
    assert mesh.detect(2.0, replace(REFUSED, count=4)) == []
    assert mesh.detect(3.0, replace(REFUSED, service="stock")), "another service has a share of its own"
    (message,) = mesh.detect(INTERVAL)
    assert message.startswith("JWTAuthentication/users refused 5 requests: ")
    assert mesh.limiter.folded(INTERVAL) == [], "nothing was left out"
    assert mesh.detect(2 * INTERVAL) == [], "what was reported is not reported again"


def test_an_event_that_finds_no_room_for_too_long_is_counted_as_left_out_and_watched_no_longer() -> None:
    mesh = Limited()
    many = [replace(REFUSED, caller=f"caller-{number}") for number in range(6 * MAX_PER_OWNER)]
    written = [len(mesh.detect(float(now), *(() if now else many))) for now in range(int(MAX_WAIT) + 1)]
    assert sum(written) == 3 * MAX_PER_OWNER
    assert mesh.limiter.folded(MAX_WAIT) == [("refusal", "orders", 3 * MAX_PER_OWNER)]
    assert len(mesh.detect(2 * MAX_WAIT, *(replace(each, caller="later") for each in many))) == 1
