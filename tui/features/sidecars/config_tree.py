"""An Envoy's configuration dump as a tree: labels of the branches, and search. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.resource_metadata import patch_marks, patched_by
from meshwright.tui.format import sanitize

MATCH_LIMIT = 200
"""Matches that are shown. With more of them a narrower search is needed."""

VALUE_LIMIT = 160
"""Characters of a value that are shown."""

NAME_FIELDS = ("name", "cluster_name", "stat_prefix", "@type", "prefix", "key", "version_info")
"""Fields that name an item of a list, the most telling first."""

WRAPPER_FIELDS = (
    "cluster",
    "listener",
    "route_config",
    "endpoint_config",
    "active_state",
    "secret",
    "endpoint",
)
"""Fields in which an item of a dump wraps the named object."""


def branches(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object or list with their labels."""
    if isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list):
        yield from ((f"{index} {name_of(part)}".strip(), part) for index, part in enumerate(value))


def sections(configs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The sections of a dump by name: bootstrap, clusters, listeners, ..."""
    for config in configs:
        kind = str(config.get("@type", "")).rpartition(".")[2].removesuffix("ConfigDump")
        parts = {key: part for key, part in config.items() if key != "@type"}
        yield kind.lower() or "configuration", parts


def name_of(value: Any) -> str:
    """The name of an item; empty if it has none."""
    if not isinstance(value, Mapping):
        return ""
    for field in NAME_FIELDS:
        if isinstance(value.get(field), str) and field != "version_info":
            return str(value[field]).rpartition("/")[2] if field == "@type" else str(value[field])
    for field in WRAPPER_FIELDS:
        if field in value and (name := name_of(value[field])):
            return name
    return ""


def is_leaf(value: Any) -> bool:
    """Whether there is nothing to expand."""
    return not isinstance(value, Mapping | list) or not value


def patches_of(value: Any) -> tuple[str, ...]:
    """The policies that patched an item of a dump or the resource that it wraps, as `Kind/name`."""
    if not isinstance(value, Mapping):
        return ()
    wrapped = (patches_of(value[field]) for field in WRAPPER_FIELDS if field in value)
    return patched_by(value) or next(filter(None, wrapped), ())


def patch_summary(configs: Iterable[Any]) -> str:
    """How many resources of a dump are patched, and by what; empty if none is."""
    marks = patch_marks(configs)
    refs = ", ".join(dict.fromkeys(ref for mark in marks for ref in mark.policies))
    return sanitize(f"{len(marks)} patched by {refs}") if marks else ""


def label(key: str, value: Any) -> Text:
    """A branch in one line: bold with the number of its parts, or with its value. A patched one says so."""
    if isinstance(value, Mapping | list):
        mark = f"  {signs.PARTIAL} patched by {', '.join(patches_of(value))}" if patches_of(value) else ""
        count = f"  {len(value)}" if value else "  empty"
        return Text.assemble((sanitize(key), "bold"), count, (sanitize(mark), "bold"))
    text = sanitize(str(value).lower() if isinstance(value, bool) else str(value))
    return Text(f"{sanitize(key)}: {text if len(text) <= VALUE_LIMIT else f'{text[:VALUE_LIMIT]}…'}")


def matching_paths(value: Any, text: str) -> tuple[tuple[str, ...], ...]:
    """Up to `MATCH_LIMIT` paths to keys, names and values that contain the text; case is ignored."""
    matches: list[tuple[str, ...]] = []
    _search(list(branches(value)), text.lower(), (), matches)
    return tuple(matches)


def _search(
    parts: Sequence[tuple[str, Any]], text: str, parent: tuple[str, ...], matches: list[tuple[str, ...]]
) -> None:
    for key, part in parts:
        if len(matches) >= MATCH_LIMIT:
            return
        path = (*parent, key)
        if text in key.lower() or (is_leaf(part) and text in str(part).lower()):
            matches.append(path)
        else:
            _search(list(branches(part)), text, path, matches)
