"""A sheet: the fields of a form, what they hold now, and the policies that its texts make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.yaml.diff import document_key
from meshwright.tui.features.change.spec_field import SpecField

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """What to apply: documents to write, or those to delete. `summary`: the effect in a few words."""

    documents: tuple[Document, ...] = ()
    deletes: tuple[DocumentRef, ...] = ()
    summary: str = ""

    @property
    def refs(self) -> tuple[DocumentRef, ...]:
        """The policies that it concerns."""
        return (*(DocumentRef(*document_key(document)) for document in self.documents), *self.deletes)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A form. `build` makes the edit of its texts, and raises InputError for one that it cannot read.

    `place` names the policy that it writes, `texts` are what that holds now, by the fields' keys. `notes` say
    what to know first.
    """

    title: str
    place: str
    fields: tuple[SpecField, ...]
    texts: Mapping[str, str]
    build: Callable[[Mapping[str, str]], Edit]
    notes: tuple[str, ...] = ()


def find(documents: Iterable[Document], kind: str, name: str) -> Document | None:
    """The document of a kind and name."""
    return next((document for document in documents if document_key(document) == (kind, name)), None)


def free_name(documents: Iterable[Document], kind: str, name: str) -> str:
    """The name, or with a number if another document of the kind has it."""
    taken = {document_key(document)[1] for document in documents if document_key(document)[0] == kind}
    names = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in names if each not in taken)
