"""Route: what lint finds in the policies in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.lint import LintReport


class LintRouter:
    """`GET /lint`."""

    def __init__(self, lint: Callable[[], Awaitable[LintReport]]) -> None:
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
        return await self._lint()
