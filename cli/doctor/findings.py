"""What a check finds: what is wrong, why it matters, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `error`: something fails now. `warning`: it may, or soon will."""

    check: str
    severity: Severity
    message: str
    why: str
    action: str


def named(items: Iterable[str], limit: int = 5) -> str:
    """The first items by name, and how many more there are."""
    texts = list(items)
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")


Findings = Iterator[Finding]
