"""Diffs and YAML in colour: the text stays the same, and is sanitized."""

from __future__ import annotations

from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.yaml.diff import unified_diff
from meshwright.tui.dialogs import validation_errors
from meshwright.tui.widgets import diff_highlight, yaml_highlight


def retry(attempts: object) -> dict[str, object]:
    return {"kind": "Retry", "metadata": {"name": "a"}, "spec": {"attempts": attempts, "z": 1}}


def test_a_changed_document_has_one_header() -> None:
    text = unified_diff([retry(2)], [retry(3)])
    lines = diff_highlight.highlight_diff(text).plain.split("\n")
    assert lines[0] == "── Retry/a "
    assert "-  attempts: 2" in lines
    assert "+  attempts: 3" in lines
    assert diff_highlight.count_changes(text) == (1, 1)


def test_deleted_and_new_documents_are_marked() -> None:
    gone = unified_diff([retry(2)], [])
    assert diff_highlight.highlight_diff(gone).plain.split("\n")[0] == "── Retry/a (deleted) "
    assert diff_highlight.count_changes(gone) == (0, 6)
    assert diff_highlight.count_changes(unified_diff([], [retry(2)])) == (6, 0)
    assert diff_highlight.highlight_diff("").plain == ""


def test_long_diffs_are_cut_and_sanitized() -> None:
    text = unified_diff([retry("x")], [retry([f"\x1b[2J{n}" for n in range(3000)])])
    shown = diff_highlight.highlight_diff(text).plain
    assert "\x1b" not in shown
    assert shown.split("\n")[-1].endswith("more lines")


def test_highlighted_yaml_keeps_its_text() -> None:
    text = "# why\nkind: Retry\nspec:\n- {a: b}\n  url: http://x:1/[red]\n"
    assert yaml_highlight.highlight_yaml(text).plain == text.rstrip("\n")


def test_a_problem_is_shown_with_its_line_and_neighbours() -> None:
    text = "kind: Retry\nspec:\n  attempts: many\n"
    shown = [
        line.plain
        for line in validation_errors.problem_lines(
            text, [SourceProblem("text", 3, 3, "a number is expected")]
        )
    ]
    assert shown[:4] == [
        "× line 3: a number is expected",
        "    2 │ spec:",
        "›   3 │   attempts: many",
        "    4 │ ",
    ]
