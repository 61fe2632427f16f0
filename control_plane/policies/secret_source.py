"""Secrets of a policy: text in the document or in a file beside it, shown to nobody who reads the document.

`mesh apply` reads the file and sends its content, which the store keeps with the revision: proxies need it.
The admin API, diffs and explanations show REDACTED in its place. A document that is applied with REDACTED
keeps the secret that the mesh has, so what was read can be applied again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.named_file import FILE_DESCRIPTION, read_named_file
from meshwright.control_plane.policies.registry import kinds

REDACTED = "<redacted>"
CHANGED = "<redacted, changed>"
"""What a diff shows for a secret that differs from that before."""

MAX_SECRET_BYTES = 64 * 1024


class SecretSource(Spec):
    """Set one of inline and file. A subclass checks the content.

    REDACTED is valid in a document of a file, whose secret the control plane knows (`with_stored_secrets`).
    """

    max_bytes: ClassVar[int] = MAX_SECRET_BYTES

    inline: str = Field("", max_length=MAX_SECRET_BYTES, description="The content itself.")
    file: str = Field("", max_length=1024, description=FILE_DESCRIPTION)

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, value: Any, info: ValidationInfo) -> Any:
        return read_named_file(value, info, cls.max_bytes)

    @model_validator(mode="after")
    def _valid(self, info: ValidationInfo) -> Self:
        if self.file:
            raise ValueError("file: only `mesh apply` reads files: put the content into inline")
        if not self.inline:
            raise ValueError("set one of inline and file")
        if self.inline == REDACTED and (info.context or {}).get("may_be_redacted"):
            return self
        if self.inline.strip() in (REDACTED, CHANGED):
            raise ValueError(
                "the secret is redacted, and the mesh has none for it: give it again, by inline or file"
            )
        self.check_content()
        return self

    def check_content(self) -> None:
        """Raise ValueError unless the content is what the kind reads."""

    def lines(self) -> list[str]:
        """The lines that are neither empty nor comments (#)."""
        lines = (line.strip() for line in self.inline.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def redacted(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it may be shown, without its secrets."""
    return _replaced(document, _secret_fields(document), REDACTED)


def redacted_change(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two sets of documents as a diff may show them: a secret that differs differs there as well."""
    old = {_key(document): document for document in before}
    shown = []
    for document in after:
        fields = _secret_fields(document)
        previous = old.get(_key(document))
        differs = previous is not None and _secrets(previous, fields) != _secrets(document, fields)
        shown.append(_replaced(document, fields, CHANGED if differs else REDACTED))
    return [redacted(document) for document in old.values()], shown


def with_stored_secrets(
    document: Mapping[str, Any], stored: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """An unvalidated document in which each REDACTED is the secret of the stored one of its kind and name.

    `stored`: by kind and name. The document itself if there is nothing to replace.
    """
    kind, metadata, spec = (document.get(member) for member in ("kind", "metadata", "spec"))
    if not (isinstance(kind, str) and isinstance(metadata, Mapping) and isinstance(spec, Mapping)):
        return document
    previous = stored.get((kind, str(metadata.get("name"))))
    if previous is None:
        return document
    restored = {
        field: previous["spec"][field]
        for field in _secret_fields(document)
        if spec.get(field) == {"inline": REDACTED} and field in previous["spec"]
    }
    return {**document, "spec": {**spec, **restored}} if restored else document


def _secret_fields(document: Mapping[str, Any]) -> tuple[str, ...]:
    kind = kinds().get(str(document.get("kind", "")))
    return kind.secret_fields if kind else ()


def _secrets(document: Mapping[str, Any], fields: tuple[str, ...]) -> list[Any]:
    spec = document.get("spec", {})
    return [spec.get(field, {}).get("inline") for field in fields]


def _replaced(document: Mapping[str, Any], fields: tuple[str, ...], text: str) -> dict[str, Any]:
    if not fields:
        return dict(document)
    spec = dict(document.get("spec", {}))
    for field in fields:
        if isinstance(spec.get(field), Mapping):
            spec[field] = {**spec[field], "inline": text}
    return {**document, "spec": spec}


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    return str(document.get("kind")), str(document.get("metadata", {}).get("name"))
