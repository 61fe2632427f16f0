"""Reading and rotating log files."""

from __future__ import annotations

from pathlib import Path

from meshwright.sidecar.files import read_log, rotate_log


def test_read_log_returns_the_last_lines_or_what_follows_an_offset(tmp_path: Path) -> None:
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


def test_read_log_over_the_limit_starts_with_a_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    text, end = read_log(path, 5000, None, 100)
    assert (text.splitlines()[0], end) == ("line 989", path.stat().st_size)
    text, _ = read_log(path, 5000, 0, 100)
    assert text.splitlines()[-1] == "line 999"
    assert len(text) <= 100


def test_read_log_after_a_rotation_starts_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n" * 100)
    _, end = read_log(path, 1, None, 1000)
    assert rotate_log(path, 10)
    with path.open("a") as file:
        file.write("new\n")
    assert read_log(path, 1, end, 1000) == ("new\n", 4)


def test_rotate_log_keeps_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("x" * 50 + "end")
    assert not rotate_log(path, 53)
    assert rotate_log(path, 10)
    assert path.read_text() == ""
    assert path.with_name("a.log.1").read_text() == "x" * 7 + "end"
    assert not rotate_log(tmp_path / "none.log", 10)
