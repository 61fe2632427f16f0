"""Envoy's verdict on a change, as problems of the documents that are to blame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import PROBLEMS_LIMIT, location
from meshwright.control_plane.api.models.errors import ValidationProblem
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Objection

MIN_QUOTED = 3
"""Characters of a value that counts as quoted by Envoy's message: shorter ones are there by chance."""


def check_verdict(
    verdict: EnvoyVerdict, before: Sequence[RevisionDocument], after: Sequence[RevisionDocument]
) -> None:
    """Raise DocumentsError if Envoy rejects what the documents make.

    Each objection is reported once, at a changed document that shaped the resource. Raises InputError where
    there is none, as after a deletion.
    """
    present = {document.key: document.document for document in before}
    changed = [document for document in after if present.get(document.key) != document.document]
    problems = list(dict.fromkeys(_problem(objection, changed) for objection in verdict.objections))
    if problems and not changed:
        raise InputError(problems[0][2])
    if problems:
        raise DocumentsError(
            tuple(
                ValidationProblem(path=path, line=line, message=message)
                for path, line, message in problems[:PROBLEMS_LIMIT]
            )
        )


def _problem(objection: Objection, changed: Sequence[RevisionDocument]) -> tuple[str, int, str]:
    """Path, line and message."""
    subject = f"Envoy rejects {objection.resource}: " if objection.resource else ""
    text = f"{subject}{objection.message}"
    blamed = [each for each in changed if "/".join(each.key) in objection.policies] or changed
    if not blamed:
        return "", 1, f"this change leaves a configuration that does not work: {text}"
    document = max(blamed, key=lambda each: len(_quoted(each, objection.message)[1]))
    path, line = location(document.source, list(changed).index(document) + 1)
    return path, line, f"{_quoted(document, objection.message)[0]}: {text}"


def _quoted(document: RevisionDocument, message: str) -> tuple[str, str]:
    """The field whose value Envoy's message quotes, and that value; `spec` without one."""
    quoted = [
        (field, value)
        for field, value in _leaves(document.document["spec"], "spec")
        if len(value) >= MIN_QUOTED and value in message
    ]
    return max(quoted, key=lambda each: len(each[1]), default=("spec", ""))


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text in a document's part, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _leaves(member, f"{path}[{number}]")
