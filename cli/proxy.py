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

from cli import console
from cli.connection import ask
from cli.failing import VerbError, warn
from cli.options import Output, StateOption
from cli.proxies import duration
from cli.proxy_logs import show
from control_plane.api import operations
from control_plane.api.failures import ApiError, UnreachableError
from control_plane.api.spiffe import valid_name
from control_plane.errors import InputError, NotFoundError

LOOK_EVERY = 1.0
"""Seconds between two looks at logs that are followed."""

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
SECTIONS = ("listeners", "clusters", "routes", "endpoints")


class View(StrEnum):
    """What there is to see of a proxy."""

    config = "config"
    stats = "stats"
    logs = "logs"
    log_level = "log-level"


class Format(StrEnum):
    """How it is printed."""

    text = "text"
    json = "json"
    yaml = "yaml"


_TAKES = {
    "--filter": {View.stats},
    "--lines": {View.logs},
    "--follow": {View.logs},
    "--for": {View.log_level},
    "a third word": {View.config, View.log_level},
}


def proxy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The proxy, as `mesh proxies` names it.")],
    view: Annotated[View, typer.Argument(help="config, stats, logs or log-level.")],
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
        Format | None, typer.Option("--output", "-o", help="text, json or yaml. [default: yaml for config]")
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
        if value and view not in _TAKES[option]:
            raise InputError(f"{option} is not for {view}: see `mesh proxy --help`")
    if not valid_name(name):
        raise NotFoundError(f"no such proxy: {name[:100]}: see `mesh proxies`")
    match view:
        case View.config:
            _config(name, what, output or Format.yaml, state)
        case View.stats:
            _stats(name, pattern, output or Format.text, state)
        case View.logs:
            _logs(name, 100 if lines is None else lines, follow, output or Format.text, state)
        case View.log_level:
            _log_level(name, what, period, output or Format.text, state)


def _config(name: str, section: str, output: Format, state: Path | None) -> None:
    if section and section not in SECTIONS:
        raise InputError(f"no such part of a configuration: {section}: there are {', '.join(SECTIONS)}")
    found = _told(name, state, operations.proxy_config(name, section), "config", section)
    shown = Output.json if output is Format.json else Output.yaml
    console.data({"configs": found["configs"]}, shown)


def _stats(name: str, pattern: str, output: Format, state: Path | None) -> None:
    found = _told(name, state, operations.proxy_stats(name, pattern), "stats", pattern)
    if output is not Format.text:
        console.data({"stats": found["stats"]}, Output(output.value))
    else:
        for key, value in found["stats"].items():
            console.emit(console.safe(f"{key}: {value}"))
    if found["cut"]:
        warn("there are more: pick some by --filter")


def _told(name: str, state: Path | None, call: operations.Call, what: str, argument: str) -> Any:
    """What the proxy's agent tells; while nobody passes that on, what an Envoy of this host tells itself."""
    try:
        return ask(call, state)
    except UnreachableError as error:
        from cli import local_proxy

        folder = local_proxy.folder_of(name, state)
        if folder is None:
            raise
        asking: Callable[[str, Path, str], Any] = getattr(local_proxy, what)
        try:
            found = asking(name, folder, argument)
        except VerbError:
            raise error from None
        warn(f"{error}; asked its Envoy on this host instead")
        return found


def _logs(name: str, lines: int, follow: bool, output: Format, state: Path | None) -> None:
    parts = ask(operations.proxy_logs(name, lines), state)["logs"]
    if not follow:
        if output is not Format.text:
            console.data({"logs": parts}, Output(output.value))
            return
        show(parts, "")
        return
    try:
        _follow(name, parts, output, state)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _follow(name: str, parts: list[dict[str, Any]], output: Format, state: Path | None) -> None:
    last, away = "", False
    while True:
        fresh = [part for part in parts if part["text"]]
        if output is Format.text:
            last = show(fresh, last)
        else:
            for part in fresh:
                console.emit(json.dumps(part, ensure_ascii=False))
        console.flush()
        ends = {part["source"]: part["end"] for part in parts}
        time.sleep(LOOK_EVERY)
        try:
            parts = ask(operations.proxy_logs(name, after=ends), state)["logs"]
            away = False
        except (UnreachableError, ApiError) as error:
            # A control plane that has just started does not know its sidecars yet.
            if isinstance(error, ApiError) and error.status < 500 and error.code != "not-found":
                raise
            if not away:
                warn(f"{error}; trying on")
            away, parts = True, [{**part, "text": ""} for part in parts]


def _log_level(name: str, wanted: str, period: str, output: Format, state: Path | None) -> None:
    if period and not wanted:
        raise InputError("--for needs a level to set: debug, or LOGGER=LEVEL")
    call = operations.log_level(name)
    if wanted:
        logger, _, level = wanted.rpartition("=")
        if level not in LEVELS:
            raise InputError(f"no such log level: {level[:40]}: there are {', '.join(LEVELS)}")
        call = operations.set_log_level(name, level, logger, _seconds(period or "10m"))
    found = ask(call, state)
    if output is not Format.text:
        console.data(found, Output(output.value))
        return
    _show_levels(found)


def _show_levels(found: Mapping[str, Any]) -> None:
    others = {name: level for name, level in found["loggers"].items() if level != found["level"]}
    name = "all others" if others else "all"
    console.table(("LOGGER", "LEVEL"), [*sorted(others.items()), (name, found["level"])])
    if found["returns_in"] is not None:
        console.emit(f"put back in {duration(found['returns_in'])}")


def _seconds(period: str) -> int:
    from control_plane.policies.duration import parse

    try:
        return int(parse(period).total_seconds())
    except ValueError as error:
        raise InputError(f"--for: {error}") from None
