"""`mesh at`: the mesh as it was at a time of the last hours."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from meshwright.cli.durations import format_clock
from meshwright.cli.events import format_event
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import (
    Level,
    colorize,
    echo,
    print_data,
    print_table,
    rfc3339,
    sanitize,
    status_text,
    with_times,
)
from meshwright.cli.past_times import format_ago, parse_past_time
from meshwright.cli.revisions import changes_text
from meshwright.cli.status import HEALTH_LEVELS, verdict_level
from meshwright.cli.topology import EDGE_HEADER, edge_row, format_latency, format_percent
from meshwright.cli.usage import Click, MeshCommand
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.problem_text import problem_text, verdict_line

MAX_PROBLEMS = MAX_EDGES = MAX_EVENTS = 8
"""Problems and edges, the worst first, and events that are shown without --all."""

GAP_SECONDS = 120.0
"""Seconds between the time that was asked for and the moment from which on it is said: two minutes' steps."""

SERVICE_HEADER = ("SERVICE", "HEALTH", "INSTANCES", "RPS", "SUCCESS", "P50", "P99", "BREAKER")

_WORST_FIRST = ("unhealthy", "degraded", "unknown", "healthy", "idle")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class PastCommand(MeshCommand):
    """A command whose argument may be `-10m`, which is no option."""

    def parse_args(self, ctx: Click, args: list[str]) -> list[str]:
        """Read `-10m` as `10m`: both are ten minutes ago."""
        plain = [word[1:] if re.match(r"-[0-9]", word) else word for word in args]
        parsed: list[str] = super().parse_args(ctx, plain)
        return parsed


@app.command(
    cls=PastCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def at(
    when: Annotated[
        str,
        typer.Argument(metavar="TIME", help="14:32, 14:32:10, -10m, 2026-12-02 14:32, or as in RFC 3339."),
    ],
    show_all: Annotated[
        bool, typer.Option("--all", help="All problems, policies, services, edges, and 50 events.")
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show the mesh as it was: verdict, revision and who made it, services, the worst edges, events.

    A moment is recorded every ten seconds. All of the last hour are kept, and one a minute of the last day
    (`MESH_HISTORY_HOURS` sets another time, `MESH_HISTORY_MB` the most that the store keeps). Times without a
    zone are local; -10m is ten minutes ago.

    \b
    Example:
      mesh at 14:32
      mesh at -10m
      mesh at 2026-12-02T14:32:10Z -o json | jq .moment.verdict
    """
    now = time.time()
    try:
        instant = parse_past_time(when.strip(), now)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="TIME") from None
    past = call_api(calls.moment(instant), state)
    if output is not Output.table:
        recorded = {name: rfc3339(seconds) for name, seconds in past["recorded"].items()}
        print_data({**with_times(past), "recorded": recorded}, output)
        return
    _print_head(past, now, show_all=show_all)
    _print_services(past["moment"], show_all=show_all)
    _print_edges(past["moment"]["topology"]["edges"], show_all=show_all)
    _print_events(past["events"], show_all=show_all)


def _print_head(past: Mapping[str, Any], now: float, *, show_all: bool) -> None:
    moment = past["moment"]
    echo(f"{_clock(moment['time'])}, {format_ago(now - moment['time'])}")
    if past["at"] - moment["time"] > GAP_SECONDS:
        later = past["recorded"]["later"]
        until = f"until {_clock(later)}" if later else "after that"
        echo(colorize(status_text("partial", f"nothing was recorded {until}")))
    verdict = moment["verdict"]
    echo(colorize(sanitize(status_text(verdict_level(verdict), verdict_line(verdict, format_clock)))))
    problems = verdict["problems"] if len(verdict["problems"]) > 1 else ()
    for problem in problems if show_all else problems[:MAX_PROBLEMS]:
        level: Level = "bad" if problem["severity"] == "error" else "partial"
        echo(colorize(sanitize(f"  {status_text(level, problem_text(problem, format_clock))}")))
    echo(sanitize(_revision(moment["revision"], past["info"])))
    policies = past["policies"]
    names = ", ".join(policies) if show_all else f"see `mesh show {moment['revision']}`"
    echo(sanitize(f"policies in force: {len(policies)}{f' ({names})' if policies else ''}"))


def _revision(number: int, info: Mapping[str, Any] | None) -> str:
    if info is None:
        return f"revision {number}"
    message = f': "{info["message"]}"' if info["message"] else ""
    changed = f" ({changes_text(info['changed'])})" if info["changed"] else ""
    return f"revision {number} of {_clock(info['time'])} by {info['author']}{message}{changed}"


def _print_services(moment: Mapping[str, Any], *, show_all: bool) -> None:
    rows = [row for row in moment["services"]["services"] if show_all or row["health"] != "idle"]
    rows.sort(key=lambda row: (_WORST_FIRST.index(row["health"]), row["name"]))
    echo("")
    print_table(SERVICE_HEADER, [_service_row(row) for row in rows])
    if not rows:
        echo("there was no service")


def _service_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        status_text(HEALTH_LEVELS.get(row["health"], "off"), row["health"]),
        "-" if row["role"] != "service" else f"{row['healthy']}/{row['instances']}",
        f"{row['rps']:.1f}/s",
        format_percent(row["success"]) if row["rps"] > 0 else "-",
        format_latency(row["p50_ms"]),
        format_latency(row["p99_ms"]),
        "-" if row["breaker"] == "none" else row["breaker"],
    )


def _print_edges(edges: Sequence[Mapping[str, Any]], *, show_all: bool) -> None:
    if not edges:
        return
    worst = sorted(edges, key=lambda edge: (edge["success"], -edge["p99_ms"]))
    shown = worst if show_all else worst[:MAX_EDGES]
    more = f", {len(edges) - len(shown)} more with --all" if len(shown) < len(edges) else ""
    echo("")
    echo(f"edges, the worst first{more}")
    print_table(EDGE_HEADER, [edge_row(edge) for edge in shown])


def _print_events(events: Sequence[Mapping[str, Any]], *, show_all: bool) -> None:
    if not events:
        return
    echo("")
    echo("events until then")
    for event in reversed(events if show_all else events[:MAX_EVENTS]):
        echo(format_event(event))


def _clock(seconds: float) -> str:
    """Local time with seconds, and the date if it is not today's."""
    local = time.localtime(seconds)
    is_today = local[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", local)
