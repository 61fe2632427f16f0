"""Paths that apps may read in two ways, as regular expressions in RE2's syntax.

An app may resolve `/public/../admin` or `/public//x`, unescape `/%61dmin` or `%2F`, drop `;x`, and so see a
path that another rule is for.
"""

from __future__ import annotations

import re
from functools import cache

_SLASHES = r"//|\\|%2[fF]|%5[cC]"
_UNRESERVED = r"%2[dDeE]|%3[0-9]|%[46][1-9a-fA-F]|%[57][0-9aA]|%5[fF]|%7[eE]"
"""Escaped letters, digits, `-`, `.`, `_` and `~`, which mean the same unescaped (RFC 3986, section 2.3)."""
_ANY = r"\C*"
"""Any bytes: `.` does not match one that is not UTF-8."""
_DOTS = rf"{_ANY}/\.{{1,2}}(?:/{_ANY})?"

_PARAMETERS = r";|%3[bB]"
"""Parameters of a segment, which servlet containers drop (RFC 3986, section 3.3)."""
_CONTROLS = r"%[01][0-9a-fA-F]|%7[fF]"
_TWICE = r"%25[0-9a-fA-F]{2}|%23|%3[fF]"
"""What is escaped twice, and escaped ends of a path."""

NORMALISED = rf"{_ANY}(?:{_SLASHES}|{_UNRESERVED}){_ANY}|{_DOTS}"
"""Paths that normalisation (RFC 3986, section 6.2.2) or a careless app changes."""

AMBIGUOUS = rf"{_ANY}(?:{_SLASHES}|{_UNRESERVED}|{_PARAMETERS}|{_CONTROLS}|{_TWICE}){_ANY}|{_DOTS}"
"""These, and paths that some server cuts short or unescapes again."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(_ANY, ".*"), re.DOTALL)


def is_ambiguous(path: str, pattern: str = AMBIGUOUS) -> bool:
    """Whether a path without its query matches one of these patterns."""
    return _compiled(pattern).fullmatch(path) is not None
