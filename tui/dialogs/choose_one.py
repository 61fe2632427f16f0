"""A choice of one from a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from meshwright.tui import keys
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind


class ChooseOne(ModalScreen[int | None]):
    """Returns the index of the choice; None: closed without one."""

    DEFAULT_CSS = """
    ChooseOne { align: center middle; background: $background 60%; }
    ChooseOne > Vertical {
        width: auto; min-width: 30; max-width: 90%; height: auto; max-height: 80%;
        border: round $accent; background: $background;
    }
    ChooseOne OptionList, ChooseOne OptionList:focus {
        border: none; width: auto; min-width: 28; height: auto; max-height: 100%; padding: 0;
        background: $background;
    }
    ChooseOne OptionList > .option-list--option-highlighted,
    ChooseOne OptionList:focus > .option-list--option-highlighted {
        background: $mesh-cursor; color: $foreground; text-style: bold;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.BACK, "dismiss(None)"),
        bind(keys.QUIT, "dismiss(None)"),
    ]

    def __init__(self, title: str, choices: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            yield OptionList(*(Option(Content(f" {sanitize(choice)} ")) for choice in self._choices))

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the choice."""
        self.dismiss(message.option_index)
