"""Routes of the policy documents: apply, delete, diff, read.

The server validates every document itself, whatever a client says it has checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshwright.control_plane.admin import policy_merge, policy_validation
from meshwright.control_plane.admin.context import AdminContext, InvalidDocumentError
from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.api.models.errors import ValidationProblem
from meshwright.control_plane.api.models.policies import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    DocumentInput,
    DocumentList,
    EditRequest,
)
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import InputError, NotFoundError, RevisionConflictError

PROBLEMS_LIMIT = 100
"""Problems told at once: nobody reads more."""

_SOURCE = re.compile(r"(.*):([0-9]{1,9})")


class KindParams(RequestParams):
    kind: str


class NameParams(KindParams):
    name: str


async def apply(mesh: AdminContext, _params: NoParams, body: ApplyRequest) -> ApplyResponse:
    """Create or change documents, all or none."""
    given = validated(body.documents)
    current = await mesh.revisions.current()
    return await commit(mesh, current, body, policy_merge.merge(current.documents, given), given)


async def delete(mesh: AdminContext, _params: NoParams, body: DeleteRequest) -> ApplyResponse:
    """Delete documents, all or none."""
    keys = [(policy_validation.kind_of(ref.kind), ref.name) for ref in body.refs]
    current = await mesh.revisions.current()
    return await commit(mesh, current, body, policy_merge.remove(current.documents, keys))


async def diff(mesh: AdminContext, _params: NoParams, body: DiffRequest) -> DiffResponse:
    """What an apply would change, in documents and in Envoy's resources."""
    given = validated(body.documents)
    current = await mesh.revisions.current()
    after = policy_merge.merge(current.documents, given)
    return DiffResponse(
        revision=current.info.revision,
        changed=policy_merge.changes(current.documents, after, [stored.key for stored in given]),
        document_diff=await mesh.run_in_thread(lambda: policy_merge.document_diff(current.documents, after)),
        resource_diff=await mesh.run_in_thread(
            lambda: mesh.resources_diff(plain(current.documents), plain(after))
        ),
    )


async def every(mesh: AdminContext, _params: NoParams, _body: object) -> DocumentList:
    """All current documents."""
    return _documents(await mesh.revisions.current())


async def of_kind(mesh: AdminContext, params: KindParams, _body: object) -> DocumentList:
    """The current documents of one kind; its name in any case, singular or plural."""
    return _documents(await mesh.revisions.current(), policy_validation.kind_of(params.kind))


async def one(mesh: AdminContext, params: NameParams, _body: object) -> DocumentList:
    """One current document."""
    kind = policy_validation.kind_of(params.kind)
    found = _documents(await mesh.revisions.current(), kind, params.name)
    if not found.documents:
        raise NotFoundError(f"no such document: {kind}/{params.name}: see `mesh get {kind}`")
    return found


async def commit(
    mesh: AdminContext,
    current: PolicyRevision,
    edit: EditRequest,
    after: Sequence[RevisionDocument],
    given: Sequence[RevisionDocument] = (),
) -> ApplyResponse:
    """Make `after` the next revision unless it is a dry run or nothing differs."""
    number = current.info.revision
    if edit.base is not None and edit.base != number:
        raise RevisionConflictError(edit.base, number)
    changed = policy_merge.changes(current.documents, after, [stored.key for stored in given])
    if not edit.dry_run and any(change.action != "unchanged" for change in changed):
        info = await mesh.revisions.commit(number, after, author=edit.author, why=edit.message)
        number = info.revision
    told = ApplyResponse(revision=number, changed=changed, warnings=tuple(mesh.warnings(plain(given))))
    return await _foretold(mesh, told, current.documents, after) if edit.dry_run else told


async def _foretold(
    mesh: AdminContext,
    told: ApplyResponse,
    before: Sequence[RevisionDocument],
    after: Sequence[RevisionDocument],
) -> ApplyResponse:
    """The answer with what the change would do."""
    documents = await mesh.run_in_thread(lambda: policy_merge.document_diff(before, after))
    reaches = await mesh.affected_proxies(plain(before), plain(after))
    return told.model_copy(update={"document_diff": documents, "affected_proxies": reaches})


def validated(documents: Sequence[DocumentInput]) -> tuple[RevisionDocument, ...]:
    """Every document in canonical form; raises DocumentsError naming the source of each problem."""
    if not documents:
        raise InputError("no documents: give at least one")
    problems: list[ValidationProblem] = []
    stored: dict[tuple[str, str], RevisionDocument] = {}
    for number, sourced in enumerate(documents, 1):
        path, line = _place(sourced.source, number)
        try:
            document = RevisionDocument(policy_validation.canonical(sourced.document), sourced.source)
        except InvalidDocumentError as error:
            problems += [
                ValidationProblem(path=path, line=line, message=message) for message in error.problems
            ]
            continue
        if twin := stored.get(document.key):
            where = twin.source or "another document of this request"
            words = f"{'/'.join(document.key)} is also at {where}: keep one of them"
            problems.append(ValidationProblem(path=path, line=line, message=words))
        stored[document.key] = document
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))
    return tuple(stored.values())


def plain(documents: Sequence[RevisionDocument]) -> list[dict[str, object]]:
    """The documents without their sources."""
    return [dict(stored.document) for stored in documents]


def _place(source: str, number: int) -> tuple[str, int]:
    found = _SOURCE.fullmatch(source)
    return (found[1], int(found[2])) if found else (source or f"document {number}", 1)


def _documents(revision: PolicyRevision, kind: str = "", name: str = "") -> DocumentList:
    chosen = [
        stored for stored in revision.documents if kind in {"", stored.key[0]} and name in {"", stored.key[1]}
    ]
    return DocumentList(revision=revision.info.revision, documents=tuple(plain(chosen)))


ROUTES = (
    Route(
        "POST", "/apply", "apply", "Create or change documents, all or none", apply, ApplyResponse,
        body=ApplyRequest, errors=(404, 409, 422, 503),
    ),
    Route(
        "POST", "/delete", "delete", "Delete documents, all or none", delete, ApplyResponse,
        body=DeleteRequest, errors=(404, 409, 503),
    ),
    Route(
        "POST", "/diff", "diff", "What an apply would change", diff, DiffResponse,
        body=DiffRequest, errors=(404, 422, 503), read_only=True,
    ),
    Route(
        "GET", "/policies", "policies", "All current documents", every, DocumentList, errors=(503,), read_only=True,
    ),
    Route(
        "GET", "/policies/{kind}", "policiesOfKind", "The current documents of a kind", of_kind, DocumentList,
        params=KindParams, errors=(404, 503), read_only=True,
    ),
    Route(
        "GET", "/policies/{kind}/{name}", "policy", "One current document", one, DocumentList,
        params=NameParams, errors=(404, 503), read_only=True,
    ),
)  # fmt: skip
