"""Whether what happened to the requests of a case is what it expects. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from meshwright.cli.policy_tests.mesh_plan import MeshPlan, PlannedInstance
from meshwright.cli.policy_tests.spec import Expectation
from meshwright.cli.policy_tests.stubs import ReceivedRequest

TOO_MANY_REQUESTS = 429

STANDARD_DEVIATIONS = 4
"""The tolerance of shares: a normally distributed share is farther off once in 16,000 times."""

MAX_QUOTED = 200
"""Characters of a body in a message."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of a case and what came of it.

    `instance` answered, None if the mesh itself did; `received` is what services got. `error` is set, and
    nothing else, if the caller got no response. Headers have lower-case names.
    """

    status: int = 0
    headers: Mapping[str, str] | None = None
    body: str = ""
    instance: PlannedInstance | None = None
    received: tuple[ReceivedRequest, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A field of `expect` that does not hold, as its path below the case, and what happened instead."""

    path: tuple[str, ...]
    message: str


def failures(expect: Expectation, exchanges: Sequence[Exchange], plan: MeshPlan) -> list[Failure]:
    """What of an expectation does not hold; of several requests the first that differs is named."""
    result: dict[tuple[str, ...], Failure] = {}
    passed = exchanges
    if expect.limited_after is not None:
        passed = exchanges[: expect.limited_after]
        for failure in _limited(expect.limited_after, exchanges):
            result[failure.path] = failure
    for number, exchange in enumerate(passed, 1):
        for failure in _single(expect, exchange, plan):
            which = f"request {number} of {len(exchanges)}: " if len(exchanges) > 1 else ""
            result.setdefault(failure.path, Failure(failure.path, which + failure.message))
    for failure in _shares(expect, passed, plan):
        result[failure.path] = failure
    return list(result.values())


def _single(expect: Expectation, exchange: Exchange, plan: MeshPlan) -> Iterator[Failure]:
    """What does not hold for one request."""
    if exchange.error:
        yield Failure((), f"no response: {exchange.error}")
        return
    if expect.status is not None and exchange.status != expect.status:
        yield _failure("status", expect.status, f"{exchange.status}{_quoted(exchange.body)}")
    yield from _answer(expect, exchange, plan)
    yield from _received(expect, exchange, plan)
    yield from _headers("responseHeaders", expect.response_headers, exchange.headers or {})
    if expect.body is not None and expect.body not in exchange.body:
        yield _failure("body", repr(expect.body), exchange.body[:MAX_QUOTED] or "an empty body")


def _answer(expect: Expectation, exchange: Exchange, plan: MeshPlan) -> Iterator[Failure]:
    """What does not hold for who responds."""
    instance = exchange.instance
    if expect.answered_by is not None and not (instance and plan.selects(expect.answered_by, instance)):
        yield _failure("answeredBy", expect.answered_by, _who(exchange))
    if expect.refused_by is not None and (instance or expect.refused_by not in exchange.body):
        yield _failure("refusedBy", expect.refused_by, _who(exchange))


def _received(expect: Expectation, exchange: Exchange, plan: MeshPlan) -> Iterator[Failure]:
    """What does not hold for what services got; headers and path are those of the last try.

    A copy looks like its original, so what `mirroredTo` got counts as one, unless that is who answered.
    """
    target = expect.mirrored_to
    copies = [
        item
        for item in exchange.received
        if target and item.instance != exchange.instance and plan.selects(target, item.instance)
    ]
    tries = [item for item in exchange.received if item not in copies]
    if expect.attempts is not None and len(tries) != expect.attempts:
        yield _failure("attempts", expect.attempts, str(len(tries)))
    if target and not copies:
        yield _failure("mirroredTo", target, "no copy")
    if not tries:
        if expect.path is not None or expect.request_headers:
            field = "path" if expect.path is not None else "requestHeaders"
            yield _failure(field, "a request at a service", f"none: {_who(exchange)}")
        return
    if expect.path is not None and tries[-1].path != expect.path:
        yield _failure("path", expect.path, tries[-1].path)
    yield from _headers("requestHeaders", expect.request_headers, tries[-1].headers)


def _headers(field: str, expected: Mapping[str, str | None], present: Mapping[str, str]) -> Iterator[Failure]:
    for name, value in expected.items():
        got = present.get(name.lower())
        if got != value:
            words = "none" if value is None else repr(value)
            yield _failure(field, words, "none" if got is None else repr(got), name)


def _limited(limit: int, exchanges: Sequence[Exchange]) -> Iterator[Failure]:
    """Whether `limit` requests pass before the first that is refused for their number."""
    statuses = [exchange.status for exchange in exchanges]
    passed = statuses.index(TOO_MANY_REQUESTS) if TOO_MANY_REQUESTS in statuses else None
    if passed is None:
        yield _failure("limitedAfter", limit, f"no 429 among {len(statuses)} responses")
    elif passed != limit:
        yield _failure("limitedAfter", limit, f"429 after {passed}")


def _shares(expect: Expectation, exchanges: Sequence[Exchange], plan: MeshPlan) -> Iterator[Failure]:
    """Whether services and Subsets have their shares of the responses."""
    responses = Counter(exchange.instance for exchange in exchanges if exchange.instance)
    for name, percent in expect.shares.items():
        count = sum(number for instance, number in responses.items() if plan.selects(name, instance))
        share = 100 * count / max(1, len(exchanges))
        tolerance = expect.tolerance
        if tolerance is None:
            tolerance = STANDARD_DEVIATIONS * sqrt(percent * (100 - percent) / max(1, len(exchanges)))
        if abs(share - percent) > tolerance:
            got = f"{share:.1f} % ({count} of {len(exchanges)})"
            yield _failure("shares", f"{percent:g} % ± {tolerance:.1f}", got, name)


def _who(exchange: Exchange) -> str:
    """Who answered, and with what."""
    if exchange.instance:
        labels = ", ".join(f"{key}: {value}" for key, value in exchange.instance.labels)
        return f"{exchange.instance.service}{f' ({labels})' if labels else ''}, status {exchange.status}"
    return f"the mesh itself, status {exchange.status}{_quoted(exchange.body)}"


def _quoted(body: str) -> str:
    text = " ".join(body[:MAX_QUOTED].split())
    return f": {text}" if text.startswith("mesh: ") else f" ({text})" if text and text[0] != "{" else ""


def _failure(field: str, expected: object, got: str, *more: str) -> Failure:
    name = f"{field}.{more[0]}" if more else field
    return Failure(("expect", field, *more), f"{name}: expected {expected}, got {got}")
