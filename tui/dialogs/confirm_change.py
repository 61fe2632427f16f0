"""A change before it is made: policies, sidecars, the difference, and a reason for the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.tui import format
from meshwright.tui.features.policies import view_model
from meshwright.tui.theme import paint
from meshwright.tui.widgets import diff_highlight

SIDECARS_SHOWN = 8
"""Sidecars that are named; the others are counted."""

REASON_LIMIT = 1000
"""Characters of a reason that the API takes."""


class ConfirmChange(ModalScreen[str | None]):
    """The reason when the user agrees, None when not. `verb` says what is done then."""

    DEFAULT_CSS = """
    ChangeSheet { align: center middle; background: $background 60%; }
    ChangeSheet > Vertical {
        width: 96%; max-width: 120; height: auto; max-height: 96%;
        border: round $warning; padding: 0 1; background: $background;
    }
    ChangeSheet VerticalScroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    ChangeSheet VerticalScroll Static { height: auto; padding-bottom: 1; }
    ChangeSheet #reason { height: 1; dock: bottom; margin-bottom: 1; background: $panel; }
    ChangeSheet #reason Label { width: 6; color: $accent; }
    ChangeSheet Input, ChangeSheet Input:focus { border: none; height: 1; padding: 0; background: $panel; }
    ChangeSheet #keys { height: 1; dock: bottom; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "agree", "do it"),
        Binding("m", "reason", "reason"),
        Binding("n,q", "leave", "leave"),
        Binding("escape", "back", "leave"),
    ]

    def __init__(
        self, title: str, told: ApplyResponse, verb: str, *, reason: str = "", notes: Content | None = None
    ):
        super().__init__()
        self._title = title
        self._preview = told
        self._verb = verb
        self._reason = reason
        self._notes = notes

    def compose(self) -> ComposeResult:
        """What will be, the reason, the keys."""
        with Vertical() as sheet:
            sheet.border_title = Content(self._title)
            with VerticalScroll():
                notes = [self._notes, Content("")] if self._notes else []
                yield Static(Content("\n").join([*notes, *preview_lines(self._preview)]))
            with Horizontal(id="reason"):
                yield Label("why: ")
                yield Input(
                    self._reason,
                    placeholder="a reason for the history",
                    compact=True,
                    max_length=REASON_LIMIT,
                )
            keys = (("y", self._verb), ("m", "give a reason"), ("n", "leave it as it is"))
            yield Static(
                Content("   ").join(
                    [Content.assemble(paint(key, "accent"), f" {what}") for key, what in keys]
                ),
                id="keys",
            )

    def on_mount(self) -> None:
        """Arrow keys move the text."""
        self.query_one(VerticalScroll).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter: the reason stands; it is still to be agreed."""
        message.stop()
        self.query_one(VerticalScroll).focus()

    def action_reason(self) -> None:
        """Write the reason."""
        self.query_one(Input).focus()

    def action_back(self) -> None:
        """Esc: out of the reason, then out of the sheet."""
        if self.query_one(Input).has_focus:
            self.query_one(VerticalScroll).focus()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Nothing is changed."""
        self.dismiss(None)

    def action_agree(self) -> None:
        """Do it."""
        self.dismiss(self.query_one(Input).value.strip())


def preview_lines(told: ApplyResponse) -> Iterator[Content]:
    """What a dry run says: documents, sidecars, warnings, the difference."""
    for change in view_model.describe_changes(told.changed, 12):
        yield Content.assemble(paint("• ", "accent"), words.clean(change))
    yield affected_sidecars(told.affected_proxies)
    for warning in told.warnings:
        yield paint(f"◐ {format.sanitize(warning)}", "partial")
    if told.document_diff:
        come, go = diff_highlight.count_changes(told.document_diff)
        yield Content("")
        yield paint(f"+{come} −{go} lines", "dim")
        yield diff_highlight.highlight_diff(told.document_diff)


def affected_sidecars(names: tuple[str, ...]) -> Content:
    """Whose configuration changes."""
    if not names:
        return Content.assemble(paint("○ ", "off"), "no connected sidecar is configured anew")
    shown = ", ".join(format.sanitize(name) for name in names[:SIDECARS_SHOWN])
    more = f" and {len(names) - SIDECARS_SHOWN} more" if len(names) > SIDECARS_SHOWN else ""
    count = "1 sidecar" if len(names) == 1 else f"{len(names)} sidecars"
    return Content.assemble(
        paint("◐ ", "partial"), f"{count} configured anew: ", paint(shown + more, "strong")
    )
