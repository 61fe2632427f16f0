"""Regular expressions that Envoy accepts: validation compiles them with RE2, as Envoy does."""

from __future__ import annotations

from typing import Final

MAX_LENGTH: Final = 1024

MAX_PROGRAM_SIZE: Final = 10_000
"""Instructions of a compiled expression. Sidecars start Envoy with the same limit."""

_MEMORY: Final = 2 << 20
"""Bytes for the compiler: enough for an expression of that size, and a larger one fails in milliseconds."""


def check(pattern: str) -> str:
    """The pattern, if Envoy accepts it; raises ValueError with the reason otherwise."""
    import re2  # noqa: PLC0415  takes 50 ms to load, and few policies have a regular expression

    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression of {len(pattern)} characters: use at most {MAX_LENGTH}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        size = re2.compile(pattern, options).programsize
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "not supported"
        raise ValueError(f"not a valid regular expression for Envoy's RE2 ({reason}): correct it") from None
    if size > MAX_PROGRAM_SIZE:
        raise ValueError(
            f"a regular expression of {size} RE2 instructions, above {MAX_PROGRAM_SIZE}: "
            "use fewer repetitions"
        )
    return pattern


def fullmatch(pattern: str, text: str) -> bool:
    """Whether a valid pattern matches all of the text."""
    import re2  # noqa: PLC0415  see check

    return re2.fullmatch(pattern, text) is not None


def substitute(pattern: str, substitution: str, text: str) -> str:
    r"""The text with each match replaced; `\1` in the substitution is the first group."""
    import re2  # noqa: PLC0415  see check

    result: str = re2.sub(pattern, substitution, text)
    return result
