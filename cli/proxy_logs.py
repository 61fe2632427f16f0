"""How the logs of a sidecar are printed: sections with a header for each source, as in `tail -f`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshwright.cli.output import echo, sanitize

SOURCES = {"proxy": "Envoy", "app": "app"}


def print_logs(parts: Iterable[Mapping[str, Any]], last_source: str) -> str:
    """Print parts, with a header where the source differs from the one before; returns the last source."""
    for part in parts:
        if part["source"] != last_source:
            echo(sanitize(f"==> {SOURCES.get(part['source'], part['source'])}: {part['file']}"))
        last_source = part["source"]
        for line in part["text"].splitlines():
            echo(sanitize(line.replace("\t", "    ")))
    return last_source
