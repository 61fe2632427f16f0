"""What asks say and what Envoy answers, read; and the ends of logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.api.asked import LINES_LIMIT, TAP_LIMIT, ProxyConfig
from sidecar.asks import words
from sidecar.files import log_part, rotate

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
    assert words.logs_asked("") == words.LogsAsked(100)
    assert words.logs_asked("lines=7&proxy=12&app=0") == words.LogsAsked(7, {"proxy": 12, "app": 0})
    assert words.logs_asked("lines=999999").lines == LINES_LIMIT
    for wrong in ("lines=-1", "lines=many", "path=/etc/passwd", "lines", "proxy=1.5"):
        with pytest.raises(ValueError, match=r"\w"):
            words.logs_asked(wrong)


def test_a_log_level_is_asked_for_all_loggers_or_one() -> None:
    assert words.level_asked("") is None
    whole = words.level_asked("level=debug")
    assert whole is not None
    assert (whole.level, whole.logger, whole.seconds) == ("debug", None, 600)
    one = words.level_asked("level=trace&logger=upstream&seconds=5")
    assert one is not None
    assert (one.level, one.logger, one.seconds) == ("trace", "upstream", 5)
    for wrong in ("level=loud", "logger=http", "level=debug&logger=a,b:info", "level=debug&seconds=0", "x=1"):
        with pytest.raises(ValueError, match=r"\w"):
            words.level_asked(wrong)


def test_how_long_to_tell_of_every_request_is_bounded() -> None:
    assert [words.seconds_asked(one) for one in ("0", "30", "99999")] == [0, 30, TAP_LIMIT]
    with pytest.raises(ValueError, match="whole number"):
        words.seconds_asked("-1")


def test_statistics_are_read_as_numbers_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cluster.a.rq: 12\ncluster.a.time: P0(nan,1) P25(nan,1.02)\nno statistic\nb: 3"
    found = words.stats("orders-1", text)
    assert found.stats == {"cluster.a.rq": 12, "cluster.a.time": "P0(nan,1) P25(nan,1.02)", "b": 3}
    assert not found.cut
    monkeypatch.setattr(words, "STATS_LIMIT", 1)
    few = words.stats("orders-1", text)
    assert (few.stats, few.cut) == ({"cluster.a.rq": 12}, True)


def test_log_levels_are_read_and_compared() -> None:
    found = words.levels("active loggers:\n  admin: warning\n  http: debug\n  conn_handler: warning\n\n")
    assert found == {"admin": "warning", "http": "debug", "conn_handler": "warning"}
    assert words.most(found) == "warning"
    former = {"admin": "warning", "http": "warning", "gone": "info"}
    assert words.differing(former, found) == {"http": "warning"}
    with pytest.raises(ValueError, match="no loggers"):
        words.levels("404")


def test_a_configuration_is_told_whole_or_in_part_and_without_keys() -> None:
    whole = words.config("orders-1", json.dumps(DUMP), None)
    assert "secret\\n" not in whole
    assert "PRIVATE KEY" not in whole
    configs = ProxyConfig.model_validate_json(whole).configs
    assert configs[0] == DUMP["configs"][0]
    assert configs[1]["note"] == ["[redacted]"]
    assert configs[2]["secret"] == {"private_key": "[redacted]", "name": "identity"}
    part = ProxyConfig.model_validate_json(words.config("orders-1", json.dumps(DUMP), "clusters"))
    assert part.configs == (DUMP["configs"][0],)
    assert words.section_asked("") is None
    with pytest.raises(ValueError, match="no such part: secrets"):
        words.section_asked("secrets")


def test_the_end_of_a_log_and_what_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert log_part(path, 10, None, 1000) == ("", 0)
    path.write_text("1\n2\n3\n")
    assert log_part(path, 2, None, 1000) == ("2\n3\n", 6)
    assert log_part(path, 0, None, 1000) == ("", 6)
    assert log_part(path, 9, 6, 1000) == ("", 6)
    with path.open("a") as file:
        file.write("4\nhal")
    assert log_part(path, 9, 6, 1000) == ("4\n", 8)
    assert log_part(path, 1, None, 1000) == ("hal", 11)


def test_a_long_log_is_told_from_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    text, end = log_part(path, 5000, None, 100)
    assert (text.splitlines()[0], end) == ("line 989", path.stat().st_size)
    text, _ = log_part(path, 5000, 0, 100)
    assert text.splitlines()[-1] == "line 999"
    assert len(text) <= 100


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n" * 100)
    _, end = log_part(path, 1, None, 1000)
    assert rotate(path, 10)
    with path.open("a") as file:
        file.write("new\n")
    assert log_part(path, 1, end, 1000) == ("new\n", 4)
