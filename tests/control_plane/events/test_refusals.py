"""What was refused becomes one event for each caller, service and policy within a minute, with the number."""

from __future__ import annotations

from dataclasses import replace

from meshwright.control_plane.events.refusals import INTERVAL, MAX_WATCHED, RefusalEvents
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
    return [entry.event.message for entry in events.detect(refusals, now)]


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
    entries = list(events.detect((REFUSED, *others), 0.0))
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
