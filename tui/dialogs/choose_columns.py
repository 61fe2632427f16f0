"""A choice of the columns of a table, which follows at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from textual.content import Content
from textual.widgets import OptionList

from meshwright.control_plane.api import signs
from meshwright.tui.dialogs.choose_one import ChooseOne


class ChooseColumns(ChooseOne):
    """Enter shows or hides a column, Esc closes.

    `titles`: of the columns, by index. `toggle` shows or hides one.
    """

    def __init__(
        self, titles: Mapping[int, str], is_shown: Callable[[int], bool], toggle: Callable[[int], None]
    ) -> None:
        self._columns = titles
        self._is_shown = is_shown
        self._toggle = toggle
        super().__init__("columns", [self._line(column) for column in titles])

    def _line(self, column: int) -> str:
        sign = signs.GOOD if self._is_shown(column) else signs.OFF
        return f"{sign} {self._columns[column]}"

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Show or hide the column. Others may be dropped for it, or find room."""
        message.prevent_default()  # of the base class, which closes
        columns = tuple(self._columns)
        self._toggle(columns[message.option_index])
        for index, column in enumerate(columns):
            message.option_list.replace_option_prompt_at_index(index, Content(f" {self._line(column)} "))
