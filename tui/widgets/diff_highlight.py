"""A unified diff as text in colours: what goes, what comes, and in which document. Pure."""

from __future__ import annotations

from textual.content import Content

from meshwright.tui import format
from meshwright.tui.theme import paint

LINE_LIMIT = 2000
"""Lines that are shown of a diff; the rest is counted."""


def highlight_diff(text: str) -> Content:
    """A unified diff; a document's head is one line, whatever `---` and `+++` say twice."""
    lines = text.rstrip("\n").split("\n") if text else []
    shown = [one for number, one in enumerate(lines) if not _is_duplicate_header(lines, number)]
    drawn = [_highlight_line(one) for one in shown[:LINE_LIMIT]]
    if len(shown) > LINE_LIMIT:
        drawn.append(paint(f"{len(shown) - LINE_LIMIT} more lines", "dim"))
    return Content("\n").join(drawn)


def count_changes(text: str) -> tuple[int, int]:
    """Lines that come and lines that go."""
    lines = text.split("\n")
    come = sum(one.startswith("+") and not one.startswith("+++ ") for one in lines)
    go = sum(one.startswith("-") and not one.startswith("--- ") for one in lines)
    return come, go


def _is_duplicate_header(lines: list[str], number: int) -> bool:
    """Whether a line is the first of the two that head a document."""
    return (
        lines[number].startswith("--- ")
        and number + 1 < len(lines)
        and lines[number + 1].startswith("+++ ")
        and not lines[number + 1].startswith("+++ /dev/null")
    ) or (lines[number].startswith("+++ /dev/null"))


def _highlight_line(text: str) -> Content:
    shown = format.sanitize(text)
    if text.startswith(("--- ", "+++ ")):
        gone = text.startswith("--- ")
        name = shown[4:].strip().removeprefix("a/").removeprefix("b/")
        return paint(f"── {name}{' (deleted)' if gone else ''} ", "strong")
    if text.startswith("@@"):
        return paint(shown, "dim")
    if text.startswith("+"):
        return Content.styled(shown, "$success")
    if text.startswith("-"):
        return Content.styled(shown, "$error")
    return Content(shown)
