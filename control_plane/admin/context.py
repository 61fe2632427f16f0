"""What the admin API needs from the rest of the control plane, as protocols; `app.py` brings the parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.proxies import ProxyDetail, ProxyReport
from meshwright.control_plane.api.models.requests import Explanation, Request, RequestPage, TapFilter
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.tokens import NewToken, TokenInfo, TokenRole
from meshwright.control_plane.api.models.topology import EdgeHistory, ServiceHistory, ServiceList, Topology
from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.core.revision import CanonicalDocument, PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import NotFoundError

Done = TypeVar("Done")


class RevisionLog(Protocol):
    """The revisions of the store. All raise StoreError when it cannot be reached."""

    async def current(self) -> PolicyRevision:
        """The newest revision; revision 0 without documents in a new mesh."""

    async def get(self, number: int) -> PolicyRevision:
        """A revision; raises NotFoundError."""

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        """At most `limit` revisions, newest first, only those below `before` when it is given."""

    async def commit(
        self, base: int, documents: Sequence[RevisionDocument], *, author: str, why: str
    ) -> RevisionInfo:
        """Make `documents` the next revision; raises RevisionConflict unless `base` is the newest."""


class TokenRegistry(Protocol):
    """The mesh's join tokens. All raise StoreError when the store cannot be reached."""

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> NewToken:
        """A new token, on record, good for `ttl` seconds; raises InputError."""

    async def list(self) -> tuple[TokenInfo, ...]:
        """Every token on record, newest first."""

    async def revoke(self, id: str) -> None:
        """Refuse a token from now on; raises NotFoundError for one that is not on record."""


class EventLog(Protocol):
    """What happened. Both raise StoreError when the store cannot be reached."""

    async def newest(self, limit: int, before: str, kind: str) -> Sequence[Event]:
        """At most `limit` events, newest first; of one kind, and older than an id, if these are given."""

    def follow(self, after: str) -> AsyncIterator[Event | None]:
        """Events after an id (empty: from now on) as they come; None when there was none for a second."""


class NoEvents:
    """A mesh in which nothing is noticed."""

    async def newest(self, limit: int, before: str, kind: str) -> Sequence[Event]:  # noqa: ARG002
        """None."""
        return ()

    async def follow(self, after: str) -> AsyncIterator[Event | None]:  # noqa: ARG002
        """Ends at once."""
        for event in await self.newest(0, "", ""):
            yield event


class TraceQueries(Protocol):
    """The traces that are kept. IDs are hexadecimal."""

    async def services(self) -> tuple[str, ...]:
        """Who sent spans that are kept, sorted."""

    async def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted."""

    async def search(self, wanted: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:
        """At most `limit` traces that have a span as wanted, newest first."""

    def search_full(self, wanted: TraceQuery, limit: int) -> AsyncIterator[Trace]:
        """As `search`, the traces whole, one at a step."""

    async def get(self, id: str) -> Trace | None:
        """A trace by its 32 digits; None when it is not kept."""

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:
        """The IDs that begin with a prefix, at most `most`."""

    async def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """Who called whom how often in traces that began within these nanoseconds since the epoch."""


class NoTraces:
    """A mesh in which nothing is traced."""

    async def services(self) -> tuple[str, ...]:
        """None."""
        return ()

    async def operations(self, service: str) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()

    async def search(self, wanted: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:  # noqa: ARG002
        """None."""
        return ()

    async def search_full(self, wanted: TraceQuery, limit: int) -> AsyncIterator[Trace]:  # noqa: ARG002
        """None."""
        found: tuple[Trace, ...] = ()
        for one in found:
            yield one

    async def get(self, id: str) -> Trace | None:  # noqa: ARG002
        """None."""
        return None

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()

    async def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:  # noqa: ARG002
        """None."""
        return ()


class RequestQueries(Protocol):
    """What proxies told of requests."""

    async def recent(
        self, limit: int, /, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """At most `limit` requests, newest first: told by or sent to `service`, failed, begun since then."""

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:
        """Ids of requests and traces that begin so, at most `most`; one that is meant whole stands alone."""

    async def find(self, id: str) -> tuple[Request, ...]:
        """All that is kept of a request or trace, in the order of their begin."""

    async def tap(self, tap: TapFilter, marks: Mapping[str, int], limit: int) -> RequestPage:
        """What came since `marks` (empty: nothing yet, only where to begin), the oldest first."""


class NoRequests:
    """A mesh in which nothing is told of requests."""

    async def recent(self, _limit: int, **_wanted: Any) -> tuple[Request, ...]:
        """None."""
        return ()

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()

    async def find(self, id: str) -> tuple[Request, ...]:  # noqa: ARG002
        """None."""
        return ()

    async def tap(self, tap: TapFilter, marks: Mapping[str, int], limit: int) -> RequestPage:  # noqa: ARG002
        """Nothing."""
        return RequestPage()


@dataclass(frozen=True, slots=True)
class ExplainInput:
    """What is known of a request that is to be explained.

    `revision` was in force when it began and `changes` are all revisions, newest first; None and nothing
    where the store is away. `now` is in seconds since the epoch.
    """

    id: str
    records: Sequence[Request]
    trace: Trace | None
    revision: PolicyRevision | None
    changes: Sequence[RevisionInfo]
    now: float


class InvalidDocumentError(Exception):
    """Why a document is refused: one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RunInThread(Protocol):
    """Does long work where it holds nobody up."""

    async def __call__(self, work: Callable[[], Done], /) -> Done:
        """What the work returns, or raises."""


async def _reaches_none(
    _before: Sequence[CanonicalDocument], _after: Sequence[CanonicalDocument]
) -> tuple[str, ...]:
    return ()


async def _nobody(node: str, _kind: str, _argument: str) -> str:
    raise NotFoundError(f"no such proxy: {node}: see `mesh proxies`")


async def _at_once(work: Callable[[], Done], /) -> Done:
    return work()


@dataclass(frozen=True, slots=True)
class AdminContext:
    """Everything the routes reach.

    `warnings` tells in words what among documents will do nothing yet (a target that is missing).
    `resources_diff` renders the change of Envoy resources between two sets of documents as a unified diff,
    `reaches` names the connected proxies that such a change configures anew.
    `explain` says why a request failed or was slow. `pause` sleeps for seconds; `now` is a monotonic clock in
    seconds, `clock` tells those since the epoch. `aside` does long work where it holds nobody up; the server
    brings a thread. `history` is that of the calls from one service to another.
    `ask` has a sidecar asked: node, kind, argument (api.asked.Ask) → text; it raises NotFoundError,
    InputError, UnansweredError.
    """

    revisions: RevisionLog
    status: Callable[[], Awaitable[Status]]
    instances: Callable[[], Iterable[InstanceStatus]]
    tokens: TokenRegistry
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    proxies: Callable[[], Iterable[ProxyDetail]] = tuple
    control_plane_addresses: Callable[[], Iterable[str]] = tuple
    reports: Callable[[], Iterable[ProxyReport]] = tuple
    warnings: Callable[[Sequence[CanonicalDocument]], Iterable[str]] = lambda _documents: ()
    resources_diff: Callable[[Sequence[CanonicalDocument], Sequence[CanonicalDocument]], str] = (
        lambda _before, _after: ""
    )
    affected_proxies: Callable[
        [Sequence[CanonicalDocument], Sequence[CanonicalDocument]], Awaitable[tuple[str, ...]]
    ] = _reaches_none
    run_in_thread: RunInThread = _at_once
    events: EventLog = field(default_factory=NoEvents)
    run_command: Callable[[str, str, str], Awaitable[str]] = _nobody
    topology: Callable[[], Topology] = Topology
    traces: TraceQueries = field(default_factory=NoTraces)
    requests: RequestQueries = field(default_factory=NoRequests)
    explain: Callable[[ExplainInput], Explanation | None] = lambda _case: None
    clock: Callable[[], float] = lambda: 0.0
    history: Callable[[str, str], EdgeHistory | None] = lambda _caller, _callee: None
    services: Callable[[], ServiceList] = ServiceList
    service_history: Callable[[str], ServiceHistory | None] = lambda _name: None
