"""The mesh differs from what a sync made of it: which policies, and who changed them."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.sync_marks import LABEL, origin, synced_version
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.status.sync_drift import Documents, drift, last_syncs


def document(name: str, attempts: int = 2, sync: str = "shop", step: str = "") -> dict[str, Any]:
    labels = {LABEL: sync} if sync else {}
    annotations = {"meshwright.io/rollout-step": step} if step else {}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {"kind": "Retry", "metadata": metadata, "spec": {"attempts": attempts}}


def documents(*bodies: dict[str, Any]) -> dict[str, CanonicalDocument]:
    return {f"Retry/{body['metadata']['name']}": body for body in bodies}


def revision(number: int, message: str = "", *names: str, **state: Any) -> RevisionInfo:
    changed = tuple(DocumentChange(kind="Retry", name=name, action="changed") for name in names)
    return RevisionInfo(revision=number, author="ann", time=0, message=message, changed=changed, **state)


SYNCED = documents(document("a"), document("b"), document("other", sync=""))
CHANGES = (
    revision(4, "", "other"),
    revision(3, "by hand", "b"),
    revision(2, f"two {origin('shop', '4f2a')}"),
)


def message(current: Documents) -> tuple[str, str]:
    (sync,) = last_syncs(CHANGES, current)
    problem = drift(sync, SYNCED, current, CHANGES)
    return (problem.message, problem.cause) if problem else ("", "")


def test_version_is_that_in_the_message_of_a_sync_of_this_name() -> None:
    assert synced_version("retry twice (sync shop 4f2a)", "shop") == "4f2a"
    assert not synced_version("retry twice (sync shop 4f2a)", "sho")
    assert not synced_version("undo (sync shop 4f2a) by hand", "shop")


def test_policies_that_others_changed_are_named_with_the_last_change() -> None:
    assert message(SYNCED | documents(document("b", 5))) == (
        "1 policy differs from version 4f2a, revision 2: Retry/b changed",
        "revision 3, by ann",
    )
    current = documents(document("a"), document("c"), document("other", sync=""))
    assert message(current)[0] == (
        "2 policies differ from version 4f2a, revision 2: Retry/b deleted, Retry/c created"
    )
    assert "Retry/b changed" in message(SYNCED | documents(document("b", sync="")))[0]


def test_progress_of_a_rollout_and_other_policies_are_no_drift() -> None:
    progressed = document("a", step="2")
    assert message(SYNCED | documents(progressed, document("other", 9, sync=""))) == ("", "")


def test_policies_that_have_all_lost_the_label_are_named_until_the_sync_is_ended() -> None:
    lost = documents(document("a", sync=""), document("b", sync=""), document("new", sync=""))
    assert message(lost) == (
        "no policy has the label of the sync any more, of version 4f2a, revision 2: Retry/a, Retry/b",
        "revision 3, by ann",
    )
    ended = revision(5, "by hand (sync shop ended)", "a", "b")
    assert last_syncs((ended, *CHANGES), lost) == ()
    (sync,) = last_syncs((revision(6, origin("shop", "9e55")), ended, *CHANGES), lost)
    assert sync.version == "9e55", "it has begun again"


def test_a_sync_is_over_when_its_policies_are_deleted_or_belong_to_another() -> None:
    assert message(documents(document("other", sync=""))) == ("", "")
    assert message(documents(document("a", sync="two"), document("b", sync="two"))) == ("", "")
    assert "Retry/b deleted" in message(documents(document("a")))[0], "one is left"


def test_a_revision_on_trial_or_withdrawn_is_not_the_last_of_a_sync() -> None:
    newer = revision(5, origin("shop", "9e55"), on_trial=True)
    withdrawn = revision(6, origin("shop", "9e55"), withdrawn="rejected")
    (sync,) = last_syncs((withdrawn, newer, *CHANGES), SYNCED)
    assert (sync.version, sync.info.revision) == ("4f2a", 2)
