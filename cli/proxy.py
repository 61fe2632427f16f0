"""`mesh proxy NAME config|stats|logs|log-level`: looks into one sidecar, wherever it runs.

Its agent is asked through the control plane. While that is away an Envoy of this host is asked itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, StateOption
from meshwright.cli.proxies import format_duration
from meshwright.cli.proxy_logs import print_logs
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.spiffe import valid_name
from meshwright.control_plane.errors import InputError, NotFoundError

LOG_POLL_INTERVAL = 1.0
"""Seconds between two looks at logs that are followed."""

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
SECTIONS = ("listeners", "clusters", "routes", "endpoints")


class ProxyView(StrEnum):
    """What there is to see of a proxy."""

    config = "config"
    stats = "stats"
    logs = "logs"
    log_level = "log-level"


class ProxyOutput(StrEnum):
    """How it is printed."""

    text = "text"
    json = "json"
    yaml = "yaml"


_OPTION_VIEWS = {
    "--filter": {ProxyView.stats},
    "--lines": {ProxyView.logs},
    "--follow": {ProxyView.logs},
    "--for": {ProxyView.log_level},
    "a third word": {ProxyView.config, ProxyView.log_level},
}


def proxy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The proxy, as `mesh proxies` names it.")],
    view: Annotated[ProxyView, typer.Argument(help="config, stats, logs or log-level.")],
    what: Annotated[
        str,
        typer.Argument(
            metavar="[PART|LEVEL]",
            help="For config a part: listeners, clusters, routes, endpoints. For log-level a level, or "
            "LOGGER=LEVEL, to set it.",
        ),
    ] = "",
    *,
    pattern: Annotated[
        str, typer.Option("--filter", metavar="REGEX", help="For stats: only those that match this.")
    ] = "",
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, max=5000, help="For logs: of each. [default: 100]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="For logs: go on until Ctrl-C.")] = False,
    period: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="For a log level: until it is put back. [default: 10m]"),
    ] = "",
    output: Annotated[
        ProxyOutput | None,
        typer.Option("--output", "-o", help="text, json or yaml. [default: yaml for config]"),
    ] = None,
    state: StateOption = None,
) -> None:
    """Look into one sidecar: its Envoy's configuration, statistics and log level, its logs.

    Its agent is asked through the control plane, so this works from wherever that is reached. A log level is
    put back after --for. Private keys are never shown.

    \b
    Example:
      mesh proxy orders-1 config clusters -o json
      mesh proxy orders-1 stats --filter upstream_rq_5xx
      mesh proxy orders-1 logs -n 20 -f
      mesh proxy orders-1 log-level router=debug --for 5m
    """
    given = {"--filter": pattern, "--lines": lines is not None, "--follow": follow, "--for": period}
    for option, value in {**given, "a third word": what}.items():
        if value and view not in _OPTION_VIEWS[option]:
            raise InputError(f"{option} is not for {view}: see `mesh proxy --help`")
    if not valid_name(name):
        raise NotFoundError(f"no such proxy: {name[:100]}: see `mesh proxies`")
    match view:
        case ProxyView.config:
            _config(name, what, output or ProxyOutput.yaml, state)
        case ProxyView.stats:
            _stats(name, pattern, output or ProxyOutput.text, state)
        case ProxyView.logs:
            _logs(name, 100 if lines is None else lines, follow, output or ProxyOutput.text, state)
        case ProxyView.log_level:
            _log_level(name, what, period, output or ProxyOutput.text, state)


def _config(name: str, section: str, output: ProxyOutput, state: Path | None) -> None:
    if section and section not in SECTIONS:
        raise InputError(f"no such part of a configuration: {section}: there are {', '.join(SECTIONS)}")
    found = _fetch_or_local(name, state, calls.proxy_config(name, section), "config", section)
    shown = Output.json if output is ProxyOutput.json else Output.yaml
    output_module.print_data({"configs": found["configs"]}, shown)


def _stats(name: str, pattern: str, output: ProxyOutput, state: Path | None) -> None:
    found = _fetch_or_local(name, state, calls.proxy_stats(name, pattern), "stats", pattern)
    if output is not ProxyOutput.text:
        output_module.print_data({"stats": found["stats"]}, Output(output.value))
    else:
        for key, value in found["stats"].items():
            output_module.echo(output_module.sanitize(f"{key}: {value}"))
    if found["cut"]:
        warn("there are more: pick some by --filter")


def _fetch_or_local(name: str, state: Path | None, call: calls.ApiCall, what: str, argument: str) -> Any:
    """What the proxy's agent tells; while nobody passes that on, what an Envoy of this host tells itself."""
    try:
        return call_api(call, state)
    except UnreachableError as error:
        from meshwright.cli import envoy_local

        folder = envoy_local.proxy_folder(name, state)
        if folder is None:
            raise
        asking: Callable[[str, Path, str], Any] = getattr(envoy_local, what)
        try:
            found = asking(name, folder, argument)
        except CommandError:
            raise error from None
        warn(f"{error}; asked its Envoy on this host instead")
        return found


def _logs(name: str, lines: int, follow: bool, output: ProxyOutput, state: Path | None) -> None:
    parts = call_api(calls.proxy_logs(name, lines), state)["logs"]
    if not follow:
        if output is not ProxyOutput.text:
            output_module.print_data({"logs": parts}, Output(output.value))
            return
        print_logs(parts, "")
        return
    try:
        _follow(name, parts, output, state)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _follow(name: str, parts: list[dict[str, Any]], output: ProxyOutput, state: Path | None) -> None:
    last, away = "", False
    while True:
        fresh = [part for part in parts if part["text"]]
        if output is ProxyOutput.text:
            last = print_logs(fresh, last)
        else:
            for part in fresh:
                output_module.echo(json.dumps(part, ensure_ascii=False))
        output_module.flush()
        ends = {part["source"]: part["end"] for part in parts}
        time.sleep(LOG_POLL_INTERVAL)
        try:
            parts = call_api(calls.proxy_logs(name, after=ends), state)["logs"]
            away = False
        except (UnreachableError, ApiError) as error:
            # A control plane that has just started does not know its sidecars yet.
            if isinstance(error, ApiError) and error.status < 500 and error.code != "not-found":
                raise
            if not away:
                warn(f"{error}; trying on")
            away, parts = True, [{**part, "text": ""} for part in parts]


def _log_level(name: str, wanted: str, period: str, output: ProxyOutput, state: Path | None) -> None:
    if period and not wanted:
        raise InputError("--for needs a level to set: debug, or LOGGER=LEVEL")
    call = calls.log_level(name)
    if wanted:
        logger, _, level = wanted.rpartition("=")
        if level not in LEVELS:
            raise InputError(f"no such log level: {level[:40]}: there are {', '.join(LEVELS)}")
        call = calls.set_log_level(name, level, logger, _seconds(period or "10m"))
    found = call_api(call, state)
    if output is not ProxyOutput.text:
        output_module.print_data(found, Output(output.value))
        return
    _show_levels(found)


def _show_levels(found: Mapping[str, Any]) -> None:
    others = {name: level for name, level in found["loggers"].items() if level != found["level"]}
    name = "all others" if others else "all"
    output_module.print_table(("LOGGER", "LEVEL"), [*sorted(others.items()), (name, found["level"])])
    if found["returns_in"] is not None:
        output_module.echo(f"put back in {format_duration(found['returns_in'])}")


def _seconds(period: str) -> int:
    from meshwright.control_plane.policies.duration import parse

    try:
        return int(parse(period).total_seconds())
    except ValueError as error:
        raise InputError(f"--for: {error}") from None
