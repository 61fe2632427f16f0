"""Arguments that name a service, proxy or policy: NAME, or KIND/NAME as `mesh get -o name` prints it."""

from __future__ import annotations

from collections.abc import Callable


def name_parser(*kinds: str) -> Callable[[str], str]:
    """The parser of an argument that takes a name, with one of these kinds before it or without."""
    prefixes = tuple(f"{word}/" for kind in kinds for word in (kind, plural(kind)))

    def parse(text: str) -> str:
        prefix = next((prefix for prefix in prefixes if text.lower().startswith(prefix)), "")
        return text[len(prefix) :] or text

    return parse


def plural(kind: str) -> str:
    """The plural of a kind, in lower case: `services`, `proxies`."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
