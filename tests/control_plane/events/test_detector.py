"""States in, events out: what becomes an event, with which subject, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event
from meshwright.control_plane.api.models.instances import InstanceHealth
from meshwright.control_plane.api.models.proxies import (
    CertificateReport,
    CertificateState,
    ClusterReport,
    ProxyReport,
)
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import Instance, Service, World
from meshwright.control_plane.events.detector import DISCONNECT_GRACE, MAX_INDIVIDUAL, ChangeDetector
from meshwright.control_plane.events.state import MeshState, ProxyKey, capture
from meshwright.control_plane.store.events import EventEntry

PROXY = ("front", "front-1")


def summaries(entries: Iterable[EventEntry]) -> list[tuple[str, str, str, str]]:
    """Kind, subject, message and severity of each."""
    events: list[Event] = [entry.event for entry in entries]
    return [(event.kind, event.subject, event.message, event.severity) for event in events]


def breaker(state: str, ejected: int = 0, *, limited: bool = False) -> Mapping[tuple[str, str], Breaker]:
    value = Breaker.model_validate(
        {"from": "front", "to": "back", "state": state, "ejected": ejected, "hosts": 2, "limited": limited}
    )
    return {("front", "back"): value}


def instances(**health: InstanceHealth) -> Mapping[ProxyKey, Instance]:
    return {("back", name): Instance(name, "127.0.0.1", 1, health=value) for name, value in health.items()}


def test_sidecar_connects_and_stays_away_two_events() -> None:
    detector = ChangeDetector()
    connected, gone = MeshState({PROXY: ""}), MeshState()
    assert summaries(detector.detect(connected, 0, 1)) == [("sidecar", "front-1", "connected", "info")]
    assert summaries(detector.detect(connected, 1, 1)) == []
    assert summaries(detector.detect(gone, 2, 1)) == []
    assert summaries(detector.detect(gone, 2 + DISCONNECT_GRACE, 1)) == [
        ("sidecar", "front-1", "disconnected", "info")
    ]
    assert summaries(detector.detect(gone, 9, 1)) == []
    assert summaries(detector.detect(connected, 10, 1)) == [("sidecar", "front-1", "connected", "info")]


def test_sidecar_reconnects_within_the_grace_period_no_event() -> None:
    detector = ChangeDetector()
    detector.detect(MeshState({PROXY: ""}), 0, 1)
    assert detector.detect(MeshState(), 1, 1) == []
    assert detector.detect(MeshState({PROXY: ""}), 2, 1) == []
    assert detector.detect(MeshState({PROXY: ""}), 9, 1) == []


def test_sidecar_disconnects_instance_stays_is_a_warning() -> None:
    detector = ChangeDetector()
    health = {PROXY: Instance("front-1", "127.0.0.1", 1)}
    detector.detect(MeshState({PROXY: ""}, instances=health), 0, 1)
    detector.detect(MeshState(instances=health), 1, 1)
    (event,) = summaries(detector.detect(MeshState(instances=health), 1 + DISCONNECT_GRACE, 1))
    assert event == ("sidecar", "front-1", "disconnected", "warning")


def test_nack_event_has_envoys_message_and_the_author() -> None:
    detector = ChangeDetector()
    detector.detect_revisions([RevisionInfo(revision=7, author="ann@here", time=5)])
    detector.detect(MeshState({PROXY: ""}), 0, 7)
    (entry,) = detector.detect(MeshState({PROXY: "RDS out: no such thing"}), 1, 7)
    event = entry.event
    assert (event.kind, event.subject, event.severity) == ("nack", "front-1", "error")
    assert event.message == "Envoy rejected: RDS out: no such thing"
    assert (event.revision, event.author) == (7, "ann@here")
    assert detector.detect(MeshState({PROXY: "RDS out: no such thing"}), 2, 7) == []
    assert summaries(detector.detect(MeshState({PROXY: ""}), 3, 8)) == [
        ("nack", "front-1", "Envoy accepts its configuration again", "info")
    ]


def test_sidecar_connects_and_nacks_two_events() -> None:
    kinds = [row[0] for row in summaries(ChangeDetector().detect(MeshState({PROXY: "bad"}), 0, 1))]
    assert kinds == ["sidecar", "nack"]


def test_nack_long_message_is_truncated() -> None:
    rows = summaries(ChangeDetector().detect(MeshState({PROXY: "x" * 100_000}), 0, 1))
    assert [len(message) for kind, _, message, _ in rows if kind == "nack"] == [MESSAGE_LIMIT]


def test_same_event_of_many_proxies_is_grouped() -> None:
    many = {("front", f"front-{number}"): "" for number in range(MAX_INDIVIDUAL + 5)}
    assert summaries(ChangeDetector().detect(MeshState(many), 0, 1)) == [
        ("sidecar", "front-0, front-1, front-2 and 7 more", "connected", "info")
    ]
    few = dict(list(many.items())[:MAX_INDIVIDUAL])
    assert len(ChangeDetector().detect(MeshState(few), 0, 1)) == MAX_INDIVIDUAL


def test_breaker_each_change_of_state_is_an_event() -> None:
    detector = ChangeDetector()
    steps: list[tuple[Mapping[tuple[str, str], Breaker], list[tuple[str, str]]]] = [
        ({}, []),
        (breaker("partial", 1), [("breaker partially open: 1 of 2 hosts ejected", "warning")]),
        (breaker("partial", 1), []),
        (breaker("open", 2), [("breaker opened: 2 of 2 hosts ejected", "error")]),
        ({}, [("breaker closed", "info")]),
        (breaker("open", limited=True), [("breaker opened: a limit is reached", "error")]),
    ]
    for now, (state, expected) in enumerate(steps):
        rows = summaries(detector.detect(MeshState(breakers=state), now, 1))
        assert rows == [("breaker", "front → back", message, severity) for message, severity in expected]


def test_ejection_names_the_hosts() -> None:
    detector = ChangeDetector()
    edge = ("front", "back")
    rows = summaries(detector.detect(MeshState(ejected={edge: frozenset({"back-1", "back-2"})}), 0, 1))
    assert [row[2] for row in rows] == [
        "back-1 ejected after failures",
        "back-2 ejected after failures",
    ]
    assert [
        row[2] for row in summaries(detector.detect(MeshState(ejected={edge: frozenset({"back-2"})}), 1, 1))
    ] == ["back-1 no longer ejected"]
    assert [row[2] for row in summaries(detector.detect(MeshState(), 2, 1))] == ["back-2 no longer ejected"]


def test_instance_event_says_why_it_is_unhealthy_and_how_it_ended() -> None:
    def state(**fields: Any) -> MeshState:
        return MeshState(instances={("back", "back-1"): Instance("back-1", "127.0.0.1", 1, **fields)})

    detector = ChangeDetector()
    detector.detect(state(), 0, 1)
    unhealthy = detector.detect(state(health="unhealthy", reason="app: killed by SIGKILL"), 1, 1)
    assert summaries(unhealthy) == [
        ("instance", "back-1", "instance of back is unhealthy: app: killed by SIGKILL", "warning")
    ]
    detector.detect(state(), 2, 1)
    restarted = detector.detect(state(restarts=2, last_exit="exited with code 3"), 3, 1)
    assert summaries(restarted) == [
        ("instance", "back-1", "instance of back was restarted (2): exited with code 3", "warning")
    ]
    assert detector.detect(state(restarts=2, last_exit="exited with code 3"), 4, 1) == []


def test_instance_that_comes_back_with_another_health_is_two_events() -> None:
    def state(**fields: Any) -> MeshState:
        return MeshState(instances={("back", "back-1"): Instance("back-1", "127.0.0.1", 1, **fields)})

    detector = ChangeDetector()
    detector.detect(state(health="unhealthy", reason="app: killed by SIGKILL"), 0, 1)
    restarted = detector.detect(state(restarts=1, last_exit="killed by SIGKILL"), 1, 1)
    assert summaries(restarted) == [
        ("instance", "back-1", "instance of back was restarted (1): killed by SIGKILL", "warning"),
        ("instance", "back-1", "instance of back is healthy", "info"),
    ]


def test_instance_health_change_is_an_event_a_new_instance_is_not() -> None:
    detector = ChangeDetector()
    assert detector.detect(MeshState(instances=instances(a="healthy")), 0, 1) == []
    assert detector.detect(MeshState(instances=instances(a="healthy", b="unhealthy")), 1, 1) == []
    rows = summaries(detector.detect(MeshState(instances=instances(a="unhealthy", b="healthy")), 2, 1))
    assert rows == [
        ("instance", "a", "instance of back is unhealthy", "warning"),
        ("instance", "b", "instance of back is healthy", "info"),
    ]
    assert detector.detect(MeshState(), 3, 1) == []


def test_two_control_planes_detect_the_same_dedup_keys_match() -> None:
    first, second = ChangeDetector(), ChangeDetector()
    state = MeshState(
        breakers=breaker("open", 2),
        ejected={("front", "back"): frozenset({"back-1"})},
        instances=instances(a="unhealthy"),
    )
    for detector in (first, second):
        detector.detect(MeshState(instances=instances(a="healthy")), 0, 1)
    keys = [entry.dedup_key for entry in first.detect(state, 1, 1)]
    assert keys == [entry.dedup_key for entry in second.detect(state, 1.4, 1)]
    assert len(set(keys)) == len(keys) == 3
    assert all(keys)
    closing = [entry.dedup_key for entry in first.detect(MeshState(instances=instances(a="healthy")), 2, 1)]
    assert not set(closing) & set(keys)


def test_revision_event_has_author_changes_and_message() -> None:
    changed = tuple(DocumentChange(kind="Retry", name=f"r{n}", action="created") for n in range(7))
    info = RevisionInfo(revision=3, author="ann", time=12.5, message="calm", changed=changed)
    (entry,) = ChangeDetector().detect_revisions([info])
    event = entry.event
    assert (event.kind, event.subject, event.time) == ("revision", "revision 3", 12.5)
    assert (event.revision, event.author) == (3, "ann")
    assert event.message.startswith("created Retry/r0, created Retry/r1")
    assert event.message.endswith("created Retry/r4 and 2 more: calm")


def world() -> Translation:
    hosts = tuple(Instance(f"back-{n}", "127.0.0.1", 4000 + n) for n in (1, 2))
    services = {"back": Service("back", (), hosts), "front": Service("front", ())}
    return translate(World(1, services), None)


def report(*clusters: ClusterReport) -> ProxyReport:
    return ProxyReport(node="front-1", service="front", clusters=clusters)


def test_capture_names_ejected_hosts() -> None:
    cluster = ClusterReport(
        cluster="back", hosts=2, ejected=1, ejected_addresses=("127.0.0.1:4002", "127.0.0.1:9")
    )
    captured = capture({PROXY: ""}, world(), [report(cluster)])
    assert captured.ejected == {("front", "back"): {"back-2", "127.0.0.1:9"}}
    assert captured.breakers == {}
    assert {key: item.health for key, item in captured.instances.items()} == {
        ("back", "back-1"): "healthy",
        ("back", "back-2"): "healthy",
    }
    assert capture({PROXY: ""}, None, []) == MeshState({PROXY: ""})


def test_lost_instance_that_returns_is_an_event() -> None:
    detector = ChangeDetector()
    here, gone = (
        MeshState(instances={("back", "orders-1"): Instance("orders-1", "127.0.0.1", 1)}),
        MeshState(),
    )
    detector.detect(here, 1.0, 0)
    detector.lost([("back", "orders-1")])
    assert detector.detect(here, 2.0, 0) == [], "the state may be older than the loss"
    assert detector.detect(gone, 3.0, 0) == []
    (entry,) = detector.detect(here, 4.0, 0)
    assert (entry.event.kind, entry.event.subject) == ("lease", "orders-1")
    assert "back" in entry.event.message
    assert detector.detect(gone, 5.0, 0) == detector.detect(here, 6.0, 0) == []


def certificates(state: CertificateState) -> MeshState:
    report = CertificateReport(name="shop", state=state, message="shop.key: gone")
    reports = {} if state == "valid" else {("ingress", "ingress-1", "shop"): report}
    return MeshState({("ingress", "ingress-1"): ""}, certificates=reports)


def test_certificates_of_gateways_are_events_when_their_state_changes() -> None:
    detector = ChangeDetector()
    states: tuple[CertificateState, ...] = ("valid", "stale", "stale", "missing", "valid")
    seen = [
        [
            (entry.event.severity, entry.event.message)
            for entry in detector.detect(certificates(state), 1.0, 1)
        ]
        for state in states
    ]
    assert [messages[-1:] for messages in seen[1:]] == [
        [("warning", "Certificate shop is stale: shop.key: gone")],
        [],
        [("error", "Certificate shop is missing: shop.key: gone")],
        [("info", "Certificate shop is in order again")],
    ]


def test_a_client_certificate_towards_a_host_outside_is_named_after_its_document() -> None:
    detector, proxy = ChangeDetector(), {("orders", "orders-1"): ""}
    report = CertificateReport(name="ExternalService/cards", state="expired", message="/c.pem: old")
    reports = {("orders", "orders-1", report.name): report}
    detector.detect(MeshState(proxy), 1.0, 1)
    (entry,) = detector.detect(MeshState(proxy, certificates=reports), 2.0, 1)
    assert entry.event.message == "The client certificate of ExternalService/cards is expired: /c.pem: old"
    assert (entry.event.subject, entry.owner) == ("orders-1", "orders")
