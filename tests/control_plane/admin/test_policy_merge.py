"""Merging edits into a revision's documents, and describing the difference."""

from __future__ import annotations

import pytest

from meshwright.control_plane.admin.policy_merge import changes, merge, prune, remove
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import NotFoundError


def document(kind: str, name: str, source: str = "", **spec: object) -> RevisionDocument:
    """A document with a spec."""
    return RevisionDocument({"kind": kind, "metadata": {"name": name}, "spec": spec}, source)


A, B, C = document("Retry", "a", "old:1", n=1), document("Retry", "b", n=1), document("Timeout", "a", n=1)


def test_merge_sorts_and_replaces_by_kind_and_name() -> None:
    newer = document("Retry", "a", "new:2", n=2)
    assert merge((C, A), (newer, B)) == (newer, B, C)


def test_merge_keeps_the_source_of_an_unchanged_document() -> None:
    assert merge((A,), (document("Retry", "a", "new:2", n=1),)) == (A,)


def test_prune_deletes_what_has_all_labels_and_is_not_applied() -> None:
    def labelled(name: str, **labels: str) -> RevisionDocument:
        return RevisionDocument(
            {"kind": "Retry", "metadata": {"name": name, "labels": labels}, "spec": {}}, ""
        )

    applied, old, other = labelled("x", team="a"), labelled("y", team="a", tier="1"), labelled("z", team="b")
    assert prune((A, applied, old, other), {"team": "a"}, [applied]) == (A, applied, other)
    assert prune((applied, old), {"team": "a", "tier": "1"}, []) == (applied,)
    assert prune((A, old), None, []) == (A, old)
    assert prune((A, applied, old), {}, [applied]) == (applied,), "every document has no label"


def test_remove_names_every_missing_document() -> None:
    assert remove((A, B, C), [("Retry", "b")]) == (A, C)
    with pytest.raises(NotFoundError, match="Retry/x, Timeout/b"):
        remove((A, B), [("Timeout", "b"), ("Retry", "a"), ("Retry", "x")])


def test_remove_suggests_the_closest_name_of_the_kind() -> None:
    stored = (document("Retry", "inventory"), document("Timeout", "inventry"))
    with pytest.raises(
        NotFoundError, match=r"no such document: Retry/inventry \(did you mean inventory\?\): see"
    ):
        remove(stored, [("Retry", "inventry")])


def test_changes_list_what_differs_and_the_included_documents() -> None:
    after = (document("Retry", "a", n=2), C, document("Subset", "s"))
    listed = [(c.kind, c.name, c.action) for c in changes((A, B, C), after, include=[("Timeout", "a")])]
    assert listed == [
        ("Retry", "a", "changed"),
        ("Retry", "b", "deleted"),
        ("Subset", "s", "created"),
        ("Timeout", "a", "unchanged"),
    ]
    assert changes((A,), (A,)) == ()
