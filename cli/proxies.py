"""`mesh proxies`: every Envoy of the mesh, unhealthy ones first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from meshwright.cli.durations import format_duration
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, echo, print_items, print_table, status_text
from meshwright.cli.status import PROXY_LEVELS
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.problem_text import proxy_message

EXPIRES_SOON = 300.0
"""Seconds before its expiry when a certificate becomes a problem: agents renew at half of its lifetime."""

_SEVERITY = {"rejected": 0, "disconnected": 1, "pending": 2, "synced": 4}
_EXPIRING_SEVERITY = 3

HEADER = ("PROXY", "SERVICE", "STATE", "REVISION", "PENDING", "CERTIFICATE", "ENVOY", "MEMORY", "ERROR")


def proxies(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show every proxy: sync state, rejected configuration, certificate, Envoy version and memory.

    Unhealthy proxies come first. `-` means no report in the last few seconds.

    \b
    Example:
      mesh proxies
      mesh proxies -o json
    """
    now = time.time()
    listed = call_api(calls.proxies(), state)["proxies"]
    rows = sorted(listed, key=lambda proxy: _sort_key(proxy, now))
    if output is not Output.table:
        print_items(rows, output)
        return
    print_table(HEADER, [_row(proxy, now) for proxy in rows])
    if not rows:
        echo("no proxies")


def _sort_key(proxy: Mapping[str, Any], now: float) -> tuple[int, str, str]:
    severity = _SEVERITY.get(proxy["state"], 0)
    if proxy["reported"] and proxy["expires"] - now < EXPIRES_SOON:
        severity = min(severity, _EXPIRING_SEVERITY)
    return severity, proxy["service"], proxy["name"]


def _row(proxy: Mapping[str, Any], now: float) -> tuple[str, ...]:
    reported = proxy["reported"]
    return (
        proxy["name"],
        proxy["service"],
        status_text(PROXY_LEVELS.get(proxy["state"], "partial"), proxy["state"]),
        str(proxy["revision"]),
        str(proxy["pending"]),
        certificate_text(proxy["expires"] - now) if reported else "-",
        proxy["version"] if reported else "-",
        memory_text(proxy["memory"]) if reported else "-",
        proxy_message(proxy),
    )


def certificate_text(seconds_left: float) -> str:
    """When a certificate expires. A sign marks one that has expired or is about to."""
    if seconds_left <= 0:
        return status_text("bad", f"expired {format_duration(-seconds_left)} ago")
    text = f"expires in {format_duration(seconds_left)}"
    level: Level | None = "partial" if seconds_left < EXPIRES_SOON else None
    return status_text(level, text) if level else text


def memory_text(size: int) -> str:
    """Bytes in MiB."""
    return f"{size / 1_048_576:.1f} MiB"
