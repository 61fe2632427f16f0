"""The verdict on the mesh as text, alike in every client. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def verdict_line(verdict: Mapping[str, Any], format_time: Callable[[float], str]) -> str:
    """The worst problem and how many more there are, or the summary. `verdict` is the JSON of a Verdict."""
    problems = verdict["problems"]
    if not problems:
        return str(verdict["summary"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problem_text(problems[0], format_time) + more


def problem_text(problem: Mapping[str, Any], format_time: Callable[[float], str]) -> str:
    """`inventory: 100 % of 3.2/s fail since 08:02: FaultInjection slow, revision 2, by root`."""
    since = f" since {format_time(problem['since'])}" if problem["since"] else ""
    cause = f": {problem['cause']}" if problem["cause"] else ""
    return f"{problem['subject']}: {problem['message']}{since}{cause}"


def proxy_message(proxy: Mapping[str, Any]) -> str:
    """What is wrong with a proxy (a ProxyStatus), or what it waits for; empty: nothing."""
    clusters = ", ".join(proxy.get("unchecked_clusters", ()))
    return str(proxy["error"]) or (f"waits for the first health check of {clusters}" if clusters else "")
