"""The signs of states, one for each, as the command line and the dashboard show them before a word.

All are in the fonts that terminals come with (Windows Glyph List 4, which Liberation Mono, DejaVu Sans Mono,
Menlo and Consolas cover), are one cell wide, and are never drawn as emoji; `python -m checks` holds to that.
"""

from __future__ import annotations

GOOD = "●"
PARTIAL = "▲"
BAD = "×"
OFF = "○"

UNDER_WAY = "◊"
"""A revision that is watched, a rollout that progresses."""

BLOCKED = "■"
"""A circuit breaker that is open, or a call that was refused."""

PARTLY_BLOCKED = "□"
"""A circuit breaker that is open for some instances."""

ON_TRIAL = "±"
"""A circuit breaker that is half-open."""
