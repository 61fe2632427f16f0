"""Printing: tables, JSON, YAML and status signs. Colour only on a terminal, and never with NO_COLOR set."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from meshwright.cli.options import Output
from meshwright.control_plane.api import signs

Level = Literal["good", "partial", "bad", "off"]

SIGNS: dict[Level, str] = {"good": signs.GOOD, "partial": signs.PARTIAL, "bad": signs.BAD, "off": signs.OFF}
TIMES = frozenset({"time", "start", "started", "since", "created", "expires", "at"})
"""Fields of the admin API that hold epoch seconds."""

_COLOURS: dict[str, str] = {signs.GOOD: "32", signs.PARTIAL: "33", signs.BAD: "31", signs.OFF: "90"}
_SIGN = re.compile(rf"(?<!\d )[{''.join(_COLOURS)}]")
"""A sign; between numbers `×` is a multiplication."""


def echo(text: str) -> None:
    """Print text to stdout with exactly one newline at its end. Sanitize text from the mesh first."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def flush() -> None:
    """Flush stdout, so that a pipe gets the lines now."""
    sys.stdout.flush()


def print_data(value: Any, output: Output) -> None:
    """Print a value as JSON or YAML."""
    if output is Output.json:
        echo(json_text(value, indent=2))
        return
    from meshwright.control_plane.api.yaml.dump import dump_yaml

    echo(dump_yaml([value]))


def print_items(items: Sequence[Mapping[str, Any]], output: Output) -> None:
    """Print a list as JSON or YAML: under `items`, with times in RFC 3339."""
    print_data({"items": with_times(items)}, output)


def with_times(value: Any) -> Any:
    """A value of the admin API with its times, which are in epoch seconds, in RFC 3339; null where unset."""
    if isinstance(value, Mapping):
        return {
            key: rfc3339(inner) if key in TIMES and isinstance(inner, int | float) else with_times(inner)
            for key, inner in value.items()
        }
    return list(map(with_times, value)) if isinstance(value, list | tuple) else value


def rfc3339(seconds: float) -> str | None:
    """A time as in RFC 3339, in UTC with milliseconds; None for 0."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON. Characters that a terminal could interpret are escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a header; nothing without rows. The last column is not padded."""
    lines = table_lines(header, rows)
    for line in lines if len(lines) > 1 else ():
        echo(colorize(line))


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, without colour; the header is the first."""
    body = [[sanitize(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [list(header), *body]
    ]


def status_text(level: Level, text: str) -> str:
    """A text behind the sign of its level."""
    return f"{SIGNS[level]} {text}"


def colorize(line: str) -> str:
    """The line with its signs in colour, if stdout is a terminal that shows colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return line
    return _SIGN.sub(lambda match: f"\x1b[{_COLOURS[match[0]]}m{match[0]}\x1b[0m", line)


def sanitize(text: str) -> str:
    """Untrusted text on one line, its control characters replaced by spaces."""
    return "".join(c if c.isprintable() else " " for c in text)
