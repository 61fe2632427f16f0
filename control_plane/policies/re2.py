"""Regular expressions as Envoy takes them: RE2's, checked before they are sent."""

from __future__ import annotations

import re
import warnings
from typing import Final

MAX_LENGTH: Final = 1024

_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
# What Python's `re` has and RE2 lacks (github.com/google/re2/wiki/Syntax).
_GROUPS = re.compile(r"\(\?(=|!|<=|<!|>|P=|\(|#|[a-zA-Z]*[aLux])|[*+?}]\+")
_ESCAPES = re.compile(r"\\[1-9ZNuU]")


def check(pattern: str) -> str:
    """The pattern, when RE2 takes it; raises ValueError with the reason when it does not.

    It is compiled with Python's `re` and searched for what RE2 has not: look-around, back-references, atomic
    and possessive groups, some escapes and flags, more than 1000 repetitions.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression of {len(pattern)} characters: {MAX_LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of Python's own plans for `[[` and `&&`
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression ({error}): correct it") from None
    escapes = pattern.replace("\\\\", "")
    bare = _CLASS.sub("", re.sub(r"\\.", "", escapes, flags=re.DOTALL))
    if _GROUPS.search(bare) or _ESCAPES.search(escapes):
        raise ValueError("look-around, back-references and the like are unknown to Envoy's RE2: do without")
    if any(int(bound) > 1000 for pair in _REPEAT.findall(bare) for bound in pair if bound):
        raise ValueError("a repetition above 1000 is more than Envoy takes: use a smaller one")
    return pattern
