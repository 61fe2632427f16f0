"""Turns responses of Envoy's admin interface into the results of commands. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshwright.control_plane.api.models.commands import ConfigSection, ProxyStats, StatValue
from meshwright.sidecar.endpoints_dump import endpoints_dump

MAX_STATS = 20_000
"""Statistics of one result. A few thousand clusters have more; a filter narrows them down."""

REDACTED = "[redacted]"
"""Replaces private keys, as Envoy itself does."""

SECTION_TYPES: Mapping[ConfigSection, str] = {
    "listeners": "ListenersConfigDump",
    "clusters": "ClustersConfigDump",
    "routes": "RoutesConfigDump",
    "endpoints": "EndpointsConfigDump",
}
"""The message type of each section of `/config_dump`."""

_LEVEL = re.compile(r"\s+([a-z][a-z0-9_]*): ([a-z]+)")
_DIGITS = re.compile(r"[0-9]{1,15}")


def parse_stats(proxy: str, text: str) -> ProxyStats:
    """Parse `/stats`: one `name: value` per line."""
    lines = text.splitlines()
    stats: dict[str, StatValue] = {}
    for line in lines[:MAX_STATS]:
        name, separator, value = line.partition(": ")
        if separator:
            stats[name] = int(value) if _DIGITS.fullmatch(value) else value
    return ProxyStats(proxy=proxy, stats=stats, truncated=len(lines) > MAX_STATS)


def parse_log_levels(text: str) -> dict[str, str]:
    """Parse `/logging` into the level of each logger. Raises ValueError when it lists none."""
    matches = (_LEVEL.fullmatch(line) for line in text.splitlines())
    levels = {match[1]: match[2] for match in matches if match}
    if not levels:
        raise ValueError("no loggers are listed")
    return levels


def most_common_level(levels: Mapping[str, str]) -> str:
    """The level that most loggers have."""
    common = Counter(levels.values()).most_common(1)
    return common[0][0] if common else ""


def changed_levels(original: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """The original levels of the loggers whose current level differs."""
    return {name: level for name, level in original.items() if current.get(name, level) != level}


def config_json(proxy: str, dump: str, clusters: str, section: ConfigSection | None) -> str:
    """The JSON of a ProxyConfig from `/config_dump` and `/clusters?format=json`, without keys.

    One section or all. Raises ValueError.
    """
    document, hosts = json.loads(dump), json.loads(clusters)
    configs = document.get("configs", ()) if isinstance(document, dict) else ()
    endpoints = endpoints_dump(hosts if isinstance(hosts, dict) else {})
    redacted = tuple(redact_keys(list(_configs_of((*configs, endpoints), section))))
    # Not through the model: validating megabytes would block the event loop.
    return json.dumps({"proxy": proxy, "configs": redacted}, separators=(",", ":"))


def _configs_of(configs: Iterable[Any], section: ConfigSection | None) -> Iterator[Any]:
    for config in configs:
        if section is None or str(config.get("@type", "")).endswith(f".{SECTION_TYPES[section]}"):
            yield config


def redact_keys(value: Any) -> Any:
    """The value without private keys, even where Envoy does not redact them."""
    if isinstance(value, dict):
        return {
            key: REDACTED if key in {"private_key", "session_ticket_keys"} else redact_keys(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [redact_keys(inner) for inner in value]
    return REDACTED if isinstance(value, str) and "PRIVATE KEY-----" in value else value
