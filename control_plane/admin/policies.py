"""Routes of the policy documents: apply, delete, diff, read.

The server validates every document itself, whatever a client says it has checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from control_plane.admin import kinds, merge
from control_plane.admin.faults import DocumentsError
from control_plane.admin.mesh import InvalidDocumentError, Mesh, Revision, Stored
from control_plane.admin.routes import NoParams, PathAndQuery, Route
from control_plane.api.messages import (
    AppliedReply,
    ApplyRequest,
    DeleteRequest,
    DiffReply,
    DiffRequest,
    Documents,
    Edit,
    Problem,
    SourcedDocument,
)
from control_plane.errors import InputError, NotFoundError, RevisionConflict

PROBLEMS_LIMIT = 100
"""Problems told at once: nobody reads more."""

_SOURCE = re.compile(r"(.*):([0-9]{1,9})")


class KindParams(PathAndQuery):
    kind: str


class NameParams(KindParams):
    name: str


async def apply(mesh: Mesh, _params: NoParams, body: ApplyRequest) -> AppliedReply:
    """Create or change documents, all or none."""
    given = validated(body.documents)
    current = await mesh.revisions.current()
    return await commit(mesh, current, body, merge.merge(current.documents, given), given)


async def delete(mesh: Mesh, _params: NoParams, body: DeleteRequest) -> AppliedReply:
    """Delete documents, all or none."""
    keys = [(kinds.kind_of(ref.kind), ref.name) for ref in body.refs]
    current = await mesh.revisions.current()
    return await commit(mesh, current, body, merge.remove(current.documents, keys))


async def diff(mesh: Mesh, _params: NoParams, body: DiffRequest) -> DiffReply:
    """What an apply would change, in documents and in Envoy's resources."""
    given = validated(body.documents)
    current = await mesh.revisions.current()
    after = merge.merge(current.documents, given)
    return DiffReply(
        revision=current.info.revision,
        changed=merge.changes(current.documents, after, [stored.key for stored in given]),
        documents=await mesh.aside(lambda: merge.unified(current.documents, after)),
        resources=await mesh.aside(lambda: mesh.resources_diff(plain(current.documents), plain(after))),
    )


async def every(mesh: Mesh, _params: NoParams, _body: object) -> Documents:
    """All current documents."""
    return _documents(await mesh.revisions.current())


async def of_kind(mesh: Mesh, params: KindParams, _body: object) -> Documents:
    """The current documents of one kind; its name in any case, singular or plural."""
    return _documents(await mesh.revisions.current(), kinds.kind_of(params.kind))


async def one(mesh: Mesh, params: NameParams, _body: object) -> Documents:
    """One current document."""
    kind = kinds.kind_of(params.kind)
    found = _documents(await mesh.revisions.current(), kind, params.name)
    if not found.documents:
        raise NotFoundError(f"no such document: {kind}/{params.name}: see `mesh get {kind}`")
    return found


async def commit(
    mesh: Mesh, current: Revision, edit: Edit, after: Sequence[Stored], given: Sequence[Stored] = ()
) -> AppliedReply:
    """Make `after` the next revision unless it is a dry run or nothing differs."""
    number = current.info.revision
    if edit.base is not None and edit.base != number:
        raise RevisionConflict(edit.base, number)
    changed = merge.changes(current.documents, after, [stored.key for stored in given])
    if not edit.dry_run and any(change.action != "unchanged" for change in changed):
        info = await mesh.revisions.commit(number, after, author=edit.author, why=edit.why)
        number = info.revision
    told = AppliedReply(revision=number, changed=changed, warnings=tuple(mesh.warnings(plain(given))))
    return await _foretold(mesh, told, current.documents, after) if edit.dry_run else told


async def _foretold(
    mesh: Mesh, told: AppliedReply, before: Sequence[Stored], after: Sequence[Stored]
) -> AppliedReply:
    """The answer with what the change would do."""
    documents = await mesh.aside(lambda: merge.unified(before, after))
    reaches = await mesh.reaches(plain(before), plain(after))
    return told.model_copy(update={"documents": documents, "reaches": reaches})


def validated(documents: Sequence[SourcedDocument]) -> tuple[Stored, ...]:
    """Every document in canonical form; raises DocumentsError naming the source of each problem."""
    if not documents:
        raise InputError("no documents: give at least one")
    problems: list[Problem] = []
    stored: dict[tuple[str, str], Stored] = {}
    for number, sourced in enumerate(documents, 1):
        path, line = _place(sourced.source, number)
        try:
            document = Stored(kinds.canonical(sourced.document), sourced.source)
        except InvalidDocumentError as error:
            problems += [Problem(path=path, line=line, message=message) for message in error.problems]
            continue
        if twin := stored.get(document.key):
            where = twin.source or "another document of this request"
            words = f"{'/'.join(document.key)} is also at {where}: keep one of them"
            problems.append(Problem(path=path, line=line, message=words))
        stored[document.key] = document
    if problems:
        raise DocumentsError(tuple(problems[:PROBLEMS_LIMIT]))
    return tuple(stored.values())


def plain(documents: Sequence[Stored]) -> list[dict[str, object]]:
    """The documents without their sources."""
    return [dict(stored.document) for stored in documents]


def _place(source: str, number: int) -> tuple[str, int]:
    found = _SOURCE.fullmatch(source)
    return (found[1], int(found[2])) if found else (source or f"document {number}", 1)


def _documents(revision: Revision, kind: str = "", name: str = "") -> Documents:
    chosen = [
        stored for stored in revision.documents if kind in {"", stored.key[0]} and name in {"", stored.key[1]}
    ]
    return Documents(revision=revision.info.revision, documents=tuple(plain(chosen)))


ROUTES = (
    Route(
        "POST", "/apply", "apply", "Create or change documents, all or none", apply, AppliedReply,
        body=ApplyRequest, errors=(404, 409, 422, 503),
    ),
    Route(
        "POST", "/delete", "delete", "Delete documents, all or none", delete, AppliedReply,
        body=DeleteRequest, errors=(404, 409, 503),
    ),
    Route(
        "POST", "/diff", "diff", "What an apply would change", diff, DiffReply,
        body=DiffRequest, errors=(404, 422, 503), shows=True,
    ),
    Route(
        "GET", "/policies", "policies", "All current documents", every, Documents, errors=(503,), shows=True,
    ),
    Route(
        "GET", "/policies/{kind}", "policiesOfKind", "The current documents of a kind", of_kind, Documents,
        params=KindParams, errors=(404, 503), shows=True,
    ),
    Route(
        "GET", "/policies/{kind}/{name}", "policy", "One current document", one, Documents,
        params=NameParams, errors=(404, 503), shows=True,
    ),
)  # fmt: skip
