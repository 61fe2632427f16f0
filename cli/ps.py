"""`mesh ps`: every instance of the mesh, whatever host it runs on, and the services that do not run here."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from meshwright.cli.durations import format_duration
from meshwright.cli.instances import ServicesArgument, select_instances
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, echo, print_data, print_table, status_text, with_times
from meshwright.control_plane.api import mesh_locator

LEVELS: Mapping[str, Level] = {"healthy": "good", "draining": "partial", "unhealthy": "bad"}

HEADER = ("INSTANCE", "SERVICE", "STATE", "RESTARTS", "AGE", "HOST", "PID", "ADDRESS", "LABELS", "WHY")


def ps(
    services: ServicesArgument = None, output: OutputOption = Output.table, state: StateOption = None
) -> None:
    """List the instances: state, restarts, age, host, process, sidecar address and labels.

    Unhealthy ones come first. PID and AGE are those of the app's process on its host, `-` if its agent did
    not start it. ADDRESS is the sidecar's, which callers use. WHY says what is wrong with an unhealthy
    instance, or how the process ended before it was restarted. A service of this host's `mesh up` that has no
    instance, for example after `mesh stop`, is listed last as stopped (in JSON under `stopped`).

    \b
    Example:
      mesh ps
      mesh ps orders inventory
      mesh ps -o json | jq -r '.items[] | select(.health != "healthy").name'
    """
    idle = _idle_services(mesh_locator.located_state_dir(os.environ, state))
    instances = select_instances(state, services or (), idle)
    rows = sorted(instances, key=lambda item: (item["health"] == "healthy", item["service"], item["name"]))
    stopped = stopped_services(idle, {item["service"] for item in instances}, services or idle)
    if output is not Output.table:
        commands = [{"service": name, "start": command} for name, command in stopped.items()]
        print_data({"items": with_times(rows), "stopped": commands}, output)
        return
    now = time.time()
    lines = [instance_row(item, now) for item in rows]
    print_table(HEADER, [*lines, *(stopped_row(name, command) for name, command in stopped.items())])
    if not rows and not stopped:
        echo("no instances")


def _idle_services(folder: Path | None) -> Mapping[str, str]:
    """What `mesh up` in a state directory knows and does not run (see AppliedApplication.idle)."""
    if folder is None:
        return {}
    from meshwright.cli.reconcile.applied import load_applied

    applied = load_applied(folder)
    return applied.idle if applied else {}


def stopped_services(
    idle: Mapping[str, str], present: Collection[str], selected: Collection[str]
) -> dict[str, str]:
    """Those of `idle` that no host runs, with their commands."""
    return {name: command for name, command in idle.items() if name in selected and name not in present}


def stopped_row(name: str, command: str) -> tuple[str, ...]:
    """The cells of a service without an instance, one for each of HEADER."""
    state = status_text("off", "stopped")
    return ("-", name, state, *["-"] * (len(HEADER) - 4), f"start it with `{command}`")


def instance_row(item: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """The cells of an instance, one for each of HEADER."""
    process = item["process"]
    return (
        item["name"],
        item["service"],
        status_text(LEVELS.get(item["health"], "off"), item["health"]),
        str(item["restarts"]),
        format_duration(max(0.0, now - process["started"])) if process["started"] else "-",
        process["host"] or "-",
        str(process["pid"] or "-"),
        item["address"],
        ",".join(f"{key}={value}" for key, value in sorted(item["labels"].items())) or "-",
        item["reason"] or item["last_exit"],
    )
