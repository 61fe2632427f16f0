"""From what is stored to what is served: the last good snapshot stays."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from meshwright.control_plane import reconciler as feed_module
from meshwright.control_plane.api.models.base import Port, Registration, RevisionInfo
from meshwright.control_plane.core.resource import EDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.store.revisions import StoredRevision
from meshwright.control_plane.store.store import StoredState


def stored(number: int, *names: str) -> StoredState:
    info = RevisionInfo(revision=number, author="me", time=0.0)
    registrations = tuple(
        Registration(instance=f"{name}-1", service=name, address="127.0.0.1", port=1) for name in names
    )
    services = MappingProxyType({name: (Port(),) for name in names})
    return StoredState(StoredRevision(info, {}), services, registrations)


def test_what_is_stored_is_served() -> None:
    served: list[Snapshot] = []
    feed = ConfigReconciler("mesh.local", served.append)
    assert feed.translation is None
    made = feed.build(stored(3, "orders"))
    assert made is not None
    assert served == []
    feed.publish(made)
    assert served[0].revision == feed.world.revision == 3
    assert (EDS, "orders") in served[0].shared
    assert feed.problems() == ()


def test_a_failure_is_told_until_the_next_success(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ConfigReconciler("mesh.local", lambda snapshot: None)
    first = feed.build(stored(1, "orders"))
    assert first
    feed.publish(first)
    with monkeypatch.context() as patched:
        patched.setattr(feed_module, "translate", _fail)
        assert feed.build(stored(2, "orders", "catalog")) is None
    assert feed.translation is first
    assert [line.split(":")[0] for line in feed.problems()] == [
        "revision 2 cannot be translated, the last good one is served"
    ]
    second = feed.build(stored(2, "orders", "catalog"))
    assert second
    feed.publish(second)
    assert feed.problems() == ()
    assert set(feed.world.services) == {"orders", "catalog"}


def test_references_that_lead_nowhere_are_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ConfigReconciler("mesh.local", lambda snapshot: None)
    lines = tuple(f"line {number}" for number in range(8))
    monkeypatch.setattr(Snapshot, "unresolved", lambda self: lines)
    assert feed.build(stored(1, "orders")) is None
    (problem,) = feed.problems()
    assert problem.endswith("line 0; line 1; line 2; line 3; line 4 and 3 more")


def _fail(*arguments: object) -> None:
    raise RuntimeError("broken")
