"""Moves a rollout by a revision: only the annotations of its document change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from meshwright.control_plane.admin.policy_editor import PolicyEditor
from meshwright.control_plane.admin.policy_merge import merge
from meshwright.control_plane.admin.policy_validation import canonical
from meshwright.control_plane.admin.protocols import EditPreview, RevisionLog, Verify
from meshwright.control_plane.api.models.policies import ApplyResponse, EditRequest
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies.rollout.progress import RolloutProgress, at, progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.policies.validation_messages import suggestion

AUTHOR = "rollout"
"""The author of moves that no person made."""

Decide = Callable[[Rollout], RolloutProgress | None]


class RolloutEditor:
    """Commits where rollouts stand."""

    def __init__(self, revisions: RevisionLog, preview: EditPreview, verify: Verify) -> None:
        self._editor = PolicyEditor(revisions, preview, verify)

    async def move(self, name: str, last: RolloutProgress, moved: RolloutProgress) -> None:
        """Move a rollout from `last` on; nothing happens if it stands elsewhere by now, or is gone."""

        def decide(rollout: Rollout) -> RolloutProgress | None:
            return moved if progress_of(rollout) == last else None

        edit = EditRequest(author=AUTHOR, message=f"rollout {name}: {moved.reason}"[:1000])
        try:
            await self.update(name, edit, decide)
        except NotFoundError:
            return

    async def update(self, name: str, edit: EditRequest, decide: Decide) -> ApplyResponse:
        """Move a rollout to where `decide` says; None: it stays. Raises NotFoundError."""

        def change(before: Sequence[RevisionDocument]) -> Sequence[RevisionDocument]:
            stored = _find(before, name)
            progress = decide(Rollout.model_validate(dict(stored.document)))
            if progress is None:
                return before
            document = canonical(at(stored.document, progress))
            return merge(before, [replace(stored, document=document)])

        return await self._editor.commit_to_newest(edit, change)


def _find(documents: Sequence[RevisionDocument], name: str) -> RevisionDocument:
    rollouts = {document.key[1]: document for document in documents if document.key[0] == Rollout.__name__}
    if name not in rollouts:
        advice = suggestion(name, sorted(rollouts), "see `mesh rollout list`")
        raise NotFoundError(f"no such Rollout: {name}: {advice}")
    return rollouts[name]
