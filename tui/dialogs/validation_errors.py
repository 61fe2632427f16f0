"""Edited text that is refused: every problem beside its line; nothing of the text is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshwright.control_plane.api.errors import SourceProblem
from meshwright.tui import format
from meshwright.tui.theme import paint

CONTEXT_LINES = 1
"""Lines shown before and after the one in question."""


class ValidationErrors(ModalScreen[bool]):
    """True: edit again; False: leave."""

    DEFAULT_CSS = """
    Refused { align: center middle; background: $background 60%; }
    Refused > Vertical {
        width: 96%; max-width: 110; height: auto; max-height: 96%;
        border: round $error; padding: 0 1; background: $background;
    }
    Refused VerticalScroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    Refused VerticalScroll Static { height: auto; }
    Refused #keys { height: 1; dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e,enter", "answer(True)", "edit again"),
        Binding("escape,q,n", "answer(False)", "leave"),
    ]

    def __init__(self, text: str, problems: Sequence[SourceProblem], kept: str) -> None:
        """`kept` says where the text stays when the user leaves."""
        super().__init__()
        self._text = text
        self._problems = problems
        self._leave_note = kept

    def compose(self) -> ComposeResult:
        """The problems, the keys."""
        with Vertical() as sheet:
            count = len(self._problems)
            sheet.border_title = Content(
                f"refused: {count} problem{'' if count == 1 else 's'}, nothing was changed"
            )
            with VerticalScroll():
                yield Static(Content("\n").join(problem_lines(self._text, self._problems)))
            keys = Content.assemble(
                paint("e", "accent"), " edit again   ", paint("Esc", "accent"), f" leave{self._leave_note}"
            )
            yield Static(keys, id="keys")

    def on_mount(self) -> None:
        """Arrow keys move the text."""
        self.query_one(VerticalScroll).focus()

    def action_answer(self, again: bool) -> None:
        """The user has decided."""
        self.dismiss(again)


def problem_lines(text: str, problems: Sequence[SourceProblem]) -> Iterator[Content]:
    """Each problem in words, below it the lines it is about."""
    written = text.split("\n")
    for problem in problems:
        yield paint(f"✖ line {problem.line}: {format.sanitize(problem.message)}", "bad")
        first, last = max(1, problem.line - CONTEXT_LINES), min(len(written), problem.line + CONTEXT_LINES)
        for number in range(first, last + 1):
            here = number == problem.line
            mark = paint(f"{'›' if here else ' '}{number:>4} │ ", "bad" if here else "dim")
            yield Content.assemble(
                mark, paint(format.sanitize(written[number - 1]), "plain" if here else "dim")
            )
        yield Content("")
