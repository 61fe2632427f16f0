"""How logs of a sidecar are printed: parts under heads that name their source, as `tail -f` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli import console

SOURCES = {"proxy": "Envoy", "app": "app"}


def show(parts: Iterable[Mapping[str, Any]], last: str) -> str:
    """Print parts; a head stands where the source is another than `last`. The source of what came last."""
    for part in parts:
        if part["source"] != last:
            console.emit(console.safe(f"==> {SOURCES.get(part['source'], part['source'])}: {part['file']}"))
        last = part["source"]
        for line in part["text"].splitlines():
            console.emit(console.safe(line.replace("\t", "    ")))
    return last
