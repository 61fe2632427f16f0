"""Documents, their canonical form, and planned commits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.store import revisions
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision


def _retry(name: str, attempts: int = 1) -> StoredDocument:
    return StoredDocument.from_body(
        {"kind": "Retry", "metadata": {"name": name}, "spec": {"attempts": attempts}}
    )


def _at(number: int, *documents: StoredDocument) -> StoredRevision:
    return StoredRevision(
        RevisionInfo(revision=number, author="", time=0.0), {document.ref: document for document in documents}
    )


def test_order_of_keys_does_not_change_a_document() -> None:
    first = StoredDocument.from_body(
        {"kind": "Retry", "metadata": {"name": "ä"}, "spec": {"b": 1, "a": [2, 1]}}
    )
    second = StoredDocument.from_body(
        {"spec": {"a": [2, 1], "b": 1}, "metadata": {"name": "ä"}, "kind": "Retry"}
    )
    assert first.text == second.text == '{"kind":"Retry","metadata":{"name":"ä"},"spec":{"a":[2,1],"b":1}}'
    assert first.digest == second.digest
    assert first.ref == "Retry/ä"
    assert first.body["spec"] == {"a": [2, 1], "b": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1, 2}])
def test_value_that_json_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        StoredDocument.from_body({"kind": "Retry", "spec": value})


def test_plan_names_each_kind_of_change() -> None:
    base = _at(4, replace(_retry("kept"), created=2), _retry("gone"), replace(_retry("same"), created=3))
    documents = [_retry("kept", 9), _retry("new"), _retry("same")]
    plan = revisions.plan_commit(base, {document.ref: document for document in documents})
    assert [(change.kind, change.name, change.action) for change in plan.changed] == [
        ("Retry", "gone", "deleted"),
        ("Retry", "kept", "changed"),
        ("Retry", "new", "created"),
    ]
    assert {ref: document.created for ref, document in plan.documents.items()} == {
        "Retry/kept": 2,
        "Retry/new": 5,
        "Retry/same": 3,
    }
    assert set(plan.new_texts.values()) == {_retry("kept", 9).text, _retry("new").text}


def test_moved_source_is_not_a_change() -> None:
    base = _at(1, replace(_retry("a"), created=1, source="a.yaml:1"))
    plan = revisions.plan_commit(base, {"Retry/a": replace(_retry("a"), source="a.yaml:7")})
    assert plan.changed == ()
    assert plan.documents["Retry/a"].source == "a.yaml:7"


def test_created_of_an_earlier_revision_is_kept_and_is_a_change() -> None:
    base = _at(5, replace(_retry("a"), created=4))
    plan = revisions.plan_commit(base, {"Retry/a": replace(_retry("a"), created=1)})
    assert [change.action for change in plan.changed] == ["changed"]
    assert plan.documents["Retry/a"].created == 1


def test_generation_is_the_revision_that_changed_the_text() -> None:
    base = _at(
        6,
        replace(_retry("same"), created=2, generation=3),
        replace(_retry("changed"), created=2, generation=5),
    )
    documents = [_retry("same"), _retry("changed", 9), _retry("new")]
    plan = revisions.plan_commit(base, {document.ref: document for document in documents})
    assert {ref: document.generation for ref, document in plan.documents.items()} == {
        "Retry/changed": 7,
        "Retry/new": 7,
        "Retry/same": 3,
    }
    rolled_back = revisions.plan_commit(base, {"Retry/changed": replace(_retry("changed", 4), generation=1)})
    assert rolled_back.documents["Retry/changed"].generation == 7


def test_index_without_generations_is_read() -> None:
    document = replace(_retry("a"), created=3)
    index = f'{{"Retry/a": ["{document.digest}", 3, "a.yaml:1"]}}'
    documents, _ = revisions.parse_documents(index, {document.digest: document.text})
    assert documents["Retry/a"].generation == 3


def test_documents_survive_serialization() -> None:
    documents = {"Retry/a": replace(_retry("a"), created=3, source='x "y".yaml:1', generation=5)}
    index = revisions.serialize_documents(documents)
    digest = documents["Retry/a"].digest
    assert revisions.parse_digests(index) == {digest}
    assert revisions.parse_documents(index, {digest: documents["Retry/a"].text}) == (documents, ())
    for texts in ({}, {digest: "{}"}):
        assert revisions.parse_documents(index, texts) == ({}, ("Retry/a",))


def test_info_survives_serialization() -> None:
    changed = revisions.plan_commit(_at(0), {"Retry/a": _retry("a")}).changed
    info = revisions.parse_info(1, "ann", "because", "1700000000123", revisions.serialize_changes(changed))
    assert info == RevisionInfo(
        revision=1, author="ann", message="because", time=1700000000.123, changed=changed
    )


def test_limits_are_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "DOCUMENTS_LIMIT", 1)
    monkeypatch.setattr(revisions, "TOTAL_BYTES", 1000)
    a, b = _retry("a"), _retry("b")
    with pytest.raises(InputError, match="2 documents: a mesh holds at most 1"):
        revisions.validate_commit({a.ref: a, b.ref: b}, "ann", "")
    with pytest.raises(InputError, match="author takes 256"):
        revisions.validate_commit({}, "a" * 257, "")
    with pytest.raises(InputError, match="message 2000"):
        revisions.validate_commit({}, "ann", "w" * 2001)
    large = StoredDocument.from_body({"kind": "Retry", "metadata": {"name": "a"}, "spec": "x" * 1000})
    with pytest.raises(InputError, match="a mesh holds at most 1000"):
        revisions.validate_commit({large.ref: large}, "ann", "")
    huge = StoredDocument.from_body({"kind": "Retry", "metadata": {"name": "a"}, "spec": "x" * (1 << 20)})
    with pytest.raises(InputError, match=r"Retry/a: .* split it"):
        revisions.validate_commit({huge.ref: huge}, "ann", "")
