"""An Envoy's configuration as a tree: what a branch is called, and which branches hold a text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from meshwright.tui import format

MATCH_LIMIT = 200
"""Matches that are shown: more is not read, but searched for more narrowly."""

VALUE_LIMIT = 160
"""Characters of a value that are shown."""

NAME_FIELDS = ("name", "cluster_name", "stat_prefix", "@type", "prefix", "key", "version_info")
"""Where the parts of Envoy's lists carry what they are called, the telling ones first."""

WRAPPER_FIELDS = (
    "cluster",
    "listener",
    "route_config",
    "endpoint_config",
    "active_state",
    "secret",
    "endpoint",
)
"""Fields under which the parts of a dump carry the thing itself."""


def branches(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object or list, each with what it is called."""
    if isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list):
        yield from ((f"{at} {name_of(part)}".strip(), part) for at, part in enumerate(value))


def sections(configs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The sections of a dump by name: bootstrap, clusters, listeners, ..."""
    for config in configs:
        kind = str(config.get("@type", "")).rpartition(".")[2].removesuffix("ConfigDump")
        parts = {key: part for key, part in config.items() if key != "@type"}
        yield kind.lower() or "configuration", parts


def name_of(value: Any) -> str:
    """What a part is called by itself; empty when it does not say."""
    if not isinstance(value, Mapping):
        return ""
    for field in NAME_FIELDS:
        if isinstance(value.get(field), str) and field != "version_info":
            return str(value[field]).rpartition("/")[2] if field == "@type" else str(value[field])
    for field in WRAPPER_FIELDS:
        if field in value and (inner := name_of(value[field])):
            return inner
    return ""


def is_leaf(value: Any) -> bool:
    """Whether there is nothing to unfold."""
    return not isinstance(value, Mapping | list) or not value


def label(key: str, value: Any) -> Text:
    """A branch in a line: bold where it can be unfolded, with the number of its parts."""
    if isinstance(value, Mapping | list):
        return Text.assemble((format.sanitize(key), "bold"), f"  {len(value)}" if value else "  empty")
    said = format.sanitize(str(value).lower() if isinstance(value, bool) else str(value))
    return Text(f"{format.sanitize(key)}: {said if len(said) <= VALUE_LIMIT else f'{said[:VALUE_LIMIT]}…'}")


def matching_paths(value: Any, text: str) -> tuple[tuple[str, ...], ...]:
    """The ways from `value` down to keys, names and values that hold `text`, `FOUND` at most."""
    found: list[tuple[str, ...]] = []
    _search(list(branches(value)), text.lower(), (), found)
    return tuple(found)


def _search(
    parts: Sequence[tuple[str, Any]], text: str, way: tuple[str, ...], found: list[tuple[str, ...]]
) -> None:
    for key, part in parts:
        if len(found) >= MATCH_LIMIT:
            return
        here = (*way, key)
        if text in key.lower() or (is_leaf(part) and text in str(part).lower()):
            found.append(here)
        else:
            _search(list(branches(part)), text, here, found)
