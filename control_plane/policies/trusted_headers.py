"""Headers that only a proxy may set: what a caller sends under their names never reaches the application."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

MAX_HYPHENS = 4
"""Hyphens in the name of such a header: each spelling with underscores is removed, 2 to this power."""


def check_spelling(header: str) -> str:
    """The name in lower case; raises ValueError for one whose spellings are too many to remove."""
    if "_" in header or header.count("-") > MAX_HYPHENS:
        raise ValueError(f"header {header!r}: use hyphens, no underscores, and at most {MAX_HYPHENS}")
    return header.lower()


def spellings(header: str) -> Iterator[str]:
    """The names by which an application may read the header; CGI takes an underscore for a hyphen."""
    first, *rest = header.split("-")
    for separators in product("-_", repeat=len(rest)):
        yield first + "".join(map("".join, zip(separators, rest, strict=True)))
