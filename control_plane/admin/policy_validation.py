"""The policy kinds as the admin API uses them: validation, canonical form, and users' words for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from meshwright.control_plane.admin.context import InvalidDocumentError
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.policies.validation_messages import (
    closest_match,
    distinct_errors,
    error_message,
    format_value,
)


def canonical(document: Mapping[str, Any]) -> CanonicalDocument:
    """The document validated, with its fields as YAML writes them and without defaults that were left out.

    Raises InvalidDocumentError.
    """
    name = document.get("kind")
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidDocumentError(
            [f"kind: {format_value(name)} is unknown: use one of {', '.join(kinds())}"]
        )
    try:
        return dump(kind.model_validate(dict(document)))
    except ValidationError as error:
        raise InvalidDocumentError([error_message(kind, one) for one in distinct_errors(error)]) from None


def kind_of(word: str) -> str:
    """The kind that a word means, in any case, singular or plural; raises NotFoundError."""
    known = {form: kind for kind in kinds() for form in _forms(kind.lower())}
    if found := known.get(word.lower()):
        return found
    near = closest_match(word, kinds())
    advice = f"did you mean {near}?" if near else f"known are {', '.join(kinds())}"
    raise NotFoundError(f"no such kind: {format_value(word)}: {advice}")


def _forms(kind: str) -> tuple[str, ...]:
    """Singular and plural of a kind's name in lower case."""
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es"
    return kind, f"{kind}s", plural
