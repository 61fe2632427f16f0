"""Routes: what the proxies of the mesh would do with a request, and what those of its service say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meshwright.control_plane.admin.protocols import RevisionLog
from meshwright.control_plane.admin.route import NoParams, Route
from meshwright.control_plane.admin.routers.authorization import MAX_REVISIONS
from meshwright.control_plane.admin.sidecar_probe import SidecarProbe
from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedProbe
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.status.explained_probe import expected, question

ExplainCall = Callable[[AccessQuery, Sequence[RevisionInfo], Mapping[str, str]], CallExplanation]
"""Explains a call, by all revisions (newest first) and the sources of documents by `Kind/name`."""


class CallExplanationRouter:
    """`/explain`."""

    def __init__(self, revisions: RevisionLog, explain: ExplainCall, probe: SidecarProbe) -> None:
        self._revisions = revisions
        self._explain = explain
        self._probe = probe

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "POST", "/explain", "explain_call", "What becomes of a request, before it is sent",
                self.explain, CallExplanation, body=AccessQuery, errors=(400, 404, 503), read_only=True,
            ),
            Route(
                "POST", "/explain/probe", "probe_explained", "Ask the called sidecars whether it is so",
                self.probe, ExplainedProbe, body=AccessQuery, errors=(400, 404, 503, 504),
            ),
        )  # fmt: skip

    async def explain(self, _params: NoParams, body: AccessQuery) -> CallExplanation:
        """Every step that proxies take with the request, by the configuration that they are sent."""
        changes = await self._revisions.history(MAX_REVISIONS, None)
        current = await self._revisions.current()
        sources = {"/".join(document.key): document.source for document in current.documents}
        return self._explain(body, changes, sources)

    async def probe(self, params: NoParams, body: AccessQuery) -> ExplainedProbe:
        """The explanation, and what up to eight sidecars of the called service say to the request.

        A proxy of the caller sends each of them the marked request as its routes leave it. It reaches no
        application.
        """
        explanation = await self.explain(params, body)
        proxy, verdicts = await self._probe.ask(question(explanation, body))
        return ExplainedProbe(
            explanation=explanation, proxy=proxy, expected=expected(explanation), verdicts=verdicts
        )
