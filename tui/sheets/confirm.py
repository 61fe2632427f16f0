"""A question before something is done to the traffic: what will change, and two keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.theme import paint


class Confirm(ModalScreen[bool]):
    """True when the user agrees. `verb` says what is done then."""

    DEFAULT_CSS = """
    Confirm { align: center middle; background: $background 60%; }
    Confirm > Vertical {
        width: 90%; max-width: 100; height: auto; max-height: 90%;
        border: round $warning; padding: 0 1; background: $background;
    }
    Confirm VerticalScroll { height: auto; max-height: 1fr; }
    Confirm #keys { height: 1; dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, title: str, body: str | Content, verb: str) -> None:
        super().__init__()
        self._title = title
        self._body = body
        self._verb = verb

    def compose(self) -> ComposeResult:
        """The question, what it means, the keys."""
        with Vertical() as sheet:
            sheet.border_title = Content(self._title)
            with VerticalScroll():
                yield Static(Content(self._body) if isinstance(self._body, str) else self._body)
            yield Static(
                Content.assemble(
                    paint("y", "accent"), f" {self._verb}   ", paint("n", "accent"), " leave it as it is"
                ),
                id="keys",
            )

    def on_mount(self) -> None:
        """Arrow keys move the text."""
        self.query_one(VerticalScroll).focus()

    def action_answer(self, agreed: bool) -> None:
        """The user has decided."""
        self.dismiss(agreed)
