"""Where Envoy's verdict on a change is reported."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_verdict import check_verdict
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Objection


def document(name: str, spec: dict[str, Any], source: str = "") -> RevisionDocument:
    return RevisionDocument({"kind": "Retry", "metadata": {"name": name}, "spec": spec}, source)


OLD = document("old", {"mode": "/[a-z]+"}, "old.yaml:1")
NEW = document("new", {"rules": [{"path": "/x"}, {"path": "/[a-z]{900}"}]}, "new.yaml:7")
OTHER = document("other", {"mode": "x"}, "other.yaml:3")
MESSAGE = "regex '/[a-z]{900}' is too large"


def problems(*objections: Objection, after: tuple[RevisionDocument, ...] = (OLD, NEW, OTHER)) -> list[Any]:
    with pytest.raises(DocumentsError) as error:
        check_verdict(EnvoyVerdict(objections), (OLD,), after)
    return [(each.path, each.line, each.message) for each in error.value.problems]


def test_the_field_that_envoy_quotes_is_named_in_the_policy_that_shaped_the_resource() -> None:
    refused = Objection(MESSAGE, "VirtualHost out/a", "orders", ("Retry/new", "Retry/old"))
    text = f"spec.rules[1].path: Envoy rejects VirtualHost out/a: {MESSAGE}"
    assert problems(refused) == [("new.yaml", 7, text)]


def test_the_same_rejection_at_several_owners_is_one_problem() -> None:
    owners = [Objection(MESSAGE, "VirtualHost out/a", owner, ("Retry/new",)) for owner in ("a", "b")]
    assert len(problems(*owners)) == 1


def test_without_a_quoted_value_the_policy_is_named() -> None:
    refused = Objection("no good", "Listener inbound", "orders", ("Retry/other",))
    assert problems(refused) == [("other.yaml", 3, "spec: Envoy rejects Listener inbound: no good")]


def test_of_policies_that_did_not_change_none_is_blamed() -> None:
    refused = Objection(MESSAGE, "Listener inbound", "orders", ("Retry/old",))
    assert problems(refused)[0][:2] == ("new.yaml", 7)


def test_a_deletion_has_no_document_to_blame() -> None:
    with pytest.raises(InputError, match="this change leaves a configuration that does not work: cannot be"):
        check_verdict(EnvoyVerdict((Objection("cannot be translated"),)), (OLD, OTHER), (OLD,))


def test_an_empty_verdict_is_no_problem() -> None:
    check_verdict(EnvoyVerdict(unverified="not in time"), (OLD,), (OLD, NEW))
