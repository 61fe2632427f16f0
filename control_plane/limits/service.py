"""Tells proxies whether a request is within its global limits: Envoy's rate limit service protocol (v3).

It is part of the xDS port, with the same certificates: a proxy counts only for limits that it enforces. What
cannot be counted is an error at once, and the proxy does what `onFailure` of the policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
from google.protobuf.message import DecodeError

from meshwright.control_plane.callers import CallerCheck
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.errors import PermissionDeniedError, StoreError
from meshwright.control_plane.limits import metrics
from meshwright.control_plane.limits.batches import LimitBatches
from meshwright.control_plane.limits.late import LateAnswers
from meshwright.control_plane.limits.table import GlobalLimit, LimitTable, answer
from meshwright.control_plane.store.limit_counters import Bucket, Grant

SERVICE, METHOD = "envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit"

MAX_REQUEST_BYTES = 64 * 1024
MAX_DESCRIPTORS = 64
MAX_HITS = 1_000_000

Context = grpc.aio.ServicerContext[bytes, bytes]


class RateLimitService:
    """The service. `worlds` have its limits: of two with the same limit, the last one's counts.

    `report` gets the problem that answers are late.
    """

    def __init__(
        self,
        callers: CallerCheck,
        worlds: Callable[[], tuple[World, ...]],
        batches: LimitBatches,
        report: Callable[[str], None],
    ) -> None:
        self._callers = callers
        self._worlds = worlds
        self._batches = batches
        self._late = LateAnswers(report)
        self._current: tuple[World, ...] = ()
        self._documents: tuple[PolicyDocument, ...] = ()
        self._table = LimitTable(())

    def handlers(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The handler for the xDS port's gRPC server."""
        method = grpc.unary_unary_rpc_method_handler(self._decide)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def _decide(self, body: bytes, context: Context) -> bytes:
        try:
            identity = self._callers.identify(context.auth_context() or {}).identity
            request = _parse(body)
        except PermissionDeniedError as error:
            metrics.FAILURES.labels("denied").inc()
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        except ValueError as error:
            metrics.FAILURES.labels("malformed").inc()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        table = self._limits()
        entries = [table.find(descriptor, identity) for descriptor in request.descriptors]
        hits = min(request.hits_addend or 1, MAX_HITS)
        try:
            grants = await asyncio.gather(*(self._batches.take(entry[1], hits) for entry in entries if entry))
        except StoreError as error:
            metrics.FAILURES.labels("store").inc()
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except asyncio.CancelledError:  # the proxy waits no longer
            self._note(late=True)
            raise
        remaining = context.time_remaining()
        self._note(late=remaining is not None and remaining <= 0)
        return self._answer(entries, grants).SerializeToString()

    def _note(self, *, late: bool) -> None:
        if late:
            metrics.FAILURES.labels("late").inc()
        self._late.add(late=late)

    def _answer(
        self, entries: list[tuple[GlobalLimit, Bucket] | None], grants: list[Grant]
    ) -> v3.RateLimitResponse:
        remaining = iter(grants)
        results = [(entry[0], next(remaining)) if entry else None for entry in entries]
        for result in results:
            if result is None:
                metrics.REQUESTS.labels("", "unknown").inc()
                continue
            limit, grant = result
            refused = "audited" if limit.audited else "refused"
            metrics.REQUESTS.labels(limit.policy.name, "passed" if grant.granted else refused).inc()
        return answer(results)

    def _limits(self) -> LimitTable:
        worlds = self._worlds()
        if [id(world) for world in worlds] != [id(world) for world in self._current]:
            documents = tuple(document for world in worlds for document in world.documents)
            if documents != self._documents:
                self._table, self._documents = LimitTable(documents), documents
            self._current = worlds
        return self._table


def _parse(body: bytes) -> v3.RateLimitRequest:
    if len(body) > MAX_REQUEST_BYTES:
        raise ValueError(f"the request is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        request = v3.RateLimitRequest.FromString(body)
    except DecodeError:
        raise ValueError("not a RateLimitRequest") from None
    if len(request.descriptors) > MAX_DESCRIPTORS:
        raise ValueError(f"more than {MAX_DESCRIPTORS} descriptors")
    return request
