"""Tables, signs and errors: colours only on terminals, and no control characters from outside."""

from __future__ import annotations

import json
import sys

import pytest

from meshwright.cli import output
from meshwright.cli.errors import CommandError, exit_code, print_error, warn
from meshwright.control_plane.api.errors import ApiError, SourceProblem, UnreachableError
from meshwright.control_plane.errors import InputError, NotFoundError, RevisionConflictError, StoreError


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "LONG HEAD"), [("wide cell", "x"), ("y", "line\nbreak \x1b[31m")])
    assert capsys.readouterr().out == "A          LONG HEAD\nwide cell  x\ny          line break  [31m\n"


def test_an_empty_table_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A",), [])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\x7f", "\u202e", "a\nb", "é × 日本"])
def test_json_has_no_character_that_a_terminal_interprets(text: str) -> None:
    written = output.json_text({"author": text})
    assert written.isprintable()
    assert json.loads(written) == {"author": text}


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_only_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\x1b[31m" in output.colorize(output.status_text("bad", "down"))) is coloured


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (NotFoundError("x"), 2),
        (RevisionConflictError(1, 2), 6),
        (StoreError("x"), 1),
        (UnreachableError("http://x"), 3),
        (ApiError(409, "conflict", "x"), 6),
        (ApiError(422, "invalid", "x"), 2),
        (ApiError(500, "internal", "x"), 1),
        (CommandError(4, "x"), 4),
    ],
)
def test_every_error_has_the_exit_code_of_the_contract(error: Exception, code: int) -> None:
    assert exit_code(error) == code  # type: ignore[arg-type]


def test_each_problem_is_printed_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(
        ApiError(
            422,
            "invalid",
            "2 problems",
            (SourceProblem("a.yaml", 1, 2, "bad"), SourceProblem("b.yaml", 3, 4, "worse")),
        )
    )
    warn("two\nlines \x07")
    assert capsys.readouterr().err == "a.yaml:1:2: bad\nb.yaml:3:4: worse\ntwo\nlines ?\n"
