"""Validation of policy documents, and the spellings of their kinds that users may type.

The server validates every document itself, whatever a client says it has checked.
"""

from __future__ import annotations

import re
from collections.abc import Container, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from meshwright.control_plane.admin.compute import caller_limits, check_rules
from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.api.models.errors import ValidationProblem
from meshwright.control_plane.api.models.policies import DocumentInput
from meshwright.control_plane.core.patches import Misfit
from meshwright.control_plane.core.revision import CanonicalDocument, RevisionDocument
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.loader import different_namespace
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.policies.validation_messages import (
    distinct_errors,
    error_message,
    format_value,
)
from meshwright.control_plane.slices import in_slices

PROBLEMS_LIMIT = 100
"""Problems in one response: nobody reads more."""

NONE_DENIED: Mapping[str, str] = MappingProxyType({})
"""The mesh takes every kind."""

_SOURCE = re.compile(r"(.*):([0-9]{1,9})")


class InvalidDocumentError(Exception):
    """A document is invalid; one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


async def validate(inputs: Sequence[DocumentInput]) -> tuple[RevisionDocument, ...]:
    """Every document in canonical form.

    Raises DocumentsError with the location of each problem, and LimitExceededError if the caller may not send
    that many.
    """
    check_rules(inputs, caller_limits())
    return await in_slices(validation_steps(inputs))


def validation_steps(
    inputs: Sequence[DocumentInput],
) -> Generator[None, None, tuple[RevisionDocument, ...]]:
    """Like `validate`, without the limit; yields after each document."""
    if not inputs:
        raise InputError("no documents: pass at least one")
    problems: list[ValidationProblem] = []
    first_namespace = ""
    valid: dict[tuple[str, str], RevisionDocument] = {}
    for number, sourced in enumerate(inputs, 1):
        yield
        path, line = location(sourced.source, number)
        try:
            document = RevisionDocument(canonical(sourced.document), sourced.source)
        except InvalidDocumentError as error:
            problems += [
                ValidationProblem(path=path, line=line, message=message) for message in error.problems
            ]
            continue
        namespace = _namespace(document)
        first_namespace = first_namespace or namespace
        if namespace not in ("", first_namespace):
            message = f"metadata.namespace: {different_namespace(namespace, first_namespace)}"
            problems.append(ValidationProblem(path=path, line=line, message=message))
        if duplicate := valid.get(document.key):
            where = duplicate.source or "another document of this request"
            message = f"{'/'.join(document.key)} is also at {where}: keep one of them"
            problems.append(ValidationProblem(path=path, line=line, message=message))
        valid[document.key] = document
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))
    return tuple(valid.values())


def check_allowed(applied: Sequence[RevisionDocument], denied: Mapping[str, str]) -> None:
    """Raise DocumentsError if documents are of a kind that the mesh denies; `denied`: why, by kind."""
    problems = []
    for number, document in enumerate(applied, 1):
        if reason := denied.get(document.key[0]):
            path, line = location(document.source, number)
            problems.append(ValidationProblem(path=path, line=line, message=f"kind: {reason}"))
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))


def check_gateway_names(applied: Sequence[RevisionDocument], services: Container[str]) -> None:
    """Raise DocumentsError if a Gateway has the name of a service: the two would be indistinguishable."""
    problems = []
    for number, document in enumerate(applied, 1):
        kind, name = document.key
        if kind == "Gateway" and name in services:
            path, line = location(document.source, number)
            advice = f"give the gateway another name, or `mesh forget {name}`"
            message = f"metadata.name: {name} is a service: {advice}"
            problems.append(ValidationProblem(path=path, line=line, message=message))
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))


def check_references(applied: Sequence[RevisionDocument], misplaced: Iterable[tuple[str, str]]) -> None:
    """Raise DocumentsError if there is any of these: `Kind/name` of a document, and what is wrong."""
    numbers = {"/".join(document.key): number for number, document in enumerate(applied, 1)}
    problems = []
    for ref, message in misplaced:
        path, line = location(applied[numbers[ref] - 1].source, numbers[ref])
        problems.append(ValidationProblem(path=path, line=line, message=message))
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))


def check_resolved(applied: Sequence[RevisionDocument], unresolved: Iterable[tuple[str, str]]) -> None:
    """Like `check_references`, of what documents lack, for which there is a way round."""
    advice = "--no-strict applies it all the same"
    check_references(applied, [(ref, f"{message}; {advice}") for ref, message in unresolved])


def check_patches(applied: Sequence[RevisionDocument], misfits: Sequence[Misfit]) -> None:
    """Raise DocumentsError if patches among the documents do not fit the resources that they name."""
    problems = []
    for number, document in enumerate(applied, 1):
        for misfit in misfits:
            if misfit.ref == "/".join(document.key):
                path, line = location(document.source, number)
                message = f"{_patch_field(document, misfit)}: {misfit.kind} {misfit.name} of {misfit.owner}: "
                problems.append(ValidationProblem(path=path, line=line, message=message + misfit.reason))
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))


def _patch_field(document: RevisionDocument, misfit: Misfit) -> str:
    """The operation that cannot be applied, or the first patch of the resource."""
    fields = [
        (f"spec.patches[{number}]", f"spec.patches[{number}].operations[{step}]")
        for number, patch in enumerate(document.document["spec"]["patches"])
        for step in range(len(patch["operations"]))
        if (patch["type"], patch["name"]) == (misfit.kind, misfit.name)
    ]
    return fields[0][0] if misfit.step is None else fields[misfit.step][1]


def check_namespace(stored: Sequence[RevisionDocument], applied: Sequence[RevisionDocument]) -> None:
    """Raise DocumentsError if documents state another namespace than stored ones that stay as they are."""
    replaced = {document.key for document in applied}
    staying = {
        namespace: document
        for document in stored
        if document.key not in replaced and (namespace := _namespace(document))
    }
    problems = []
    for number, document in enumerate(applied, 1):
        namespace = _namespace(document)
        other = next((staying[name] for name in sorted(staying) if name != namespace), None)
        if namespace and other:
            path, line = location(document.source, number)
            message = f"metadata.namespace: {_other_namespace(namespace, other)}"
            problems.append(ValidationProblem(path=path, line=line, message=message))
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))


def _other_namespace(namespace: str, stored: RevisionDocument) -> str:
    """The message for a document of another namespace than one that the mesh has."""
    return (
        f"{namespace!r} differs from {_namespace(stored)!r} of {'/'.join(stored.key)}, and a mesh is one "
        f"namespace: write {_namespace(stored)}, or leave it out; to rename it, apply all documents at once"
    )


def _namespace(document: RevisionDocument) -> str:
    return str(document.document["metadata"].get("namespace", ""))


def canonical(document: Mapping[str, Any]) -> CanonicalDocument:
    """The validated document, with YAML's field names and without defaults that were not given.

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
        messages = [error_message(kind, details) for details in distinct_errors(error)]
        raise InvalidDocumentError(messages) from None


def location(source: str, number: int) -> tuple[str, int]:
    """Path and line of a document's source; `number` is its place in the request."""
    match = _SOURCE.fullmatch(source)
    return (match[1], int(match[2])) if match else (source or f"document {number}", 1)
