"""`mesh logs`: the logs of apps and Envoys from every host, merged by time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import warn
from meshwright.cli.http import call_api
from meshwright.cli.instances import ServicesArgument, require_services
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo, flush, json_text, sanitize
from meshwright.cli.proxy import LOG_POLL_INTERVAL
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.log_lines import LogCursors, LogLine, merge_lines
from meshwright.control_plane.api.models.commands import ProxyLogs
from meshwright.control_plane.errors import InputError

DEFAULT_LINES = 100
MOST_LINES = 5000
"""Lines of each log that are searched when lines are selected: as many as an agent sends."""

PARALLEL_CALLS = 16
"""Agents whose logs are read at once."""

ProxyKey = tuple[str, str]
"""Service and name of a proxy."""


class LogsOutput(StrEnum):
    """The output format of `mesh logs`."""

    text = "text"
    json = "json"


class SourceChoice(StrEnum):
    """Whose log: that of the app or that of its Envoy."""

    app = "app"
    proxy = "proxy"


def logs(
    services: ServicesArgument = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow until Ctrl-C.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            metavar="N",
            min=0,
            max=MOST_LINES,
            help=f"Lines of each log. [default: {DEFAULT_LINES}]",
        ),
    ] = None,
    source: Annotated[
        SourceChoice | None, typer.Option("--source", help="Only the logs of apps, or only those of Envoys.")
    ] = None,
    grep: Annotated[
        str, typer.Option("--grep", "-g", metavar="REGEX", help="Only lines that match, in any case.")
    ] = "",
    trace: Annotated[
        str, typer.Option("--trace", metavar="ID", help="Only lines that contain this trace or request id.")
    ] = "",
    since: Annotated[
        float | None,
        typer.Option(
            "--since",
            metavar="DURATION",
            parser=duration_parser(1, 30 * 86_400),
            help="Only lines this young.",
        ),
    ] = None,
    output: Annotated[
        LogsOutput, typer.Option("--output", "-o", help="Output format; json: a line each.")
    ] = LogsOutput.text,
    state: StateOption = None,
) -> None:
    """Show the logs of services: every instance on every host, app and Envoy, by time.

    A line belongs where the first date and time in it says; one without stays behind the line before it.
    With --grep, --trace or --since, each log's last 5000 lines are searched.

    \b
    Example:
      mesh logs orders -f
      mesh logs orders inventory --since 10m --grep error
      mesh logs --trace 4bf92f3577b34da6a3ce929d0e0e4736
    """
    selected = _line_filter(grep, trace, time.time() - since if since else 0.0)
    count = lines if lines is not None else MOST_LINES if grep or trace or since else DEFAULT_LINES
    tail = LogTail(tuple(services or ()), source, count, state)
    tail.require_services()
    show = print_json if output is LogsOutput.json else print_text
    try:
        for batch in tail.batches(follow=follow):
            show(filter(selected, batch))
            flush()
    except KeyboardInterrupt:
        raise typer.Exit from None


def _line_filter(grep: str, trace: str, start: float) -> Callable[[LogLine], bool]:
    """Which lines are shown; raises InputError for a wrong regular expression."""
    try:
        pattern = re.compile(grep, re.IGNORECASE)
    except re.error as error:
        raise InputError(f"--grep: not a regular expression: {error}") from None
    trace = trace.lower()

    def selected(line: LogLine) -> bool:
        return (
            (not line.time or line.time >= start)
            and trace in line.text.lower()
            and pattern.search(line.text) is not None
        )

    return selected


@dataclass(slots=True)
class LogTail:
    """Reads the logs of some services' proxies (of all, if none is named): their ends, then what follows."""

    services: tuple[str, ...]
    source: SourceChoice | None
    lines: int
    state: Path | None
    _cursors: LogCursors = field(default_factory=LogCursors)
    _missing: set[ProxyKey | None] = field(default_factory=set)

    def require_services(self) -> None:
        """Raise NotFoundError for a service that has no proxy."""
        require_services(
            self.services, {proxy["service"] for proxy in call_api(calls.proxies(), self.state)["proxies"]}
        )

    def batches(self, *, follow: bool) -> Iterator[list[LogLine]]:
        """The ends of the logs, and then without end what follows them."""
        yield self._read()
        while follow:
            time.sleep(LOG_POLL_INTERVAL)
            yield self._read()

    def _read(self) -> list[LogLine]:
        """The lines that are new since the last call, by time. What cannot be read is named once."""
        try:
            listed = call_api(calls.proxies(), self.state)["proxies"]
        except (UnreachableError, ApiError) as error:
            self._skip(None, error)
            return []
        self._missing.discard(None)
        proxies = [
            (proxy["service"], proxy["name"])
            for proxy in listed
            if not self.services or proxy["service"] in self.services
        ]
        with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
            return merge_lines(line for part in pool.map(self._read_proxy, proxies) for line in part)

    def _read_proxy(self, proxy: ProxyKey) -> list[LogLine]:
        service, name = proxy
        call = calls.proxy_logs(f"{service}/{name}", self.lines, self._cursors.offsets(service, name))
        try:
            read = ProxyLogs.model_validate(call_api(call, self.state))
        except (UnreachableError, ApiError) as error:
            self._skip(proxy, error)
            return []
        self._missing.discard(proxy)
        lines = self._cursors.advance(service, name, read.logs)
        return [line for line in lines if self.source in (None, line.log.source)]

    def _skip(self, proxy: ProxyKey | None, error: UnreachableError | ApiError) -> None:
        """Say once what is missing for now; raises an error that lasts, such as a token without the right."""
        if isinstance(error, ApiError) and error.status < 500 and error.code != "not-found":
            raise error
        if proxy not in self._missing:
            self._missing.add(proxy)
            warn(str(error))


def print_text(lines: Iterable[LogLine]) -> None:
    """Print lines, each behind the instance that wrote it; `envoy` marks those of its Envoy."""
    for line in lines:
        source = "" if line.log.source == "app" else " envoy"
        echo(f"{sanitize(line.log.name)}{source} | {sanitize(line.text.replace(chr(9), '    '))}")


def print_json(lines: Iterable[LogLine]) -> None:
    """Print a JSON object for each line."""
    for line in lines:
        written = (
            datetime.fromtimestamp(line.time, UTC).isoformat(timespec="milliseconds") if line.time else None
        )
        echo(
            json_text(
                {
                    "time": written,
                    "service": line.log.service,
                    "instance": line.log.name,
                    "source": line.log.source,
                    "text": line.text,
                }
            )
        )
