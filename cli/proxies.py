"""`mesh proxies`: every Envoy of the mesh, what is bad first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level
from meshwright.cli.status import PROXY_LEVELS
from meshwright.control_plane.api import calls

EXPIRES_SOON = 300.0
"""Seconds before its end at which a certificate is shown as a problem: agents renew at half of its life."""

_SEVERITY = {"rejected": 0, "disconnected": 1, "pending": 2, "synced": 4}
_EXPIRING_SEVERITY = 3


def proxies(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show every proxy: how far its configuration is, what Envoy refused, its certificate, version, memory.

    What is bad comes first. A dash: the sidecar has told nothing of itself within the last seconds.

    \b
    Example:
      mesh proxies
      mesh proxies -o json
    """
    now = time.time()
    found = sorted(call_api(calls.proxies(), state)["proxies"], key=lambda one: _order(one, now))
    if output is not Output.table:
        output_module.print_data({"proxies": found}, output)
        return
    head = (
        "PROXY", "SERVICE", "STATE", "REVISION", "PENDING", "CERTIFICATE", "ENVOY", "MEMORY", "REJECTED",
    )  # fmt: skip
    output_module.print_table(head, [_row(one, now) for one in found])
    if not found:
        output_module.echo("no proxies")


def _order(proxy: Mapping[str, Any], now: float) -> tuple[int, str, str]:
    badness = _SEVERITY.get(proxy["state"], 0)
    if proxy["reported"] and proxy["expires"] - now < EXPIRES_SOON:
        badness = min(badness, _EXPIRING_SEVERITY)
    return badness, proxy["service"], proxy["name"]


def _row(proxy: Mapping[str, Any], now: float) -> tuple[str, ...]:
    told = proxy["reported"]
    return (
        proxy["name"],
        proxy["service"],
        output_module.status_text(PROXY_LEVELS.get(proxy["state"], "partial"), proxy["state"]),
        str(proxy["revision"]),
        str(proxy["pending"]),
        _certificate(proxy["expires"] - now) if told else "-",
        proxy["version"] if told else "-",
        f"{proxy['memory'] / 1_048_576:.1f} MiB" if told else "-",
        proxy["error"],
    )


def _certificate(left: float) -> str:
    """When a certificate ends, in words; with a sign when that is near or past."""
    if left <= 0:
        return output_module.status_text("bad", f"expired {format_duration(-left)} ago")
    words = f"expires in {format_duration(left)}"
    level: Level | None = "partial" if left < EXPIRES_SOON else None
    return output_module.status_text(level, words) if level else words


def format_duration(seconds: float) -> str:
    """A length of time in its largest whole unit, as people say it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
