"""Parsing the arguments of commands."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.commands import LINES_LIMIT, TAP_MAX_SECONDS
from meshwright.sidecar.command_args import (
    LogsArgs,
    parse_config_args,
    parse_log_level_args,
    parse_logs_args,
    parse_tap_args,
)


def test_logs_args_are_bounded_and_reject_unknown_fields() -> None:
    assert parse_logs_args("") == LogsArgs(100)
    assert parse_logs_args("lines=7&proxy=12&app=0") == LogsArgs(7, {"proxy": 12, "app": 0})
    assert parse_logs_args("lines=999999").lines == LINES_LIMIT
    for invalid in ("lines=-1", "lines=many", "path=/etc/passwd", "lines", "proxy=1.5"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_logs_args(invalid)


def test_log_level_args_name_one_logger_or_all() -> None:
    assert parse_log_level_args("") is None
    all_loggers = parse_log_level_args("level=debug")
    assert all_loggers is not None
    assert (all_loggers.level, all_loggers.logger, all_loggers.seconds) == ("debug", None, 600)
    single = parse_log_level_args("level=trace&logger=upstream&seconds=5")
    assert single is not None
    assert (single.level, single.logger, single.seconds) == ("trace", "upstream", 5)
    for invalid in (
        "level=loud",
        "logger=http",
        "level=debug&logger=a,b:info",
        "level=debug&seconds=0",
        "x=1",
    ):
        with pytest.raises(ValueError, match=r"\w"):
            parse_log_level_args(invalid)


def test_tap_args_are_bounded() -> None:
    assert [parse_tap_args(seconds) for seconds in ("0", "30", "99999")] == [0, 30, TAP_MAX_SECONDS]
    with pytest.raises(ValueError, match="whole number"):
        parse_tap_args("-1")


def test_config_args_name_a_known_section() -> None:
    assert parse_config_args("") is None
    assert parse_config_args("clusters") == "clusters"
    with pytest.raises(ValueError, match="no such section: secrets"):
        parse_config_args("secrets")
