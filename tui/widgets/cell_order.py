"""The order of cells by what they show: figures by value, names with their numbers in order. Pure."""

from __future__ import annotations

import re

from meshwright.tui.format import NO_VALUE

_UNITS = {
    "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    "%": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
"""The units of `tui/format.py`; durations in seconds."""

_FIGURE = re.compile(r"<?(-?\d+(?:\.\d+)?) ?([A-Za-z%]*)(?:/\d+)?")
"""`412`, `12.4k`, `<0.01`, `3 min`, `1/2`."""

CellOrder = tuple[int, float, tuple[tuple[bool, int, str], ...]]
"""The rank of its sort of value, the figure, and the text as words and numbers."""


def is_blank(text: str) -> bool:
    """Whether a cell shows no value. Such cells come last in every order."""
    return text.strip() in {"", NO_VALUE}


def cell_order(text: str) -> CellOrder:
    """The key of a cell: low figures before high ones, figures before names, `front-2` before `front-10`."""
    figure = _FIGURE.fullmatch(text.strip())
    if figure and figure[2] in _UNITS:
        return 0, float(figure[1]) * _UNITS[figure[2]], ()
    parts = re.findall(r"\d+|\D+", text.casefold())
    return 1, 0.0, tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)
