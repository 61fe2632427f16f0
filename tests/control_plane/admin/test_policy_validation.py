"""The server validates documents itself and returns them in the form in which they were applied."""

from __future__ import annotations

import pytest

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import (
    InvalidDocumentError,
    canonical,
    check_gateway_names,
    check_namespace,
    validate,
)
from meshwright.control_plane.api.models.policies import DocumentInput
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.policies import loader
from meshwright.control_plane.policies.registry import example, kinds


@pytest.mark.parametrize("kind", kinds())
def test_the_canonical_form_has_the_same_meaning_and_is_stable(kind: str) -> None:
    loaded = loader.load(example(kind).encode(), f"{kind}.yaml")
    for located in loaded.documents:
        document = canonical(located.raw)
        assert canonical(document) == document
        assert kinds()[located.policy.kind].model_validate(document) == located.policy


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "kind: nothing is unknown"),
        ({"kind": ["Retry"]}, "kind: a list is unknown"),
        ({"kind": "Retry"}, "missing"),
        ({"kind": "Retry", "metadata": {"name": "r"}, "spec": {"attempts": -1}}, "attempts: -1 is too low"),
    ],
)
def test_documents_that_a_client_did_not_validate_are_refused(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        canonical(document)
    assert message in str(caught.value)


def test_a_list_with_an_invalid_entry_is_not_also_reported_as_too_short() -> None:
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": "r"},
        "spec": {"targetRefs": [{"kind": "Mesh"}], "on": ["nonsense"]},
    }
    with pytest.raises(InvalidDocumentError) as caught:
        canonical(document)
    assert "nonsense" in str(caught.value)
    assert "too few" not in str(caught.value)


def test_gateway_with_the_name_of_a_service_is_refused_where_it_stands() -> None:
    def document(kind: str, name: str) -> RevisionDocument:
        return RevisionDocument({"kind": kind, "metadata": {"name": name}}, "edge.yaml:7")

    services = {"orders": None, "ingress-api": None}
    check_gateway_names([document("Gateway", "ingress"), document("Retry", "orders")], services)
    with pytest.raises(DocumentsError) as error:
        check_gateway_names([document("Gateway", "ingress"), document("Gateway", "orders")], services)
    (problem,) = error.value.problems
    assert (problem.path, problem.line) == ("edge.yaml", 7)
    assert problem.message == (
        "metadata.name: orders is a service: give the gateway another name, or `mesh forget orders`"
    )


def test_document_of_another_namespace_than_what_is_stored_is_refused() -> None:
    def retry(name: str, namespace: str = "") -> RevisionDocument:
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        return RevisionDocument({"kind": "Retry", "metadata": metadata}, f"{name}.yaml:3")

    stored = (retry("a"), retry("b", "shop"))
    check_namespace(stored, [retry("c"), retry("d", "shop")])
    check_namespace((retry("a"),), [retry("c", "test")])
    check_namespace(stored, [retry("b", "test"), retry("c", "test")])
    with pytest.raises(DocumentsError) as error:
        check_namespace(stored, [retry("c", "test"), retry("d")])
    (problem,) = error.value.problems
    assert (problem.path, problem.line) == ("c.yaml", 3)
    assert problem.message.startswith("metadata.namespace: 'test' differs from 'shop' of Retry/b")


async def test_documents_of_two_namespaces_are_refused_in_one_change() -> None:
    def retry(name: str, namespace: str) -> DocumentInput:
        document = {
            "apiVersion": "meshwright.io/v1",
            "kind": "Retry",
            "metadata": {"name": name, "namespace": namespace} if namespace else {"name": name},
            "spec": {"targetRefs": [{"kind": "Mesh"}]},
        }
        return DocumentInput(document=document, source=f"{name}.yaml:1")

    assert len(await validate([retry("a", ""), retry("b", "shop"), retry("c", "shop")])) == 3
    with pytest.raises(DocumentsError) as caught:
        await validate([retry("a", ""), retry("b", "shop"), retry("c", "test")])
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "c.yaml",
        "metadata.namespace: 'test' differs from 'shop', and a mesh is one namespace: "
        "give all documents of a change the same one, or none",
    )
