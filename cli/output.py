"""Printing: tables, JSON, YAML, signs. Colour only on a terminal, and never when NO_COLOR is set."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from meshwright.cli.options import Output

Level = Literal["good", "partial", "bad", "off"]

SIGNS: dict[Level, str] = {"good": "●", "partial": "◐", "bad": "✖", "off": "○"}
_COLOURS: dict[str, str] = {"●": "32", "◐": "33", "✖": "31", "○": "90"}


def echo(text: str) -> None:
    """Print text to stdout, with one newline at its end."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def flush() -> None:
    """Let what was printed be read now, by a pipe too."""
    sys.stdout.flush()


def print_data(value: Any, output: Output) -> None:
    """Print a value as JSON or YAML."""
    if output is Output.json:
        echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from meshwright.control_plane.api.yaml.dump import dump_yaml

    echo(dump_yaml([value]))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a head; the last column is as long as it likes."""
    body = [[sanitize(str(cell)) for cell in row] for row in rows]
    if not body:
        return
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    for row in [list(head), *body]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        echo(colorize(line))


def status_text(level: Level, words: str) -> str:
    """A sign and its words."""
    return f"{SIGNS[level]} {words}"


def colorize(line: str) -> str:
    """The line with its signs in colour where the terminal shows colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return line
    return "".join(f"\x1b[{_COLOURS[c]}m{c}\x1b[0m" if c in _COLOURS else c for c in line)


def sanitize(cell: str) -> str:
    """Foreign text without control characters, on one line."""
    return "".join(c if c.isprintable() else " " for c in cell)
