"""A push in words, as `mesh status` and `mesh push status` show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def push_text(report: Mapping[str, Any]) -> str:
    """One line about the push of a PushReport; empty if none is under way."""
    push = report["push"]
    if report["newest"] == report["stable"]:
        return f"revision {report['stable']} in force, still watched" if push else ""
    start = f"revision {report['newest']} on trial, {report['stable']} in force"
    if not push or not push["wave"]:
        return (
            f"{start}: {'paused before the first wave' if push and push['state'] == 'paused' else 'starting'}"
        )
    doing = "waiting for ACKs" if push["phase"] == "acks" else "watching"
    reached = f"{len(push['admitted'])} of {push['affected']} proxies"
    state = ", paused" if push["state"] == "paused" else ""
    wave = f"wave {push['wave']}" + (f" of {push['waves']}" if push.get("waves") else "")
    return f"{start}: {wave}, {reached}, {doing}{state}"
