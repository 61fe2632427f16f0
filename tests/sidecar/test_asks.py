"""What asks say and what Envoy answers, read; and the ends of logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshwright.control_plane.api.models.commands import LINES_LIMIT, TAP_MAX_SECONDS, ProxyConfig
from meshwright.sidecar import command_args
from meshwright.sidecar.files import read_log, rotate_log

KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
DUMP = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": []},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "note": [KEY]},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "secret": {"private_key": {"inline_string": "secret"}, "name": "identity"},
        },
    ]
}


def test_what_is_asked_of_logs_is_bounded_and_strict() -> None:
    assert command_args.parse_logs_args("") == command_args.LogsArgs(100)
    assert command_args.parse_logs_args("lines=7&proxy=12&app=0") == command_args.LogsArgs(
        7, {"proxy": 12, "app": 0}
    )
    assert command_args.parse_logs_args("lines=999999").lines == LINES_LIMIT
    for wrong in ("lines=-1", "lines=many", "path=/etc/passwd", "lines", "proxy=1.5"):
        with pytest.raises(ValueError, match=r"\w"):
            command_args.parse_logs_args(wrong)


def test_a_log_level_is_asked_for_all_loggers_or_one() -> None:
    assert command_args.parse_log_level_args("") is None
    whole = command_args.parse_log_level_args("level=debug")
    assert whole is not None
    assert (whole.level, whole.logger, whole.seconds) == ("debug", None, 600)
    one = command_args.parse_log_level_args("level=trace&logger=upstream&seconds=5")
    assert one is not None
    assert (one.level, one.logger, one.seconds) == ("trace", "upstream", 5)
    for wrong in ("level=loud", "logger=http", "level=debug&logger=a,b:info", "level=debug&seconds=0", "x=1"):
        with pytest.raises(ValueError, match=r"\w"):
            command_args.parse_log_level_args(wrong)


def test_how_long_to_tell_of_every_request_is_bounded() -> None:
    assert [command_args.parse_tap_args(one) for one in ("0", "30", "99999")] == [0, 30, TAP_MAX_SECONDS]
    with pytest.raises(ValueError, match="whole number"):
        command_args.parse_tap_args("-1")


def test_statistics_are_read_as_numbers_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cluster.a.rq: 12\ncluster.a.time: P0(nan,1) P25(nan,1.02)\nno statistic\nb: 3"
    found = command_args.parse_stats("orders-1", text)
    assert found.stats == {"cluster.a.rq": 12, "cluster.a.time": "P0(nan,1) P25(nan,1.02)", "b": 3}
    assert not found.truncated
    monkeypatch.setattr(command_args, "STATS_LIMIT", 1)
    few = command_args.parse_stats("orders-1", text)
    assert (few.stats, few.truncated) == ({"cluster.a.rq": 12}, True)


def test_log_levels_are_read_and_compared() -> None:
    found = command_args.parse_log_levels(
        "active loggers:\n  admin: warning\n  http: debug\n  conn_handler: warning\n\n"
    )
    assert found == {"admin": "warning", "http": "debug", "conn_handler": "warning"}
    assert command_args.most_common_level(found) == "warning"
    former = {"admin": "warning", "http": "warning", "gone": "info"}
    assert command_args.changed_levels(former, found) == {"http": "warning"}
    with pytest.raises(ValueError, match="no loggers"):
        command_args.parse_log_levels("404")


def test_a_configuration_is_told_whole_or_in_part_and_without_keys() -> None:
    whole = command_args.config_json("orders-1", json.dumps(DUMP), None)
    assert "secret\\n" not in whole
    assert "PRIVATE KEY" not in whole
    configs = ProxyConfig.model_validate_json(whole).configs
    assert configs[0] == DUMP["configs"][0]
    assert configs[1]["note"] == ["[redacted]"]
    assert configs[2]["secret"] == {"private_key": "[redacted]", "name": "identity"}
    part = ProxyConfig.model_validate_json(command_args.config_json("orders-1", json.dumps(DUMP), "clusters"))
    assert part.configs == (DUMP["configs"][0],)
    assert command_args.parse_config_args("") is None
    with pytest.raises(ValueError, match="no such part: secrets"):
        command_args.parse_config_args("secrets")


def test_the_end_of_a_log_and_what_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert read_log(path, 10, None, 1000) == ("", 0)
    path.write_text("1\n2\n3\n")
    assert read_log(path, 2, None, 1000) == ("2\n3\n", 6)
    assert read_log(path, 0, None, 1000) == ("", 6)
    assert read_log(path, 9, 6, 1000) == ("", 6)
    with path.open("a") as file:
        file.write("4\nhal")
    assert read_log(path, 9, 6, 1000) == ("4\n", 8)
    assert read_log(path, 1, None, 1000) == ("hal", 11)


def test_a_long_log_is_told_from_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    text, end = read_log(path, 5000, None, 100)
    assert (text.splitlines()[0], end) == ("line 989", path.stat().st_size)
    text, _ = read_log(path, 5000, 0, 100)
    assert text.splitlines()[-1] == "line 999"
    assert len(text) <= 100


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n" * 100)
    _, end = read_log(path, 1, None, 1000)
    assert rotate_log(path, 10)
    with path.open("a") as file:
        file.write("new\n")
    assert read_log(path, 1, end, 1000) == ("new\n", 4)
