"""Pictures in, events out: what is told, to whom it is said to happen, and what is not worth telling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.control_plane.api.models.base import (
    Breaker,
    ClusterReport,
    DocumentChange,
    InstanceHealth,
    ProxyReport,
    RevisionInfo,
)
from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import Instance, Service, World
from meshwright.control_plane.events import state as state_module
from meshwright.control_plane.events.detector import DISCONNECT_GRACE, MAX_INDIVIDUAL, ChangeDetector
from meshwright.control_plane.events.state import MeshState
from meshwright.control_plane.store.events import EventEntry

PROXY = ("front", "front-1")


def told(entries: Iterable[EventEntry]) -> list[tuple[str, str, str, str]]:
    """Kind, subject, words, severity of each."""
    events: list[Event] = [one.event for one in entries]
    return [(one.kind, one.subject, one.message, one.severity) for one in events]


def breaker(state: str, ejected: int = 0, *, limited: bool = False) -> Mapping[tuple[str, str], Breaker]:
    made = Breaker.model_validate(
        {"from": "front", "to": "back", "state": state, "ejected": ejected, "hosts": 2, "limited": limited}
    )
    return {("front", "back"): made}


def instances(**health: InstanceHealth) -> Mapping[str, tuple[str, InstanceHealth]]:
    return {name: ("back", value) for name, value in health.items()}


def test_a_sidecar_is_told_of_when_it_connects_and_when_it_stays_away() -> None:
    changes = ChangeDetector()
    there, away = MeshState({PROXY: ""}), MeshState()
    assert told(changes.detect(there, 0, 1)) == [("sidecar", "front-1", "connected", "info")]
    assert told(changes.detect(there, 1, 1)) == []
    assert told(changes.detect(away, 2, 1)) == []
    assert told(changes.detect(away, 2 + DISCONNECT_GRACE, 1)) == [
        ("sidecar", "front-1", "disconnected", "info")
    ]
    assert told(changes.detect(away, 9, 1)) == []
    assert told(changes.detect(there, 10, 1)) == [("sidecar", "front-1", "connected", "info")]


def test_a_connection_that_is_made_anew_is_not_told_of() -> None:
    changes = ChangeDetector()
    changes.detect(MeshState({PROXY: ""}), 0, 1)
    assert changes.detect(MeshState(), 1, 1) == []
    assert changes.detect(MeshState({PROXY: ""}), 2, 1) == []
    assert changes.detect(MeshState({PROXY: ""}), 9, 1) == []


def test_a_sidecar_that_leaves_while_its_instance_stays_is_a_warning() -> None:
    changes = ChangeDetector()
    health: Mapping[str, tuple[str, InstanceHealth]] = {"front-1": ("front", "healthy")}
    changes.detect(MeshState({PROXY: ""}, instances=health), 0, 1)
    changes.detect(MeshState(instances=health), 1, 1)
    (event,) = told(changes.detect(MeshState(instances=health), 1 + DISCONNECT_GRACE, 1))
    assert event == ("sidecar", "front-1", "disconnected", "warning")


def test_a_refusal_has_envoys_words_and_the_author_and_an_end() -> None:
    changes = ChangeDetector()
    changes.detect_revisions([RevisionInfo(revision=7, author="ann@here", time=5)])
    changes.detect(MeshState({PROXY: ""}), 0, 7)
    (entry,) = changes.detect(MeshState({PROXY: "RDS out: no such thing"}), 1, 7)
    event = entry.event
    assert (event.kind, event.subject, event.severity) == ("nack", "front-1", "error")
    assert event.message == "Envoy refuses: RDS out: no such thing"
    assert (event.revision, event.author) == (7, "ann@here")
    assert changes.detect(MeshState({PROXY: "RDS out: no such thing"}), 2, 7) == []
    assert told(changes.detect(MeshState({PROXY: ""}), 3, 8)) == [
        ("nack", "front-1", "Envoy takes its configuration again", "info")
    ]


def test_a_sidecar_that_comes_with_a_refusal_tells_both() -> None:
    kinds = [one[0] for one in told(ChangeDetector().detect(MeshState({PROXY: "bad"}), 0, 1))]
    assert kinds == ["sidecar", "nack"]


def test_endless_words_are_cut() -> None:
    found = told(ChangeDetector().detect(MeshState({PROXY: "x" * 100_000}), 0, 1))
    assert [len(words) for kind, _, words, _ in found if kind == "nack"] == [MESSAGE_LIMIT]


def test_what_happens_to_many_is_one_event() -> None:
    many = {("front", f"front-{number}"): "" for number in range(MAX_INDIVIDUAL + 5)}
    assert told(ChangeDetector().detect(MeshState(many), 0, 1)) == [
        ("sidecar", "front-0, front-1, front-2 and 7 more", "connected", "info")
    ]
    few = dict(list(many.items())[:MAX_INDIVIDUAL])
    assert len(ChangeDetector().detect(MeshState(few), 0, 1)) == MAX_INDIVIDUAL


def test_a_breaker_is_told_of_at_each_change_of_its_state() -> None:
    changes = ChangeDetector()
    steps: list[tuple[Mapping[tuple[str, str], Breaker], list[tuple[str, str]]]] = [
        ({}, []),
        (breaker("partial", 1), [("breaker is partly open: 1 of 2 hosts ejected", "warning")]),
        (breaker("partial", 1), []),
        (breaker("open", 2), [("breaker opened: 2 of 2 hosts ejected", "error")]),
        ({}, [("breaker closed", "info")]),
        (breaker("open", limited=True), [("breaker opened: a limit is reached", "error")]),
    ]
    for now, (state, wanted) in enumerate(steps):
        found = told(changes.detect(MeshState(breakers=state), now, 1))
        assert found == [("breaker", "front → back", words, severity) for words, severity in wanted]


def test_hosts_are_named_when_they_are_ejected_and_let_back() -> None:
    changes = ChangeDetector()
    edge = ("front", "back")
    found = told(changes.detect(MeshState(ejected={edge: frozenset({"back-1", "back-2"})}), 0, 1))
    assert [one[2] for one in found] == [
        "back-1 is taken out after failures",
        "back-2 is taken out after failures",
    ]
    assert [
        one[2] for one in told(changes.detect(MeshState(ejected={edge: frozenset({"back-2"})}), 1, 1))
    ] == ["back-1 is let back"]
    assert [one[2] for one in told(changes.detect(MeshState(), 2, 1))] == ["back-2 is let back"]


def test_an_instance_is_told_of_when_its_health_changes_not_when_it_comes() -> None:
    changes = ChangeDetector()
    assert changes.detect(MeshState(instances=instances(a="healthy")), 0, 1) == []
    assert changes.detect(MeshState(instances=instances(a="healthy", b="unhealthy")), 1, 1) == []
    found = told(changes.detect(MeshState(instances=instances(a="unhealthy", b="healthy")), 2, 1))
    assert found == [
        ("instance", "a", "back a is unhealthy", "warning"),
        ("instance", "b", "back b is healthy", "info"),
    ]
    assert changes.detect(MeshState(), 3, 1) == []


def test_other_control_planes_share_topics_for_what_they_see_too() -> None:
    first, second = ChangeDetector(), ChangeDetector()
    seen = MeshState(
        breakers=breaker("open", 2),
        ejected={("front", "back"): frozenset({"back-1"})},
        instances=instances(a="unhealthy"),
    )
    for one in (first, second):
        one.detect(MeshState(instances=instances(a="healthy")), 0, 1)
    topics = [one.dedup_key for one in first.detect(seen, 1, 1)]
    assert topics == [one.dedup_key for one in second.detect(seen, 1.4, 1)]
    assert len(set(topics)) == len(topics) == 3
    assert all(topics)
    closing = [one.dedup_key for one in first.detect(MeshState(instances=instances(a="healthy")), 2, 1)]
    assert not set(closing) & set(topics)


def test_a_revision_tells_who_what_and_why() -> None:
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


def test_a_picture_names_ejected_hosts() -> None:
    out = ClusterReport(
        cluster="back", hosts=2, ejected=1, ejected_addresses=("127.0.0.1:4002", "127.0.0.1:9")
    )
    taken = state_module.capture({PROXY: ""}, world(), [report(out)])
    assert taken.ejected == {("front", "back"): {"back-2", "127.0.0.1:9"}}
    assert taken.breakers == {}
    assert taken.instances == {"back-1": ("back", "healthy"), "back-2": ("back", "healthy")}
    assert state_module.capture({PROXY: ""}, None, []) == MeshState({PROXY: ""})
