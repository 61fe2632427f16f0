"""Routes of authorization: check or probe a call, who may call what, and the calls that were seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import Field

from meshwright.control_plane.admin.protocols import RevisionLog
from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.admin.sidecar_probe import SidecarProbe
from meshwright.control_plane.api.models.authorization import (
    AccessCheck,
    AccessMatrix,
    AccessProbe,
    AccessQuery,
    ObservedCalls,
)
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.telemetry.requests.recent_count import REMEMBERED_SECONDS

MAX_REVISIONS = 1000
"""Revisions searched for the last change to a policy: as many as the store returns at once."""

Check = Callable[[AccessQuery, Sequence[RevisionInfo], Mapping[str, str]], AccessCheck]
"""The verdict on a call, by all revisions (newest first) and the sources of documents by `Kind/name`."""


class ObservedParams(RequestParams):
    seconds: float = Field(
        REMEMBERED_SECONDS, ge=1, le=REMEMBERED_SECONDS, description="How far back, at most an hour."
    )


class AuthorizationRouter:
    """`/authz`."""

    def __init__(
        self,
        revisions: RevisionLog,
        check: Check,
        matrix: Callable[[], AccessMatrix],
        observed: Callable[[float], ObservedCalls],
        probe: SidecarProbe,
    ) -> None:
        self._revisions = revisions
        self._check = check
        self._probe = probe
        self._matrix = matrix
        self._observed = observed

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "POST", "/authz/check", "check_access", "Whether a call would be let through", self.check,
                AccessCheck, body=AccessQuery, errors=(400, 404, 503), read_only=True,
            ),
            Route(
                "POST", "/authz/probe", "probe_access", "Ask the called sidecars for their verdict",
                self.probe, AccessProbe, body=AccessQuery, errors=(400, 404, 503, 504),
            ),
            Route(
                "GET", "/authz/matrix", "access_matrix", "Who may call what", self.matrix, AccessMatrix,
                read_only=True,
            ),
            Route(
                "GET", "/authz/observed", "observed_calls", "Who called what", self.observed, ObservedCalls,
                params=ObservedParams, read_only=True,
            ),
        )  # fmt: skip

    async def check(self, _params: NoParams, body: AccessQuery) -> AccessCheck:
        """The verdict of the Authorizations in force on a call, and the policy that gives it."""
        changes = await self._revisions.history(MAX_REVISIONS, None)
        current = await self._revisions.current()
        sources = {"/".join(document.key): document.source for document in current.documents}
        return self._check(body, changes, sources)

    async def probe(self, params: NoParams, body: AccessQuery) -> AccessProbe:
        """The verdict as computed, and as up to eight sidecars of the called service give it.

        A proxy of the caller sends each of them a marked request, which reaches no application.
        """
        check = await self.check(params, body)
        proxy, verdicts = await self._probe.ask(body)
        return AccessProbe(check=check, proxy=proxy, verdicts=verdicts)

    async def matrix(self, _params: NoParams, _body: NoBody) -> AccessMatrix:
        """For each service: which callers may do everything, something or nothing there."""
        return self._matrix()

    async def observed(self, params: ObservedParams, _body: NoBody) -> ObservedCalls:
        """The calls between services and from gateways that their sidecars counted."""
        return self._observed(params.seconds)
