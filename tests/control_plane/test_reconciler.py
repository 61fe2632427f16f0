"""From the stored state to the published snapshot: the last good one stays."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from meshwright.control_plane import reconciler as reconciler_module
from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.resource import EDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.store import StoredState


def stored(number: int, *names: str) -> StoredState:
    info = RevisionInfo(revision=number, author="me", time=0.0)
    registrations = tuple(
        Registration(instance=f"{name}-1", service=name, address="127.0.0.1", port=1) for name in names
    )
    services = MappingProxyType({name: (Port(),) for name in names})
    return StoredState(StoredRevision(info, {}), services, registrations)


def test_build_and_publish_serve_the_stored_state() -> None:
    published: list[Snapshot] = []
    reconciler = ConfigReconciler("mesh.local", lambda snapshot, trial: published.append(snapshot))
    assert reconciler.translation is None
    build = reconciler.build(stored(3, "orders"))
    assert build is not None
    assert published == []
    reconciler.publish(build)
    assert published[0].revision == reconciler.world.revision == 3
    assert (EDS, "orders") in published[0].shared
    assert reconciler.problems() == ()


def test_build_fails_is_a_problem_until_the_next_success(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = ConfigReconciler("mesh.local", lambda snapshot, trial: None)
    first = reconciler.build(stored(1, "orders"))
    assert first
    reconciler.publish(first)
    with monkeypatch.context() as patched:
        patched.setattr(reconciler_module, "translate", _fail)
        assert reconciler.build(stored(2, "orders", "catalog")) is None
    assert reconciler.published is first
    assert [line.split(":")[0] for line in reconciler.problems()] == [
        "revision 2 cannot be translated; the last good one is served"
    ]
    second = reconciler.build(stored(2, "orders", "catalog"))
    assert second
    reconciler.publish(second)
    assert reconciler.problems() == ()
    assert set(reconciler.world.services) == {"orders", "catalog"}


def test_build_dangling_references_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = ConfigReconciler("mesh.local", lambda snapshot, trial: None)
    references = tuple(f"line {number}" for number in range(8))
    monkeypatch.setattr(Snapshot, "dangling_references", lambda self: references)
    assert reconciler.build(stored(1, "orders")) is None
    (problem,) = reconciler.problems()
    assert problem.endswith("line 0; line 1; line 2; line 3; line 4 and 3 more")


@pytest.mark.parametrize(
    ("kind", "spec", "together"),
    [("MutualTLS", {"mode": "Permissive"}, True), ("Retry", {"attempts": 2}, False)],
)
def test_only_a_change_of_the_transport_mode_concerns_both_sides_of_calls(
    kind: str, spec: dict[str, object], together: bool
) -> None:
    reconciler = ConfigReconciler("mesh.local", lambda snapshot, trial: None)
    state = stored(1, "orders")
    body = {
        "apiVersion": "meshwright.io/v1",
        "kind": kind,
        "metadata": {"name": "p"},
        "spec": {"targetRefs": [{"kind": "Service", "name": "orders"}], **spec},
    }
    info = RevisionInfo(revision=2, author="me", time=0.0)
    newest = StoredRevision(info, {f"{kind}/p": StoredDocument.from_body(body)})
    build = reconciler.build(replace(state, revision=newest, stable=state.revision))
    assert build is not None
    assert build.trial is not None
    assert build.changes_transport() is together


def _fail(*arguments: object) -> None:
    raise RuntimeError("broken")
