"""`mesh proxy NAME VIEW`: inspect one sidecar, wherever it runs, or evict it.

The control plane relays the request to the sidecar's agent. While the control plane is unreachable, an
Envoy on this host is queried directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser, format_duration
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, StateOption, author
from meshwright.cli.output import echo, flush, json_text, print_data, print_items, print_table, sanitize
from meshwright.cli.proxy_logs import print_logs
from meshwright.cli.resource_names import name_parser
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.resource_metadata import patch_marks
from meshwright.control_plane.api.spiffe import valid_name
from meshwright.control_plane.errors import InputError, NotFoundError

LOG_POLL_INTERVAL = 1.0
"""Seconds between two requests for new log lines."""

DEFAULT_LOG_LINES = 100
LOG_LEVEL_SECONDS = 600.0
"""How long a log level stays set if --for is not given."""

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
SECTIONS = ("listeners", "clusters", "routes", "endpoints")


class ProxyView(StrEnum):
    """What `mesh proxy` can show or do."""

    listeners = "listeners"
    routes = "routes"
    clusters = "clusters"
    endpoints = "endpoints"
    certs = "certs"
    config = "config"
    stats = "stats"
    logs = "logs"
    log_level = "log-level"
    evict = "evict"


class ProxyOutput(StrEnum):
    """The output format of `mesh proxy`."""

    text = "text"
    wide = "wide"
    json = "json"
    yaml = "yaml"


TABLES = {
    ProxyView.listeners,
    ProxyView.routes,
    ProxyView.clusters,
    ProxyView.endpoints,
    ProxyView.certs,
}
"""The views that are tables of parts of the configuration."""

_OPTION_VIEWS = {
    "--name": TABLES,
    "-o wide": TABLES,
    "--filter": {ProxyView.stats},
    "--lines": {ProxyView.logs},
    "--follow": {ProxyView.logs},
    "--for": {ProxyView.log_level},
    "--message": {ProxyView.evict},
    "SECTION|LEVEL": {ProxyView.config, ProxyView.log_level},
}
"""The views that each option applies to."""

ProxyArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        parser=name_parser("proxy"),
        help="The proxy, as listed by `mesh proxies`: NAME or SERVICE/NAME.",
    ),
]
ViewArgument = Annotated[
    ProxyView,
    typer.Argument(
        metavar="VIEW",
        help="A table: listeners, routes, clusters, endpoints or certs. Or config, stats, logs, log-level, "
        "evict.",
    ),
]
SectionOrLevelArgument = Annotated[
    str,
    typer.Argument(
        metavar="SECTION|LEVEL",
        help="For config, one section: listeners, clusters, routes or endpoints. For log-level, "
        "the level to set: LEVEL for all loggers, or LOGGER=LEVEL.",
    ),
]
FilterOption = Annotated[
    str, typer.Option("--filter", metavar="REGEX", help="For stats: only statistics that match.")
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="For logs: follow until Ctrl-C.")]
LinesOption = Annotated[
    int | None,
    typer.Option(
        "--lines", "-n", metavar="N", min=0, max=5000, help="For logs: lines of each log. [default: 100]"
    ),
]
PeriodOption = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        parser=duration_parser(1, 86_400),
        help="For log-level: reset the level after this time. [default: 10m]",
    ),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name", metavar="TEXT", help="For tables: only rows with TEXT in one of the first two columns."
    ),
]
ProxyOutputOption = Annotated[
    ProxyOutput | None,
    typer.Option(
        "--output", "-o", help="Output format; wide is for tables. [default: yaml for config, else text]"
    ),
]
MessageOption = Annotated[
    str, typer.Option("--message", "-m", metavar="TEXT", help="For evict: the reason, for the events.")
]


def proxy(
    name: ProxyArgument,
    view: ViewArgument,
    argument: SectionOrLevelArgument = "",
    *,
    text: NameOption = "",
    pattern: FilterOption = "",
    lines: LinesOption = None,
    follow: FollowOption = False,
    period: PeriodOption = None,
    message: MessageOption = "",
    output: ProxyOutputOption = None,
    state: StateOption = None,
) -> None:
    """Inspect one sidecar: Envoy's configuration, statistics, logs and log level. Or evict it.

    listeners, routes, clusters, endpoints and certs are tables of what Envoy has now, static configuration
    first; config is the complete dump. Routes are in the order in which Envoy tries them.

    The control plane relays the request, so this works wherever the sidecar runs. A log level is reset
    after --for. Private keys are redacted. A configuration that an EnvoyPatch changes starts with the list
    of patched resources.

    evict takes the sidecar out of the mesh: its certificate is refused and not renewed, its connections to
    the control plane are closed and its instances removed, until it enrols again, which a restart does.
    Revoke its join token as well if it must not come back.

    \b
    Example:
      mesh proxy orders-1 routes --name inventory -o wide
      mesh proxy orders-1 endpoints -o json | jq -r '.items[].address'
      mesh proxy orders-1 config clusters -o json
      mesh proxy orders-1 stats --filter upstream_rq_5xx
      mesh proxy orders-1 logs -n 20 -f
      mesh proxy orders-1 log-level router=debug --for 5m
      mesh proxy orders-1 evict -m "it does not answer"
    """
    used = {"--filter": pattern, "--lines": lines is not None, "--follow": follow, "--for": period}
    wide = output is ProxyOutput.wide
    others = {"--name": text, "-o wide": wide, "--message": message, "SECTION|LEVEL": argument}
    for option, value in {**used, **others}.items():
        if value and view not in _OPTION_VIEWS[option]:
            raise InputError(f"{option} does not apply to {view}: see `mesh proxy --help`")
    if not all(map(valid_name, name.split("/", 1))):
        raise NotFoundError(f"no such proxy: {name[:100]}: see `mesh proxies`")
    match view:
        case ProxyView.config:
            _config(name, argument, output or ProxyOutput.yaml, state)
        case ProxyView.stats:
            _stats(name, pattern, output or ProxyOutput.text, state)
        case ProxyView.logs:
            count = DEFAULT_LOG_LINES if lines is None else lines
            _logs(name, count, follow, output or ProxyOutput.text, state)
        case ProxyView.log_level:
            _log_level(name, argument, period, output or ProxyOutput.text, state)
        case ProxyView.evict:
            _evict(name, message, output or ProxyOutput.text, state)
        case _:
            _table(name, view, text, output or ProxyOutput.text, state)


def _table(name: str, view: ProxyView, text: str, output: ProxyOutput, state: Path | None) -> None:
    from meshwright.cli.proxy_tables.tables import proxy_table

    table = proxy_table(view.value)
    dump = _fetch_or_local(name, state, calls.proxy_config(name, table.section), "config", table.section)
    rows = table.select(dump["configs"], text)
    if output in (ProxyOutput.json, ProxyOutput.yaml):
        print_items(rows, Output(output.value))
        return
    wide, now = output is ProxyOutput.wide, time.time()
    print_table(table.header(wide=wide), [table.cells(row, now, wide=wide) for row in rows])
    if not rows:
        echo(f"no {view.value}" + (f" with {sanitize(text)} in a name" if text else ""))


def _evict(name: str, message: str, output: ProxyOutput, state: Path | None) -> None:
    result = call_api(calls.evict_proxy(name, author(), message), state)
    if output is not ProxyOutput.text:
        print_data(result, Output(output.value))
    else:
        echo(f"{result['service']}/{result['name']} evicted: it is refused until it enrols again")


def _config(name: str, section: str, output: ProxyOutput, state: Path | None) -> None:
    if section and section not in SECTIONS:
        raise InputError(f"no such section: {section}: use one of {', '.join(SECTIONS)}")
    dump = _fetch_or_local(name, state, calls.proxy_config(name, section), "config", section)
    marks = patch_marks(dump["configs"])
    shown = {"patched": [asdict(mark) for mark in marks]} if marks else {}
    data = {**shown, "configs": dump["configs"]}
    print_data(data, Output.json if output is ProxyOutput.json else Output.yaml)


def _stats(name: str, pattern: str, output: ProxyOutput, state: Path | None) -> None:
    result = _fetch_or_local(name, state, calls.proxy_stats(name, pattern), "stats", pattern)
    if output is not ProxyOutput.text:
        print_data({"stats": result["stats"]}, Output(output.value))
    else:
        for key, value in result["stats"].items():
            echo(sanitize(f"{key}: {value}"))
    if result["truncated"]:
        warn("output truncated: use --filter")


def _fetch_or_local(name: str, state: Path | None, call: calls.ApiCall, view: str, argument: str) -> Any:
    """The result of a call. If the control plane is unreachable, an Envoy on this host is queried instead."""
    try:
        return call_api(call, state)
    except UnreachableError as error:
        from meshwright.cli import envoy_local

        folder = envoy_local.proxy_folder(name, state)
        if folder is None:
            raise
        query: Callable[[str, Path, str], Any] = getattr(envoy_local, view)
        try:
            result = query(name, folder, argument)
        except CommandError:
            raise error from None
        warn(f"{error}; queried the Envoy on this host instead")
        return result


def _logs(name: str, lines: int, follow: bool, output: ProxyOutput, state: Path | None) -> None:
    parts = call_api(calls.proxy_logs(name, lines), state)["logs"]
    if not follow:
        if output is not ProxyOutput.text:
            print_data({"logs": parts}, Output(output.value))
            return
        print_logs(parts, "")
        return
    try:
        _follow(name, parts, output, state)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _follow(name: str, parts: list[dict[str, Any]], output: ProxyOutput, state: Path | None) -> None:
    last_source, disconnected = "", False
    while True:
        new_parts = [part for part in parts if part["text"]]
        if output is ProxyOutput.text:
            last_source = print_logs(new_parts, last_source)
        else:
            for part in new_parts:
                echo(json_text(part))
        flush()
        offsets = {part["source"]: part["end"] for part in parts}
        time.sleep(LOG_POLL_INTERVAL)
        try:
            parts = call_api(calls.proxy_logs(name, after=offsets), state)["logs"]
            disconnected = False
        except (UnreachableError, ApiError) as error:
            # A control plane that has just started does not know its sidecars yet.
            if isinstance(error, ApiError) and error.status < 500 and error.code != "not-found":
                raise
            if not disconnected:
                warn(f"{error}; retrying")
            disconnected, parts = True, [{**part, "text": ""} for part in parts]


def _log_level(
    name: str, setting: str, period: float | None, output: ProxyOutput, state: Path | None
) -> None:
    if period and not setting:
        raise InputError("--for needs a level to set: LEVEL or LOGGER=LEVEL")
    call = calls.log_level(name)
    if setting:
        logger, _, level = setting.rpartition("=")
        if level not in LEVELS:
            raise InputError(f"no such log level: {level[:40]}: use one of {', '.join(LEVELS)}")
        call = calls.set_log_level(name, level, logger, int(period or LOG_LEVEL_SECONDS))
    levels = call_api(call, state)
    if output is not ProxyOutput.text:
        print_data(levels, Output(output.value))
        return
    _print_levels(levels)


def _print_levels(levels: Mapping[str, Any]) -> None:
    others = {name: level for name, level in levels["loggers"].items() if level != levels["level"]}
    name = "all others" if others else "all"
    print_table(("LOGGER", "LEVEL"), [*sorted(others.items()), (name, levels["level"])])
    if levels["resets_in"] is not None:
        echo(f"resets in {format_duration(levels['resets_in'])}")
