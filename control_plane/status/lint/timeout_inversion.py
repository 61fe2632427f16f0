"""A caller that gives up before the service that it calls: what that goes on with is for nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta

from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.status.lint.call_limits import CallLimits


def inverted_timeouts(limits: Iterable[CallLimits]) -> Iterator[LintFinding]:
    """For each call, the longest wait of the called service that exceeds the limit of the caller's try.

    A service without a limit of its own is not reported: it may set one itself.
    """
    limits = tuple(limits)
    waits: defaultdict[str, list[tuple[timedelta, CallLimits]]] = defaultdict(list)
    for each in limits:
        if each.longest_wait is not None:
            waits[each.caller].append((each.longest_wait, each))
    listed: dict[tuple[str, str], tuple[timedelta, timedelta, CallLimits, CallLimits]] = {}
    for outer in limits:
        limit = outer.try_limit
        wait, inner = max(waits[outer.service], key=lambda entry: entry[0], default=(None, None))
        if limit is None or wait is None or inner is None or limit >= wait or inner.service == outer.caller:
            continue
        key = outer.caller, outer.service
        if key not in listed or limit < listed[key][0]:
            listed[key] = (limit, wait, outer, inner)
    for limit, wait, outer, inner in listed.values():
        yield _finding(limit, wait, outer, inner)


def _finding(limit: timedelta, wait: timedelta, outer: CallLimits, inner: CallLimits) -> LintFinding:
    tries = f" ({inner.tries} tries)" if inner.tries > 1 else ""
    again = ", and tries again" if outer.tries > 1 and limit != outer.request_limit else ""
    message = (
        f"{outer.caller} ends a call of {outer.service} after {_seconds(limit)}{again}, but {outer.service} "
        f"may wait {_seconds(wait)} for {inner.service}{tries}: give the caller the longer timeout"
    )
    policies = tuple(dict.fromkeys((*outer.policies, *inner.policies)))
    return LintFinding(rule="timeout-inversion", severity="warning", policies=policies, message=message)


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"
