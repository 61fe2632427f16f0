"""Characters beyond ASCII that the command line and the dashboard show are in the fonts of every terminal.

Windows Glyph List 4 is what Liberation Mono, DejaVu Sans Mono, Menlo and Consolas all cover. Box drawing and
block elements (U+2500 to U+259F) are drawn by the terminals themselves, and are allowed as a whole.
Characters that some terminals draw as emoji, two cells wide, are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from checks.source import Problem, SourceFile

SHOWN = ("cli/", "control_plane/", "tui/")
"""Folders whose text is shown in terminals."""

SYMBOLS = frozenset("–—‘’‚“”„†‡•…‰‹›ⁿ←↑→↓∂∆∏∑−√∞∩∫≈≠≡≤≥■□▬▲►▼◄◊○●◘◙◦")
"""Those of Windows Glyph List 4 beyond Latin-1 and letters, without emoji."""


def check(files: Iterable[SourceFile]) -> Iterator[Problem]:
    """Characters that a terminal may show as an empty box."""
    for file in files:
        for number, line in enumerate(file.text.splitlines(), 1):
            for char in sorted(set(line)):
                if not _is_common(char):
                    name = unicodedata.name(char, f"U+{ord(char):04X}")
                    problem = f"{char!r} ({name}) is not in the fonts of every terminal"
                    yield Problem(file.path, number, problem)


def _is_common(char: str) -> bool:
    return ord(char) < 0x100 or 0x2500 <= ord(char) <= 0x259F or char in SYMBOLS
