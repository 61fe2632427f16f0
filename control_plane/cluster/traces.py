"""The traces of all control planes as one store: peers are asked for spans, and trees are built here.

A trace has spans wherever its proxies and services send theirs, so nothing that needs a whole trace (its
summary, its tree, who called whom) is taken from a peer ready-made.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.cluster import frames
from meshwright.control_plane.cluster.frames import FrameError
from meshwright.control_plane.cluster.service import MethodHandler
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.traces import span, tree
from meshwright.control_plane.telemetry.traces.span import StoredSpan
from meshwright.control_plane.telemetry.traces.store import TraceStore

TRACES_PER_CALL = 25
"""Traces whose spans are asked for in one question: some 700 spans, half a megabyte."""

MAX_SPAN_BYTES = 4 * 1024 * 1024
"""Bytes of spans in one answer; what is beyond counts as dropped."""

_LINK = struct.Struct(">16s8s8sH")
# Trace, span, parent and the service's number; 34 bytes.

SpanKey = tuple[bytes, str]
"""A span and who sent it; a span that came to two control planes (sent again elsewhere) is one."""


class PeerClient(Protocol):
    """The peers (see peers.app.Peers)."""

    def register_method(self, method: str, answer: MethodHandler) -> None:
        """Serve a method."""

    def reachable(self) -> Sequence[str]:
        """Who can be asked."""

    async def broadcast(self, method: str, request: bytes = b"") -> list[bytes]:
        """What they answer."""


@dataclass(slots=True)
class _MergedTrace:
    """The spans of one trace from everywhere."""

    rows: dict[SpanKey, StoredSpan] = field(default_factory=dict)
    dropped: int = 0

    def add(self, rows: Iterable[StoredSpan], dropped: int = 0) -> None:
        self.rows.update(((row.id, row.service), row) for row in rows)
        self.dropped += dropped


class ClusterTraces:
    """`own` are those that came here. IDs are hexadecimal."""

    def __init__(self, own: TraceStore, peers: PeerClient) -> None:
        self._own = own
        self._peers = peers
        peers.register_method("TraceNames", self._names)
        peers.register_method("TraceMatches", self._matches)
        peers.register_method("TraceSpans", self._spans)
        peers.register_method("TraceLinks", self._links)

    # --- what is asked ------------------------------------------------------------------------------

    async def services(self) -> tuple[str, ...]:
        """Who sent spans that are kept, sorted."""
        return await self._union(self._own.services(), "services", {})

    async def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted."""
        return await self._union(self._own.operations(service), "operations", {"service": service})

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:
        """The IDs that begin with a prefix, at most `most`."""
        wanted = {"prefix": prefix, "most": most}
        return (await self._union(self._own.ids_with_prefix(prefix, most), "ids", wanted))[:most]

    async def search(self, wanted: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:
        """At most `limit` traces that have a span as wanted, newest first."""
        if not self._peers.reachable():
            return self._own.search(wanted, limit)
        return tuple([_summary(id, one) async for id, one in self._found(wanted, limit)])

    async def search_full(self, wanted: TraceQuery, limit: int) -> AsyncIterator[Trace]:
        """As `search`, the traces whole."""
        if not self._peers.reachable():
            for one in self._own.search_full(wanted, limit):
                yield one
            return
        async for id, whole in self._found(wanted, limit):
            yield _trace(id, whole)

    async def get(self, id: str) -> Trace | None:
        """A trace by its 32 digits; None when nobody keeps it."""
        whole = (await self._whole([id]))[id]
        return _trace(id, whole) if whole.rows else None

    async def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """Who called whom how often in traces that began within these nanoseconds since the epoch."""
        links = [
            tree.CallLink.from_span(row) for row in self._own.recent_spans(TraceQuery(start=start, end=end))
        ]
        for head, body in await self._ask("TraceLinks", {"start": start, "end": end}):
            links += _read_links([str(one) for one in head.get("services", ())], body)
        return tree.dependencies(links)

    # --- asking -------------------------------------------------------------------------------------

    async def _found(self, wanted: TraceQuery, limit: int) -> AsyncIterator[tuple[str, _MergedTrace]]:
        """The traces that match anywhere, those first that began last."""
        begun = self._own.matching_ids(wanted, limit)
        for head, _ in await self._ask("TraceMatches", {"search": asdict(wanted), "limit": limit}):
            for id, first in head.get("found", {}).items():
                begun[id] = min(first, begun.get(id, first))
        ids = sorted(begun, key=lambda id: (begun[id], id), reverse=True)[:limit]
        for at in range(0, len(ids), TRACES_PER_CALL):
            for id, whole in (await self._whole(ids[at : at + TRACES_PER_CALL])).items():
                if whole.rows:
                    yield id, whole

    async def _whole(self, ids: Sequence[str]) -> dict[str, _MergedTrace]:
        found = {id: _MergedTrace() for id in ids}
        for id in ids:
            found[id].add(*self._own.spans_of(id))
        for head, body in await self._ask("TraceSpans", {"ids": ids}):
            for row in span.parse_spans(body):
                if isinstance(row, StoredSpan) and row.trace.hex() in found:
                    found[row.trace.hex()].add((row,))
            for id, dropped in head.get("dropped", {}).items():
                if id in found:
                    found[id].dropped += int(dropped)
        return found

    async def _union(self, own: Sequence[str], what: str, wanted: dict[str, Any]) -> tuple[str, ...]:
        names = set(own)
        for head, _ in await self._ask("TraceNames", wanted):
            names.update(str(one) for one in head.get(what, ()))
        return tuple(sorted(names))

    async def _ask(self, method: str, wanted: dict[str, Any]) -> list[tuple[dict[str, Any], bytes]]:
        """What peers answer; one that is not understood is passed over."""
        found = []
        for answer in await self._peers.broadcast(method, json.dumps(wanted).encode()):
            try:
                found.append(frames.read(answer))
            except FrameError:
                continue
        return found

    # --- answering ----------------------------------------------------------------------------------

    async def _names(self, request: bytes) -> bytes:
        wanted = _read(request)
        prefix, service = str(wanted.get("prefix", "")), str(wanted.get("service", ""))
        return frames.write({
            "services": self._own.services(),
            "operations": self._own.operations(service) if service else (),
            "ids": self._own.ids_with_prefix(prefix, int(wanted.get("most", 0))) if prefix else (),
        })  # fmt: skip

    async def _matches(self, request: bytes) -> bytes:
        wanted = _read(request)
        try:
            search, limit = TraceQuery(**wanted["search"]), int(wanted["limit"])
        except (KeyError, TypeError, ValueError):
            raise InputError("TraceMatches: not a search") from None
        return frames.write({"found": self._own.matching_ids(search, limit)})

    async def _spans(self, request: bytes) -> bytes:
        ids = [str(one) for one in _read(request).get("ids", ())]
        fitting: list[StoredSpan] = []
        dropped: dict[str, int] = {}
        left = MAX_SPAN_BYTES
        for id in ids[:TRACES_PER_CALL]:
            rows, missing = self._own.spans_of(id)
            for row in rows:
                left -= len(row.body)
                if left < 0:
                    missing += 1
                else:
                    fitting.append(row)
            dropped[id] = missing
        return frames.write({"dropped": dropped}, span.serialize_spans(fitting))

    async def _links(self, request: bytes) -> bytes:
        wanted = _read(request)
        within = TraceQuery(start=int(wanted.get("start", 0)), end=int(wanted.get("end", 0)))
        services: dict[str, int] = {}
        packed = [
            _LINK.pack(row.trace, row.id, row.parent, services.setdefault(row.service, len(services)))
            for row in self._own.recent_spans(within)
        ]
        return frames.write({"services": list(services)}, b"".join(packed))


def _summary(id: str, whole: _MergedTrace) -> TraceSummary:
    return tree.build_summary(bytes.fromhex(id), tuple(whole.rows.values()))


def _trace(id: str, whole: _MergedTrace) -> Trace:
    return tree.build_trace(bytes.fromhex(id), tuple(whole.rows.values()), whole.dropped)


def _read_links(services: Sequence[str], body: bytes) -> Iterator[tree.CallLink]:
    """Links as they were packed; of a part that is cut short nothing."""
    for trace, id, parent, number in _LINK.iter_unpack(body[: len(body) // _LINK.size * _LINK.size]):
        if number < len(services):
            yield tree.CallLink(trace, id, parent if any(parent) else b"", services[number])


def _read(request: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(request)
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict):
        raise InputError("the question is no JSON object")
    return wanted
