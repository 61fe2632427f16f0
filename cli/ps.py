"""`mesh ps`: every instance of the mesh, whatever host it runs on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from meshwright.cli.durations import format_duration
from meshwright.cli.instances import ServicesArgument, select_instances
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, echo, print_items, print_table, status_text

LEVELS: Mapping[str, Level] = {"healthy": "good", "draining": "partial", "unhealthy": "bad"}

HEADER = ("INSTANCE", "SERVICE", "STATE", "RESTARTS", "AGE", "HOST", "PID", "ADDRESS", "LABELS", "WHY")


def ps(
    services: ServicesArgument = None, output: OutputOption = Output.table, state: StateOption = None
) -> None:
    """List the instances: state, restarts, age, host, process, sidecar address and labels.

    Unhealthy ones come first. PID and AGE are those of the app's process on its host, `-` if its agent did
    not start it. ADDRESS is the sidecar's, which callers use. WHY says what is wrong with an unhealthy
    instance, or how the process ended before it was restarted.

    \b
    Example:
      mesh ps
      mesh ps orders inventory
      mesh ps -o json | jq -r '.items[] | select(.health != "healthy").name'
    """
    instances = select_instances(state, services or ())
    rows = sorted(instances, key=lambda item: (item["health"] == "healthy", item["service"], item["name"]))
    if output is not Output.table:
        print_items(rows, output)
        return
    now = time.time()
    print_table(HEADER, [instance_row(item, now) for item in rows])
    if not rows:
        echo("no instances")


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
