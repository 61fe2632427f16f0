"""Routes of policy documents: apply, delete, diff, read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from meshwright.control_plane.admin import policy_merge
from meshwright.control_plane.admin.policy_editor import PolicyEditor, plain, shown, sources
from meshwright.control_plane.admin.policy_validation import (
    NONE_DENIED,
    check_allowed,
    check_gateway_names,
    check_namespace,
    check_patches,
    check_references,
    check_resolved,
    validate,
)
from meshwright.control_plane.admin.protocols import EditPreview, RevisionLog, Verify, unverified
from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.api.models.policies import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    DocumentInput,
    DocumentList,
)
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.models.topology import Topology
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.kind_names import kind_of
from meshwright.control_plane.policies.rollout.progress import with_stored_progress
from meshwright.control_plane.policies.secret_source import with_stored_secrets
from meshwright.control_plane.policies.validation_messages import suggestion
from meshwright.control_plane.status.change_impact import change_impact
from meshwright.control_plane.status.field_changes import planned_change
from meshwright.control_plane.status.lint.findings import with_sources

PATCHES = "EnvoyPatch"
"""The kind whose documents depend on what the others make."""


class KindParams(RequestParams):
    kind: str


class NameParams(KindParams):
    name: str


class PoliciesRouter:
    """`/apply`, `/delete`, `/diff`, `/policies`."""

    def __init__(
        self,
        revisions: RevisionLog,
        preview: EditPreview,
        denied_kinds: Mapping[str, str] = NONE_DENIED,
        verify: Verify = unverified,
        *,
        topology: Callable[[], Topology] = Topology,
        reports: Callable[[], Iterable[ProxyReport]] = tuple,
    ) -> None:
        """`denied_kinds`: why the mesh takes no document of a kind."""
        self._topology = topology
        self._reports = reports
        self._denied_kinds = denied_kinds
        self._revisions = revisions
        self._preview = preview
        self._editor = PolicyEditor(revisions, preview, verify)

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "POST", "/apply", "apply", "Create or change documents", self.apply, ApplyResponse,
                body=ApplyRequest, errors=(404, 409, 422, 503), computes=True,
            ),
            Route(
                "POST", "/delete", "delete", "Delete documents", self.delete, ApplyResponse,
                body=DeleteRequest, errors=(404, 409, 503), computes=True,
            ),
            Route(
                "POST", "/diff", "diff", "What an apply would change", self.diff, DiffResponse,
                body=DiffRequest, errors=(404, 422, 503), read_only=True, computes=True,
            ),
            Route(
                "GET", "/policies", "policies", "All current documents", self.policies, DocumentList,
                errors=(503,), read_only=True,
            ),
            Route(
                "GET", "/policies/{kind}", "policies_of_kind", "The current documents of a kind",
                self.policies_of_kind, DocumentList, params=KindParams, errors=(404, 503), read_only=True,
            ),
            Route(
                "GET", "/policies/{kind}/{name}", "policy", "One current document", self.policy, DocumentList,
                params=NameParams, errors=(404, 503), read_only=True,
            ),
        )  # fmt: skip

    async def apply(self, _params: NoParams, body: ApplyRequest) -> ApplyResponse:
        """Create or change documents, all or none.

        With `strict`, none if one would not be Accepted, or one of its references would not resolve.
        One that keeps a secret or the progress of the newest revision is based on that: another change must
        not lose to it.
        """
        if body.prune_all and body.base is None:
            raise InputError("pruneAll: needs base, the revision whose documents these replace")
        current = await self._revisions.current()
        inputs = _as_meant(body.documents, current)
        if inputs != body.documents and body.base is None:
            body = body.model_copy(update={"base": current.info.revision})
        applied = await validate(inputs)
        check_allowed(applied, self._denied_kinds)
        check_gateway_names(applied, self._preview.service_names())
        check_references(applied, self._preview.misplaced_urls(plain(applied)))

        def after(before: Sequence[RevisionDocument]) -> tuple[RevisionDocument, ...]:
            return _merged(before, applied, {} if body.prune_all else body.prune or None)

        documents = after(current.documents)
        if body.strict:
            keys = {document.key for document in applied}
            others = [document for document in documents if document.key not in keys]
            number = current.info.revision
            check_resolved(applied, self._preview.unresolved(plain(applied), plain(others), number))
        missing = await self._check_patches(applied, documents)
        response = await self._editor.commit_to_newest(body, after, applied)
        return response.model_copy(update={"warnings": (*response.warnings, *missing)})

    async def delete(self, _params: NoParams, body: DeleteRequest) -> ApplyResponse:
        """Delete documents, all or none."""
        keys = [(kind_of(ref.kind), ref.name) for ref in body.refs]
        return await self._editor.commit_to_newest(body, lambda before: policy_merge.remove(before, keys))

    async def diff(self, _params: NoParams, body: DiffRequest) -> DiffResponse:
        """What an apply would change: proxies and their traffic, documents, Envoy's resources."""
        current = await self._revisions.current()
        applied = await validate(_as_meant(body.documents, current))
        check_allowed(applied, self._denied_kinds)
        check_gateway_names(applied, self._preview.service_names())
        check_references(applied, self._preview.misplaced_urls(plain(applied)))
        before = current.documents
        after = _merged(before, applied)
        await self._check_patches(applied, after)
        missed = await self._editor.verify(before, after) if body.verify else ()
        plan, affected = await self._preview.plan(plain(before), plain(after))
        changes = policy_merge.changes(before, after, [document.key for document in applied])
        return DiffResponse(
            revision=current.info.revision,
            impact=change_impact(affected, self._topology(), self._reports()),
            changed=tuple(
                planned_change(change, plan.fields.get((change.kind, change.name), ())) for change in changes
            ),
            document_diff=plan.document_diff,
            resource_diff=plan.resource_diff,
            warnings=missed,
            findings=with_sources(plan.findings, sources(after)),
        )

    async def _check_patches(
        self, applied: Sequence[RevisionDocument], after: Sequence[RevisionDocument]
    ) -> tuple[str, ...]:
        """Raise DocumentsError if patches that are applied do not fit; they are tried in a process.

        Returns a line for each of a resource that does not exist: its service may be yet to come.
        """
        refs = {"/".join(document.key) for document in applied if document.key[0] == PATCHES}
        misfits = await self._preview.misfits(plain(after)) if refs else ()
        check_patches(applied, [misfit for misfit in misfits if not misfit.is_missing])
        return tuple(str(misfit) for misfit in misfits if misfit.is_missing and misfit.ref in refs)

    async def policies(self, _params: NoParams, _body: NoBody) -> DocumentList:
        """All current documents."""
        return _documents(await self._revisions.current())

    async def policies_of_kind(self, params: KindParams, _body: NoBody) -> DocumentList:
        """The current documents of one kind; its name in any case, singular or plural."""
        return _documents(await self._revisions.current(), kind_of(params.kind))

    async def policy(self, params: NameParams, _body: NoBody) -> DocumentList:
        """One current document."""
        kind = kind_of(params.kind)
        current = await self._revisions.current()
        documents = _documents(current, kind, params.name)
        if not documents.documents:
            names = sorted(document.key[1] for document in current.documents if document.key[0] == kind)
            advice = suggestion(params.name, names, f"see `mesh get {kind}`")
            raise NotFoundError(f"no such document: {kind}/{params.name}: {advice}")
        return documents


def _as_meant(inputs: Sequence[DocumentInput], current: PolicyRevision) -> tuple[DocumentInput, ...]:
    """The documents as they are meant, by what the mesh has of the same kind and name.

    A redacted secret is the stored one, and a Rollout stands where it stood.
    """
    stored = {document.key: document.document for document in current.documents}
    return tuple(
        sourced.model_copy(
            update={
                "document": dict(with_stored_progress(with_stored_secrets(sourced.document, stored), stored))
            }
        )
        for sourced in inputs
    )


def _merged(
    before: Sequence[RevisionDocument],
    applied: Sequence[RevisionDocument],
    pruned: Mapping[str, str] | None = None,
) -> tuple[RevisionDocument, ...]:
    """The documents after an apply; others that have all labels `pruned` are gone, unless it is None.

    Raises DocumentsError if these are not of one namespace.
    """
    check_namespace(before, applied)
    return policy_merge.merge(policy_merge.prune(before, pruned, applied), applied)


def _documents(revision: PolicyRevision, kind: str = "", name: str = "") -> DocumentList:
    selected = [
        document
        for document in revision.documents
        if kind in {"", document.key[0]} and name in {"", document.key[1]}
    ]
    return DocumentList(revision=revision.info.revision, documents=tuple(shown(selected)))
