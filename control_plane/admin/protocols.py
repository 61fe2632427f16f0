"""What several routers need from the rest of the control plane, as protocols."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Container,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Protocol

from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.requests import Request, RequestPage, TapFilter
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.core.patches import Misfit
from meshwright.control_plane.core.revision import CanonicalDocument, PolicyRevision, RevisionDocument
from meshwright.control_plane.status.preview import ChangePlan
from meshwright.control_plane.verification.verifier import EnvoyVerdict

Sleep = Callable[[float], Awaitable[None]]
"""Sleeps for some seconds."""

Clock = Callable[[], float]
"""Seconds, monotonic or since the epoch."""

StatusSource = Callable[[], Awaitable[Status]]

ProxySource = Callable[[], Iterable[ProxyDetail]]


class RevisionLog(Protocol):
    """The revisions in the store. Every method raises StoreError if the store is unavailable."""

    async def current(self) -> PolicyRevision:
        """The newest revision; in a new mesh revision 0, without documents."""

    async def get(self, number: int) -> PolicyRevision:
        """One revision; raises NotFoundError."""

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        """Up to `limit` revisions, newest first; with `before` only older ones."""

    async def commit(
        self,
        base: int,
        documents: Sequence[RevisionDocument],
        *,
        author: str,
        message: str,
        immediate: bool = False,
    ) -> RevisionInfo:
        """Make `documents` the next revision; raises RevisionConflictError unless `base` is the newest.

        If it is not `immediate`, it may be pushed in waves.
        """


Verify = Callable[[Sequence[CanonicalDocument], Sequence[CanonicalDocument]], Awaitable[EnvoyVerdict]]
"""Envoy's verdict on a change from some documents to others."""


async def unverified(
    _before: Sequence[CanonicalDocument], _after: Sequence[CanonicalDocument]
) -> EnvoyVerdict:
    """The verdict of a mesh that verifies nothing."""
    return EnvoyVerdict()


class EditPreview(Protocol):
    """What a change of documents would do."""

    def service_names(self) -> Container[str]:
        """The names of the services that the mesh knows."""

    def warnings(self, documents: Sequence[CanonicalDocument]) -> Iterable[str]:
        """Sentences about documents that would have no effect yet, such as a missing target."""

    def unresolved(
        self, applied: Sequence[CanonicalDocument], others: Sequence[CanonicalDocument], revision: int
    ) -> Iterable[tuple[str, str]]:
        """Which of the documents `applied` would not be Accepted, or not ResolvedRefs: `Kind/name`, and why.

        `others` are the documents beside them in this revision.
        """

    def misplaced_urls(self, applied: Sequence[CanonicalDocument]) -> Iterable[tuple[str, str]]:
        """URLs that proxies must not call by their scheme: `Kind/name` of the document, and why."""

    async def misfits(self, documents: Sequence[CanonicalDocument]) -> Sequence[Misfit]:
        """The patches that cannot be applied to what the other documents make.

        Raises LimitExceededError.
        """

    async def plan(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[ChangePlan, Collection[tuple[str, str]]]:
        """What differs, and service and name of the connected proxies that the change affects.

        Raises LimitExceededError.
        """

    async def dry_run(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, tuple[str, ...]]:
        """What differs in documents, and names of the connected proxies that the change affects.

        Raises LimitExceededError.
        """


class RunCommand(Protocol):
    """Runs a command on a sidecar."""

    async def __call__(self, node: str, kind: str, argument: str, service: str = "", /) -> str:
        """The text of the result (see ProxyCommand). `service` is the node's; empty: the only one with it.

        Raises NotFoundError, InputError, CommandTimeoutError.
        """


class TraceReader(Protocol):
    """The traces in memory. IDs are hexadecimal."""

    async def services(self) -> tuple[str, ...]:
        """Services and gateways with spans, sorted."""

    async def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted."""

    async def search(self, query: TraceQuery, limit: int, /) -> tuple[TraceSummary, ...]:
        """Up to `limit` traces with a span that matches, newest first."""

    def search_full(self, query: TraceQuery, limit: int, /) -> AsyncIterator[Trace]:
        """The same traces with all their spans, one per step."""

    async def get(self, id: str) -> Trace | None:
        """A trace by its 32 digits, or None."""

    async def ids_with_prefix(self, prefix: str, limit: int, /) -> tuple[str, ...]:
        """Up to `limit` trace IDs with this prefix."""

    async def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """Calls between services in traces that began within these nanoseconds since the epoch (0: any)."""


class RequestReader(Protocol):
    """Requests from the proxies' logs."""

    async def recent(
        self, limit: int, /, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """Up to `limit` requests, newest first: logged by or sent to `service`, failed, begun since then."""

    async def ids_with_prefix(self, prefix: str, limit: int, /) -> tuple[str, ...]:
        """Up to `limit` request and trace ids with this prefix. An exact match is returned alone."""

    async def find(self, id: str) -> tuple[Request, ...]:
        """Every record of a request or trace, the earliest first."""

    async def tap(self, tap: TapFilter, cursor: Mapping[str, int], limit: int, /) -> RequestPage:
        """Requests after `cursor`, the oldest first; an empty cursor only returns where to start."""
