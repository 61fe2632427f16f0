"""Words for kinds: any case, singular and plural, and advice for a word that stands for none."""

from __future__ import annotations

import pytest

from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies.kind_names import kind_of
from meshwright.control_plane.policies.registry import kind_names, kinds


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_a_plural(kind: str) -> None:
    plurals = {"Retry": "retries", "Timeout": "timeouts", "HTTPRoute": "httproutes", "Subset": "Subsets"}
    for word in (kind, kind.lower(), kind.upper(), plurals.get(kind, kind + "s")):
        assert kind_of(word) == kind


def test_an_unknown_kind_is_reported_with_the_closest_match() -> None:
    with pytest.raises(NotFoundError, match="did you mean Retry"):
        kind_of("rety")
    with pytest.raises(NotFoundError, match=r"known are [A-Z]"):
        kind_of("../../etc/passwd")


def test_names_of_kinds_are_read_without_loading_them() -> None:
    assert kind_names() == tuple(kinds())
