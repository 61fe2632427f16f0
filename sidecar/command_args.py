"""What an ask's argument says, and what Envoy's answers say: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from meshwright.control_plane.api.models.commands import (
    LINES_LIMIT,
    TAP_MAX_SECONDS,
    ConfigSection,
    LogLevelRequest,
    ProxyStats,
    StatValue,
)

MAX_STATS = 20_000
"""Statistics of one answer: some thousand clusters have more, of which a filter picks."""

REDACTED = "[redacted]"
"""In the place of private keys, as Envoy itself writes it."""

_DUMP_TYPES: Mapping[ConfigSection, str] = {
    "listeners": "ListenersConfigDump",
    "clusters": "ClustersConfigDump",
    "routes": "RoutesConfigDump",
    "endpoints": "EndpointsConfigDump",
}

_LEVEL = re.compile(r"\s+([a-z][a-z0-9_]*): ([a-z]+)")
_DIGITS = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class LogsArgs:
    """`lines` of each log, or what came after these offsets, by the log's source."""

    lines: int
    after: Mapping[str, int] = field(default_factory=dict)


def parse_logs_args(argument: str) -> LogsArgs:
    """Read `lines=N&proxy=OFFSET&app=OFFSET`; raises ValueError."""
    given = _parse_fields(argument, {"lines", "proxy", "app"})
    numbers = {name: _parse_number(name, text) for name, text in given.items()}
    lines = min(numbers.pop("lines", 100), LINES_LIMIT)
    return LogsArgs(lines, numbers)


def parse_log_level_args(argument: str) -> LogLevelRequest | None:
    """Read `level=L&logger=NAME&seconds=S`, None when it is empty; raises ValueError."""
    given = _parse_fields(argument, {"level", "logger", "seconds"})
    if not given:
        return None
    try:
        return LogLevelRequest.model_validate_strings(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def parse_tap_args(argument: str) -> int:
    """Read how long to tell of every request; raises ValueError."""
    return min(_parse_number("seconds", argument), TAP_MAX_SECONDS)


def parse_config_args(argument: str) -> ConfigSection | None:
    """Read a section of the configuration, None for all; raises ValueError."""
    if not argument:
        return None
    for section in _DUMP_TYPES:
        if argument == section:
            return section
    raise ValueError(f"no such part: {argument}: there are {', '.join(_DUMP_TYPES)}")


def parse_stats(proxy: str, text: str) -> ProxyStats:
    """Read `/stats`: a line each, `name: value`."""
    lines = text.splitlines()
    found: dict[str, StatValue] = {}
    for line in lines[:MAX_STATS]:
        name, mark, value = line.partition(": ")
        if mark:
            found[name] = int(value) if _DIGITS.fullmatch(value) else value
    return ProxyStats(proxy=proxy, stats=found, truncated=len(lines) > MAX_STATS)


def parse_log_levels(text: str) -> dict[str, str]:
    """Read `/logging`: the level of each logger; raises ValueError when there is none."""
    matches = (_LEVEL.fullmatch(line) for line in text.splitlines())
    found = {match[1]: match[2] for match in matches if match}
    if not found:
        raise ValueError("no loggers are listed")
    return found


def most_common_level(given: Mapping[str, str]) -> str:
    """The level that most loggers have."""
    counts: dict[str, int] = {}
    for level in given.values():
        counts[level] = counts.get(level, 0) + 1
    return max(counts, key=lambda level: counts[level], default="")


def changed_levels(wanted: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The wanted levels that are not as wanted now."""
    return {name: level for name, level in wanted.items() if now.get(name, level) != level}


def config_json(proxy: str, dump: str, section: ConfigSection | None) -> str:
    """The JSON of a ProxyConfig: one section of `/config_dump` or all, without keys; raises ValueError."""
    found = json.loads(dump)
    configs = found.get("configs", ()) if isinstance(found, dict) else ()
    kept = tuple(redact_keys(list(_section_of(configs, section))))
    # Not by the model: validating megabytes holds everybody up.
    return json.dumps({"proxy": proxy, "configs": kept}, separators=(",", ":"))


def _section_of(configs: Iterable[Any], section: ConfigSection | None) -> Iterator[Any]:
    for one in configs:
        if section is None or str(one.get("@type", "")).endswith(f".{_DUMP_TYPES[section]}"):
            yield one


def redact_keys(value: Any) -> Any:
    """The same without private keys, whatever Envoy itself lets out."""
    if isinstance(value, dict):
        return {
            key: REDACTED if key in {"private_key", "session_ticket_keys"} else redact_keys(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [redact_keys(inner) for inner in value]
    return REDACTED if isinstance(value, str) and "PRIVATE KEY-----" in value else value


def _parse_fields(argument: str, known: set[str]) -> dict[str, str]:
    pairs = parse_qsl(argument, keep_blank_values=True, strict_parsing=bool(argument), max_num_fields=8)
    strange = sorted({name for name, _ in pairs} - known)
    if strange:
        raise ValueError(f"{strange[0][:40]}: no such field: there are {', '.join(sorted(known))}")
    return dict(pairs)


def _parse_number(name: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{name}: a whole number is expected, not {text[:40]!r}")
    return int(text)
