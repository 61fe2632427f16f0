"""Parses the arguments of commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from pydantic import ValidationError

from meshwright.control_plane.api.models.commands import (
    LINES_LIMIT,
    TAP_MAX_SECONDS,
    ConfigSection,
    LogLevelRequest,
)
from meshwright.sidecar.command_results import SECTION_TYPES

_DIGITS = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class LogsArgs:
    """The last `lines` of each log, or for a source in `after` what follows that offset."""

    lines: int
    after: Mapping[str, int] = field(default_factory=dict)


def parse_logs_args(argument: str) -> LogsArgs:
    """Parse `lines=N&proxy=OFFSET&app=OFFSET`. Raises ValueError."""
    fields = _parse_fields(argument, {"lines", "proxy", "app"})
    numbers = {name: _parse_number(name, text) for name, text in fields.items()}
    lines = min(numbers.pop("lines", 100), LINES_LIMIT)
    return LogsArgs(lines, numbers)


def parse_log_level_args(argument: str) -> LogLevelRequest | None:
    """Parse `level=L&logger=NAME&seconds=S`; None when empty. Raises ValueError."""
    fields = _parse_fields(argument, {"level", "logger", "seconds"})
    if not fields:
        return None
    try:
        return LogLevelRequest.model_validate_strings(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def parse_tap_args(argument: str) -> int:
    """Parse the seconds of a tap, at most TAP_MAX_SECONDS. Raises ValueError."""
    return min(_parse_number("seconds", argument), TAP_MAX_SECONDS)


def parse_config_args(argument: str) -> ConfigSection | None:
    """Parse the section of a configuration dump; None for all of it. Raises ValueError."""
    if not argument:
        return None
    for section in SECTION_TYPES:
        if argument == section:
            return section
    raise ValueError(f"no such section: {argument}: choose from {', '.join(SECTION_TYPES)}")


def _parse_fields(argument: str, allowed: set[str]) -> dict[str, str]:
    pairs = parse_qsl(argument, keep_blank_values=True, strict_parsing=bool(argument), max_num_fields=8)
    unknown = sorted({name for name, _ in pairs} - allowed)
    if unknown:
        raise ValueError(f"{unknown[0][:40]}: no such field: choose from {', '.join(sorted(allowed))}")
    return dict(pairs)


def _parse_number(name: str, text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{name}: expected a whole number, not {text[:40]!r}")
    return int(text)
