"""The path of a request as a gateway's Envoy normalises it, before routes and rules see it. Pure.

For questions about a request that is not made; `edge.apply` configures it. Envoy normalises as browsers do:
RFC 3986, section 6.2.2, with a backslash as a slash. Then it merges slashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_REFUSED = re.compile(r"#|%2f|%5c", re.IGNORECASE)
_ESCAPED_UNRESERVED = re.compile(r"%(2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)", re.IGNORECASE)


def normalized(path: str) -> str | None:
    """The path, with its query; None if Envoy responds 400: a fragment, or an escaped slash or backslash."""
    path, mark, query = path.partition("?")
    if _REFUSED.search(path):
        return None
    path = _ESCAPED_UNRESERVED.sub(lambda match: chr(int(match[1], 16)), path).replace("\\", "/")
    segments: list[str] = []
    for segment in _segments(path):
        if segment == "..":
            del segments[-1:]
        else:
            segments.append(segment)
    return re.sub("//+", "/", "/" + "/".join(segments)) + mark + query


def _segments(path: str) -> Iterator[str]:
    """The segments without `.`; one that ends with a dot segment ends with a slash."""
    segments = path.removeprefix("/").split("/")
    yield from (segment for segment in segments if segment != ".")
    if segments[-1] in (".", ".."):
        yield ""
