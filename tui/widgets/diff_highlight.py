"""A unified diff in colour: added and removed lines, and the names of the documents. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from meshwright.tui.format import sanitize
from meshwright.tui.theme import paint

LINE_LIMIT = 2000
"""Lines of a diff that are shown; further ones are counted."""


def diff_lines(diff: str) -> Iterator[Content]:
    """The number of added and removed lines, and the diff in colour."""
    if not diff:
        yield paint("no difference", "dim")
        return
    added, removed = count_changes(diff)
    yield paint(f"+{added} −{removed} lines", "dim")
    yield highlight_diff(diff)


def highlight_diff(text: str) -> Content:
    """A unified diff; the two header lines of a document become one."""
    lines = text.rstrip("\n").split("\n") if text else []
    shown = [line for number, line in enumerate(lines) if not _is_duplicate_header(lines, number)]
    highlighted = [_highlight_line(line) for line in shown[:LINE_LIMIT]]
    if len(shown) > LINE_LIMIT:
        highlighted.append(paint(f"{len(shown) - LINE_LIMIT} more lines", "dim"))
    return Content("\n").join(highlighted)


def count_changes(text: str) -> tuple[int, int]:
    """The number of added and of removed lines."""
    lines = text.split("\n")
    added = sum(line.startswith("+") and not line.startswith("+++ ") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("--- ") for line in lines)
    return added, removed


def _is_duplicate_header(lines: list[str], number: int) -> bool:
    """Whether the other header line of the document says the same or more."""
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return lines[number].startswith("+++ /dev/null") or (
        lines[number].startswith("--- ")
        and following.startswith("+++ ")
        and not following.startswith("+++ /dev/null")
    )


def _highlight_line(text: str) -> Content:
    line = sanitize(text)
    if text.startswith(("--- ", "+++ ")):
        deleted = " (deleted)" if text.startswith("--- ") else ""
        name = line[4:].strip().removeprefix("a/").removeprefix("b/")
        return paint(f"── {name}{deleted} ", "strong")
    if text.startswith("@@"):
        return paint(line, "dim")
    if text.startswith("+"):
        return Content.styled(line, "$success")
    if text.startswith("-"):
        return Content.styled(line, "$error")
    return Content(line)
