"""How logs of a sidecar are printed: parts under heads that name their source, as `tail -f` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshwright.cli import output

SOURCES = {"proxy": "Envoy", "app": "app"}


def print_logs(parts: Iterable[Mapping[str, Any]], last: str) -> str:
    """Print parts; a head stands where the source is another than `last`. The source of what came last."""
    for part in parts:
        if part["source"] != last:
            output.echo(output.sanitize(f"==> {SOURCES.get(part['source'], part['source'])}: {part['file']}"))
        last = part["source"]
        for line in part["text"].splitlines():
            output.echo(output.sanitize(line.replace("\t", "    ")))
    return last
