"""Lines about the progress of long work, printed at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from meshwright.cli.output import SIGNS, Level, colorize, echo, flush

ReportProgress = Callable[[Level, str, str], None]
"""Reports the progress of one part: level, name, message."""


def print_progress(level: Level, name: str, message: str) -> None:
    """Print a line about a part."""
    print_line(colorize(f"{SIGNS[level]} {name:<16} {message}"))


def print_line(line: str) -> None:
    """Print and flush a line. If stdout is closed, the work goes on, and ends later, without output."""
    try:
        echo(line)
        flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of this process
