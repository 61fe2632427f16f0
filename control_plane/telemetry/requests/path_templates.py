"""Observed paths as templates: segments that look like IDs, or that have many alternatives, are `{id}`. Pure.

So the paths of a service stay few, and an Authorization can name them (policies/authorization/matches.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from meshwright.control_plane.policies.ambiguous_path import is_ambiguous

ANY = ""
"""The template of paths that no rule can name, or of too many."""

ID = "{id}"

MAX_ALTERNATIVES = 10
"""Segments at one place of a path; if there are more, they are IDs such as names of users."""

MAX_LENGTH = 500
"""Characters of a path. Longer ones are cut in the request log."""

_TEXT = re.compile(r"[A-Za-z0-9_.~!$&'()+,=:@-]*")
"""A segment that a rule can name (RFC 3986, pchar, without what is escaped)."""

_LOOKS_LIKE_ID = re.compile(
    r"-?[0-9]+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?=.*[0-9])[0-9a-fA-F]{8,}"
    r"|(?=(?:[^0-9]*[0-9]){3})[A-Za-z0-9_.~=-]{16,}"
)
"""Numbers, UUIDs, hexadecimal digests, and long words with three digits: ULIDs, base64."""

_GRPC_CALL = re.compile(r"/[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*/[A-Za-z_]\w*", re.ASCII)


def template_of(path: str, *, grpc: bool = False) -> str:
    """The template of a path without its query; ANY if a rule cannot name the path.

    That of a gRPC call names a service and a method, which have no IDs.
    """
    if not path.startswith("/") or len(path) > MAX_LENGTH or is_ambiguous(path):
        return ANY
    if grpc and _GRPC_CALL.fullmatch(path):
        return path
    return "/".join(_generalized(segment) for segment in path.split("/"))


def is_template(path: str) -> bool:
    """Whether it has a segment that may be anything."""
    return ID in path.split("/")


def matches(template: str, path: str) -> bool:
    """Whether a template covers a path or another template."""
    expected, segments = template.split("/"), path.split("/")
    return len(expected) == len(segments) and all(
        each in (ID, segment) for each, segment in zip(expected, segments, strict=True)
    )


def collapse(templates: Iterable[str]) -> dict[str, str]:
    """Each template as it is when places with too many alternatives are IDs."""
    rows = {template: template.split("/") for template in templates if template != ANY}
    by_length: defaultdict[int, list[list[str]]] = defaultdict(list)
    for row in rows.values():
        by_length[len(row)].append(row)
    for length, alike in by_length.items():
        for place in range(1, length):
            _collapse_place(alike, place)
    return {template: "/".join(row) for template, row in rows.items()}


def _collapse_place(rows: Iterable[list[str]], place: int) -> None:
    """Generalise this segment of those rows that are the same before it."""
    groups: defaultdict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[:place])].append(row)
    for group in groups.values():
        if len({row[place] for row in group}) > MAX_ALTERNATIVES:
            for row in group:
                row[place] = ID


def _generalized(segment: str) -> str:
    is_text = _TEXT.fullmatch(segment) and not _LOOKS_LIKE_ID.fullmatch(segment)
    return segment if is_text else ID
