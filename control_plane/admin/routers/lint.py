"""Route: what lint finds in the policies in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshwright.control_plane.admin.policy_editor import sources
from meshwright.control_plane.admin.protocols import RevisionLog
from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.lint import LintReport
from meshwright.control_plane.status.lint.findings import with_sources


class LintRouter:
    """`GET /lint`."""

    def __init__(self, revisions: RevisionLog, lint: Callable[[], Awaitable[LintReport]]) -> None:
        """`revisions` say where each policy was applied from."""
        self._revisions = revisions
        self._lint = lint

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/lint", "lint", "What lint finds", self.lint, LintReport, errors=(503,),
                read_only=True, computes=True,
            ),
        )  # fmt: skip

    async def lint(self, _params: NoParams, _body: NoBody) -> LintReport:
        """What the policies in force do together that nobody meant, by the calls of the last hour."""
        report, current = await self._lint(), await self._revisions.current()
        findings = with_sources(report.findings, sources(current.documents))
        return report.model_copy(update={"findings": findings})
