"""The traces of all control planes as one store: spans are fetched from peers, trees are built here.

The spans of one trace are where its proxies and services send them, so whatever needs a complete trace (its
summary, its tree, service dependencies) is never computed by a peer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import (
    GET_CALL_LINKS,
    GET_SPANS,
    LIST_TRACE_NAMES,
    MATCH_TRACES,
)
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.telemetry.traces import tree
from meshwright.control_plane.telemetry.traces.span import StoredSpan, parse_spans, serialize_spans
from meshwright.control_plane.telemetry.traces.store import TraceStore

TRACES_PER_CALL = 25
"""Traces whose spans are fetched in one call: some 700 spans, half a megabyte."""

MAX_SPAN_BYTES = 4 * 1024 * 1024
"""Spans in one response; further ones count as dropped."""

MAX_INT64 = 2**63 - 1

_TRACE_ID, _SPAN_ID = 16, 8
# Bytes.

SpanKey = tuple[bytes, str]
"""Span id and sender. A span that two control planes received (sent again elsewhere) is one span."""


@dataclass(slots=True)
class _MergedTrace:
    """The spans of one trace from all control planes."""

    spans: dict[SpanKey, StoredSpan] = field(default_factory=dict)
    dropped: int = 0

    def add(self, spans: Iterable[StoredSpan], dropped: int = 0) -> None:
        self.spans.update(((span.id, span.service), span) for span in spans)
        self.dropped += dropped


class ClusterTraces:
    """`local` holds the spans sent to this control plane. Ids are hexadecimal."""

    def __init__(self, local: TraceStore, peers: PeerClient) -> None:
        self._local = local
        self._peers = peers
        peers.register_method(LIST_TRACE_NAMES, self._serve_names)
        peers.register_method(MATCH_TRACES, self._serve_matches)
        peers.register_method(GET_SPANS, self._serve_spans)
        peers.register_method(GET_CALL_LINKS, self._serve_links)

    # --- queries --------------------------------------------------------------------------------------

    async def services(self) -> tuple[str, ...]:
        """Services with stored spans, sorted."""
        responses = await self._peers.broadcast(LIST_TRACE_NAMES, pb.TraceNamesRequest())
        return _union(self._local.services(), *(response.services for response in responses))

    async def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted."""
        responses = await self._peers.broadcast(LIST_TRACE_NAMES, pb.TraceNamesRequest(service=service))
        return _union(self._local.operations(service), *(response.operations for response in responses))

    async def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Up to `limit` trace ids with this prefix."""
        request = pb.TraceNamesRequest(id_prefix=prefix, limit=limit)
        responses = await self._peers.broadcast(LIST_TRACE_NAMES, request)
        ids = _union(self._local.ids_with_prefix(prefix, limit), *(response.ids for response in responses))
        return ids[:limit]

    async def search(self, query: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:
        """Up to `limit` traces with a span that matches, newest first."""
        if not self._peers.reachable():
            return self._local.search(query, limit)
        return tuple([_summary(id, trace) async for id, trace in self._search_merged(query, limit)])

    async def search_full(self, query: TraceQuery, limit: int) -> AsyncIterator[Trace]:
        """Like `search`, but yields complete traces."""
        if not self._peers.reachable():
            for trace in self._local.search_full(query, limit):
                yield trace
            return
        async for id, merged in self._search_merged(query, limit):
            yield _trace(id, merged)

    async def get(self, id: str) -> Trace | None:
        """A trace by its 32-digit id; None if no control plane has it."""
        merged = (await self._fetch([id]))[id]
        return _trace(id, merged) if merged.spans else None

    async def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """How often services called each other in traces that started within these nanoseconds since the
        epoch.
        """
        spans = self._local.recent_spans(TraceQuery(start=start, end=end))
        links = [tree.CallLink.from_span(span) for span in spans]
        request = pb.CallLinksRequest(start_ns=_int64(start), end_ns=_int64(end))
        for response in await self._peers.broadcast(GET_CALL_LINKS, request):
            links += _parse_links(response)
        return tree.dependencies(links)

    # --- fetching from peers ----------------------------------------------------------------------------

    async def _search_merged(self, query: TraceQuery, limit: int) -> AsyncIterator[tuple[str, _MergedTrace]]:
        """Traces that match at any control plane, those that started last first."""
        start_by_id = self._local.matching_ids(query, limit)
        request = pb.TraceMatchRequest(query=_query_to_proto(query), limit=limit)
        for response in await self._peers.broadcast(MATCH_TRACES, request):
            for id, start in response.start_ns.items():
                start_by_id[id] = min(start, start_by_id.get(id, start))
        ids = sorted(start_by_id, key=lambda id: (start_by_id[id], id), reverse=True)[:limit]
        for first in range(0, len(ids), TRACES_PER_CALL):
            for id, merged in (await self._fetch(ids[first : first + TRACES_PER_CALL])).items():
                if merged.spans:
                    yield id, merged

    async def _fetch(self, ids: Sequence[str]) -> dict[str, _MergedTrace]:
        merged = {id: _MergedTrace() for id in ids}
        for id in ids:
            merged[id].add(*self._local.spans_of(id))
        for response in await self._peers.broadcast(GET_SPANS, pb.SpansRequest(trace_ids=ids)):
            for span in parse_spans(response.spans):
                if isinstance(span, StoredSpan) and span.trace.hex() in merged:
                    merged[span.trace.hex()].add((span,))
            for id, dropped in response.dropped.items():
                if id in merged:
                    merged[id].dropped += dropped
        return merged

    # --- serving peers ----------------------------------------------------------------------------------

    async def _serve_names(self, request: pb.TraceNamesRequest) -> pb.TraceNames:
        prefix, service = request.id_prefix, request.service
        return pb.TraceNames(
            services=self._local.services(),
            operations=self._local.operations(service) if service else (),
            ids=self._local.ids_with_prefix(prefix, request.limit) if prefix else (),
        )

    async def _serve_matches(self, request: pb.TraceMatchRequest) -> pb.TraceMatches:
        query = request.query
        trace_query = TraceQuery(
            service=query.service,
            operation=query.operation,
            min_duration=query.min_duration,
            max_duration=query.max_duration,
            errors=query.errors,
            start=query.start,
            end=query.end,
        )
        return pb.TraceMatches(start_ns=self._local.matching_ids(trace_query, request.limit))

    async def _serve_spans(self, request: pb.SpansRequest) -> pb.Spans:
        fitting: list[StoredSpan] = []
        dropped: dict[str, int] = {}
        free = MAX_SPAN_BYTES
        for id in request.trace_ids[:TRACES_PER_CALL]:
            spans, missing = self._local.spans_of(id)
            for span in spans:
                free -= len(span.body)
                if free < 0:
                    missing += 1
                else:
                    fitting.append(span)
            dropped[id] = missing
        return pb.Spans(spans=serialize_spans(fitting), dropped=dropped)

    async def _serve_links(self, request: pb.CallLinksRequest) -> pb.CallLinks:
        spans = tuple(self._local.recent_spans(TraceQuery(start=request.start_ns, end=request.end_ns)))
        services: dict[str, int] = {}
        return pb.CallLinks(
            service=[services.setdefault(span.service, len(services)) for span in spans],
            services=list(services),
            trace_ids=b"".join(span.trace for span in spans),
            span_ids=b"".join(span.id for span in spans),
            parent_ids=b"".join(span.parent or bytes(_SPAN_ID) for span in spans),
        )


def _query_to_proto(query: TraceQuery) -> pb.TraceQuery:
    return pb.TraceQuery(
        service=query.service,
        operation=query.operation,
        min_duration=_int64(query.min_duration),
        max_duration=_int64(query.max_duration),
        errors=query.errors,
        start=_int64(query.start),
        end=_int64(query.end),
    )


def _int64(nanoseconds: int) -> int:
    """Limits a user's number to 292 years, more than any span lasts."""
    return min(nanoseconds, MAX_INT64)


def _union(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for some in names for name in some}))


def _summary(id: str, merged: _MergedTrace) -> TraceSummary:
    return tree.build_summary(bytes.fromhex(id), tuple(merged.spans.values()))


def _trace(id: str, merged: _MergedTrace) -> Trace:
    return tree.build_trace(bytes.fromhex(id), tuple(merged.spans.values()), merged.dropped)


def _parse_links(links: pb.CallLinks) -> Iterator[tree.CallLink]:
    """The rows of a response, up to the end of its shortest column."""
    columns = zip(
        links.service,
        _split(links.trace_ids, _TRACE_ID),
        _split(links.span_ids, _SPAN_ID),
        _split(links.parent_ids, _SPAN_ID),
        strict=False,
    )
    for service, trace, span, parent in columns:
        if service < len(links.services):
            yield tree.CallLink(trace, span, parent if any(parent) else b"", links.services[service])


def _split(column: bytes, size: int) -> Iterator[bytes]:
    return (column[first : first + size] for first in range(0, len(column) - size + 1, size))
