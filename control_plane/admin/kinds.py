"""The policy kinds as the admin API uses them: validation, canonical form, and users' words for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from control_plane.admin.mesh import CanonicalDocument, InvalidDocumentError
from control_plane.errors import NotFoundError
from control_plane.policies.registry import kinds
from control_plane.policies.schema import dump
from control_plane.policies.wording import closest, details, say, shown


def canonical(document: Mapping[str, Any]) -> CanonicalDocument:
    """The document validated, with its fields as YAML writes them and without defaults that were left out.

    Raises InvalidDocumentError.
    """
    name = document.get("kind")
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidDocumentError([f"kind: {shown(name)} is unknown: use one of {', '.join(kinds())}"])
    try:
        return dump(kind.model_validate(dict(document)))
    except ValidationError as error:
        raise InvalidDocumentError([say(kind, one) for one in details(error)]) from None


def kind_of(word: str) -> str:
    """The kind that a word means, in any case, singular or plural; raises NotFoundError."""
    known = {form: kind for kind in kinds() for form in _forms(kind.lower())}
    if found := known.get(word.lower()):
        return found
    near = closest(word, kinds())
    advice = f"did you mean {near}?" if near else f"known are {', '.join(kinds())}"
    raise NotFoundError(f"no such kind: {shown(word)}: {advice}")


def _forms(kind: str) -> tuple[str, ...]:
    """Singular and plural of a kind's name in lower case."""
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es"
    return kind, f"{kind}s", plural
