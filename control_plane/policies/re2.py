"""Regular expressions that Envoy accepts: RE2 syntax, checked before they are sent."""

from __future__ import annotations

import re
import warnings
from typing import Final

MAX_LENGTH: Final = 1024
MAX_REPETITIONS: Final = 1000

_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
# What Python's `re` supports and RE2 does not (github.com/google/re2/wiki/Syntax).
_GROUPS = re.compile(r"\(\?(=|!|<=|<!|>|P=|\(|#|[a-zA-Z]*[aLux])|[*+?}]\+")
_ESCAPES = re.compile(r"\\[1-9ZNuU]")


def check(pattern: str) -> str:
    """The pattern, if RE2 accepts it; raises ValueError with the reason otherwise.

    It is compiled with Python's `re` and searched for what RE2 does not support: look-around,
    back-references, atomic and possessive groups, some escapes and flags, more than 1000 repetitions.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression of {len(pattern)} characters: use at most {MAX_LENGTH}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Python's plans for `[[` and `&&`
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a valid regular expression ({error}): correct it") from None
    escapes = pattern.replace("\\\\", "")
    bare = _CLASS.sub("", re.sub(r"\\.", "", escapes, flags=re.DOTALL))
    if _GROUPS.search(bare) or _ESCAPES.search(escapes):
        raise ValueError(
            "Envoy's RE2 does not support look-around, back-references and the like: remove them"
        )
    counts = (int(bound) for bounds in _REPEAT.findall(bare) for bound in bounds if bound)
    if any(count > MAX_REPETITIONS for count in counts):
        raise ValueError(f"Envoy does not support a repetition above {MAX_REPETITIONS}: use a smaller one")
    return pattern
