"""Documents are validated on the server and come out in the form in which they went in."""

from __future__ import annotations

import pytest

from meshwright.control_plane.admin.context import InvalidDocumentError
from meshwright.control_plane.admin.policy_validation import canonical, kind_of
from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies import loader
from meshwright.control_plane.policies.registry import example, kinds


@pytest.mark.parametrize("kind", kinds())
def test_canonical_form_means_the_same_and_stays(kind: str) -> None:
    loaded = loader.load(example(kind).encode(), f"{kind}.yaml")
    for located in loaded.documents:
        written = canonical(located.raw)
        assert canonical(written) == written
        assert kinds()[located.policy.kind].model_validate(written) == located.policy


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_its_plural(kind: str) -> None:
    plurals = {"Retry": "retries", "Timeout": "timeouts", "HTTPRoute": "httproutes", "Subset": "Subsets"}
    for word in (kind, kind.lower(), kind.upper(), plurals.get(kind, kind + "s")):
        assert kind_of(word) == kind


def test_a_wrong_kind_is_told_with_what_is_near() -> None:
    with pytest.raises(NotFoundError, match="did you mean Retry"):
        kind_of("rety")
    with pytest.raises(NotFoundError, match="known are CircuitBreaker, "):
        kind_of("../../etc/passwd")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "kind: nothing is unknown"),
        ({"kind": ["Retry"]}, "kind: a list is unknown"),
        ({"kind": "Retry"}, "missing"),
        ({"kind": "Retry", "metadata": {"name": "r"}, "spec": {"attempts": -1}}, "attempts: -1 is too low"),
    ],
)
def test_what_a_client_did_not_check_is_refused(document: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        canonical(document)
    assert words in str(caught.value)


def test_a_list_with_a_wrong_entry_is_not_called_too_short_as_well() -> None:
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
