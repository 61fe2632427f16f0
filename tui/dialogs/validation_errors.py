"""The problems of an edited text, each with the lines around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.tui import keys
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.theme import paint

CONTEXT_LINES = 1
"""Lines shown before and after the line with the problem."""


class ValidationErrors(ModalScreen[bool]):
    """Returns True to edit again, False to cancel."""

    DEFAULT_CSS = """
    ValidationErrors { align: center middle; background: $background 60%; }
    ValidationErrors > Vertical {
        width: 96%; max-width: 110; height: auto; max-height: 96%;
        border: round $error; padding: 0 1; background: $background;
    }
    ValidationErrors VerticalScroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    ValidationErrors VerticalScroll Static { height: auto; }
    ValidationErrors #keys { height: 1; dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.EDIT, "close(True)"),
        bind(keys.BACK, "close(False)"),
        bind(keys.QUIT, "close(False)"),
    ]

    def __init__(self, text: str, problems: Sequence[SourceProblem], cancel_note: str) -> None:
        """`cancel_note` says what happens to the text if the user cancels."""
        super().__init__()
        self._text = text
        self._problems = problems
        self._cancel_note = cancel_note

    def compose(self) -> ComposeResult:
        """The problems and the keys."""
        with Vertical() as box:
            count = len(self._problems)
            box.border_title = Content(
                f"invalid: {count} problem{'' if count == 1 else 's'}, nothing was applied"
            )
            with VerticalScroll():
                yield Static(Content("\n").join(problem_lines(self._text, self._problems)))
            keys = Content.assemble(
                paint("e", "accent"), " edit again   ", paint("Esc", "accent"), f" cancel{self._cancel_note}"
            )
            yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """Focus the problems."""
        self.query_one(VerticalScroll).focus()

    def action_close(self, again: bool) -> None:
        """Return the decision."""
        self.dismiss(again)


def problem_lines(text: str, problems: Sequence[SourceProblem]) -> Iterator[Content]:
    """Each problem, and the lines around it."""
    written = text.split("\n")
    for problem in problems:
        yield paint(f"{signs.BAD} line {problem.line}: {sanitize(problem.message)}", "bad")
        first, last = max(1, problem.line - CONTEXT_LINES), min(len(written), problem.line + CONTEXT_LINES)
        for number in range(first, last + 1):
            here = number == problem.line
            mark = paint(f"{'›' if here else ' '}{number:>4} │ ", "bad" if here else "dim")
            yield Content.assemble(mark, paint(sanitize(written[number - 1]), "plain" if here else "dim"))
        yield Content("")
