"""What Istio states in a rule and our mesh in a policy for that rule: retries and faults."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.istio.filters import percentage
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies import duration
from meshwright.control_plane.policies.retry.spec import RetryConditionName

DEFAULT_CONDITIONS = "connect-failure,refused-stream,unavailable,cancelled"
"""What Istio retries if a rule does not say (HTTPRetry.retryOn)."""

MAX_ATTEMPTS = 10

_STATUSES = "retriable-status-codes"
"""Envoy's condition that says that the list has statuses; they count here without it."""


def retry_spec(rule: Value) -> Document | None:
    """`retries` as the spec of a Retry without targets."""
    retries = rule.get("retries")
    if retries is None:
        return None
    attempts = retries.integer("attempts") or 0
    if attempts > MAX_ATTEMPTS:
        message = f"has {attempts} attempts, and {MAX_ATTEMPTS} are possible: it has {MAX_ATTEMPTS} now"
        retries.problem(message, below=False)
        attempts = MAX_ATTEMPTS
    spec: Document = {"attempts": attempts}
    if attempts == 0:
        return spec
    spec["on"] = _conditions(retries)
    if timeout := read_duration(retries.get("perTryTimeout")):
        spec["perTryTimeout"] = timeout
    if base := read_duration(retries.get("backoff")):
        longest = duration.parse(base) * 10
        spec["backoff"] = {"base": base, "max": duration.render(max(longest, timedelta(milliseconds=1)))}
    for name, default in (("retryRemoteLocalities", False), ("retryIgnorePreviousHosts", True)):
        value = retries.get(name)
        if value is not None and value.node.value is not default:
            value.problem("is not converted: a retry goes to another instance, wherever it runs")
    retries.note("is for idempotent requests only here: a POST that may have been sent is not sent again")
    return spec


def _conditions(retries: Value) -> list[str | int]:
    """The conditions that exist here; Istio's default if there are none."""
    result: list[str | int] = []
    names = retries.text("retryOn") or DEFAULT_CONDITIONS
    for name in (part.strip() for part in names.split(",") if part.strip()):
        if name in get_args(RetryConditionName):
            result.append(name)
        elif name.isdecimal() and 400 <= int(name) <= 599:
            result.append(int(name))
        elif name != _STATUSES and (value := retries.get("retryOn")):
            value.problem(f"has {name!r}, which is no condition here: it is left out")
    return list(dict.fromkeys(result)) or list(DEFAULT_CONDITIONS.split(","))


def fault_spec(rule: Value) -> Document | None:
    """`fault` as the spec of a FaultInjection without targets."""
    fault = rule.get("fault")
    if fault is None:
        return None
    spec: Document = {}
    if delay := fault.get("delay"):
        fixed = read_duration(delay.get("fixedDelay"))
        if fixed:
            spec["delay"] = {"fixed": fixed, "percent": _share(delay)}
    if abort := fault.get("abort"):
        status, grpc = abort.integer("httpStatus"), abort.text("grpcStatus")
        if status or grpc:
            spec["abort"] = {"status": status} if status else {"grpcStatus": grpc}
            spec["abort"]["percent"] = _share(abort)
    return spec or None


def _share(fault: Value) -> float:
    """The percentage of requests with a fault; without one Istio injects none."""
    share = percentage(fault, "percentage")
    if share is None:
        share = fault.number("percent")
    if share is None:
        fault.note("has no percentage, so it has no effect; it is 0 here, too")
    return float(share or 0)
